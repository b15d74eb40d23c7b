import assert from 'node:assert/strict'
import { bytes, type SubscriptionEvent, type WorkerEvent } from 'tidings'
import { memoryBus } from 'tidings/testing'
import { test } from 'vitest'

test('an observer of a worker is told of messages as peek shows them', async () => {
  await using bus = memoryBus()
  const files = bus.queue('files', { serializer: bytes })
  await files.send(Buffer.from('one'), { meta: { correlationId: 'c-1' }, dedupId: 'd' })
  const [peeked] = await files.peek()
  const told: WorkerEvent[] = []
  await files.work(() => {}, { observe: (event) => told.push(event) }).drain()
  const started = told.find((event) => event.type === 'started')
  assert(started)
  const { message } = started
  assert.deepEqual(Buffer.from(message.data as Uint8Array), Buffer.from('one'))
  assert.deepEqual(message.meta, peeked!.meta)
  assert.equal(message.meta.correlationId, 'c-1')
  assert.deepEqual(message.sentAt, peeked!.sentAt)
  assert.equal(started.message, message, 'made once')
})

test('an observer of a subscription is told of messages as read shows them', async () => {
  await using bus = memoryBus()
  const news = bus.topic('news')
  await news.publish({ title: 'Open' }, { meta: { correlationId: 'c-1' } })
  const told: SubscriptionEvent[] = []
  const subscriber = news.subscribe('payroll', () => {}, { from: 'earliest', observe: (event) => told.push(event) })
  await subscriber.drain()
  const started = told.find((event) => event.type === 'started')
  assert(started)
  assert.deepEqual(started.message, (await news.read())[0])
  assert.equal(started.message.meta.correlationId, 'c-1')
  assert(started.message.publishedAt instanceof Date)
})
