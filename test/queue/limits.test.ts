import assert from 'node:assert/strict'
import { isTidingsError, type SendResult } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import { describe, test } from 'vitest'
import { datas, refusal, scene, settle } from './support.ts'

/** 'stored', or the code of the refusal. */
const outcomes = (settled: readonly PromiseSettledResult<unknown>[]) =>
  settled.map((one) =>
    one.status === 'fulfilled' ? 'stored' : isTidingsError(one.reason) ? one.reason.code : one.reason,
  )

describe('a queue with a largest length', () => {
  test('refuses what does not fit, and says what can be done', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { maxLength: 2 })
    await queue.send(1)
    await queue.send(2)
    const error = await refusal(() => queue.send(3), 'QUEUE_FULL')
    assert.equal(error.message, "queue 'q' has 2 messages of at most 2, so not one more")
    assert.deepEqual([error.retryable, error.httpStatus], [true, 429])
    await queue.pop()
    await queue.send(3)
    assert.deepEqual(datas(await queue.peek()), [2, 3])
  })

  test('takes a batch as a whole or not at all', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { maxLength: 3 })
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    await refusal(() => queue.sendBatch([{ data: 3 }, { data: 4 }]), 'QUEUE_FULL')
    await queue.sendBatch([{ data: 3 }])
    assert.deepEqual(datas(await queue.peek()), [1, 2, 3])
  })

  test('takes of the messages of one tick those that it has room for, in their order', async () => {
    const { bus, spy } = scene()
    const queue = bus.queue('q', { maxLength: 5 })
    await queue.send(0)
    const settled = await Promise.allSettled([1, 2, 3, 4, 5, 6, 7].map((data) => queue.send(data)))
    assert.deepEqual(outcomes(settled), [...Array(4).fill('stored'), ...Array(3).fill('QUEUE_FULL')])
    assert.deepEqual(datas(await queue.peek()), [0, 1, 2, 3, 4])
    assert(spy.of('send').length <= 5, 'without asking for each')
  })

  test('finds a duplicate among the messages of one tick', async () => {
    const { bus } = scene()
    const queue = bus.queue('q', { maxLength: 2 })
    await queue.send(0, { dedupId: 'd' })
    const settled = await Promise.allSettled([queue.send(1, { dedupId: 'd' }), queue.send(2), queue.send(3)])
    assert.deepEqual(outcomes(settled), ['DUPLICATE', 'stored', 'QUEUE_FULL'])
  })

  test('keeps what was stored of a tick when the rest fails', async () => {
    const { bus, spy } = scene()
    const queue = bus.queue('q', { maxLength: 2 })
    await queue.create()
    spy.before = (member, [, messages]) => {
      if (member !== 'send' || (messages as { data: string }[])[0]!.data !== '3') return
      throw new Error('lost')
    }
    const settled = await Promise.allSettled([1, 2, 3].map((data) => queue.send(data)))
    assert.deepEqual(
      settled.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'rejected'],
    )
    assert.deepEqual(datas(await queue.peek()), [1, 2])
  })

  test('does not bind who sends without it, even in the same tick', async () => {
    const { bus, clock } = scene()
    const bounded = bus.queue('q', { maxLength: 1 })
    await bounded.create()
    const results: Promise<string | SendResult[]>[] = [bounded.send(1), bus.queue('q').send(2), bus.queue('q').send(3)]
    await settle(clock)
    await Promise.all(results)
    await refusal(() => bounded.send(4), 'QUEUE_FULL')
  })

  test('may be given once for all who use the queue of a connection', async () => {
    const { memory, clock } = scene()
    const bus = new Bus(memory, { clock, queues: new Map([['q', { maxLength: 1, ttl: '1m', expired: 'drop' }]]) })
    await bus.queue('q').send(1)
    await refusal(() => bus.queue('q').send(2), 'QUEUE_FULL')
    await clock.advance(60_000)
    assert.deepEqual(await bus.queue('q').read(), [])
    assert.equal((await bus.queue('q').stats()).ready, 0)
  })

  test.each([0, -1, 1.5, '7', Number.NaN])('of %s is refused', async (maxLength) => {
    await refusal(() => scene().bus.queue('q', { maxLength: maxLength as number }))
  })
})
