import { namespaceOf, type QueueEvent, queueOfNamespace } from 'tidings'
import { testEvents } from 'tidings/testing'
import { expect, test } from 'vitest'

const of = { queue: 'worker_orders_queue', namespace: 'orders', metadata: { a: 1 } }
const ready = { ...of, readyAt: new Date(1_000), delaySeconds: 2 }
const all: QueueEvent[] = [
  { type: 'queue_created', ...of, createdAt: new Date(0) },
  { type: 'message_ready', ...ready, id: '7' },
  { type: 'message_with_payload', ...ready, id: '8', data: { n: 1 }, meta: { version: '2' } },
  { type: 'batch_ready', ...ready, count: 2, ids: ['9', '10'], truncated: false },
  { type: 'batch_ready', ...ready, count: 2_000, ids: null, truncated: true },
]

test('what is emitted comes as it was, until its reader stops', async () => {
  const { events, emit } = testEvents()
  expect(emit(all[0]!)).toBe(false)
  const seen: QueueEvent[] = []
  const isAll = new Promise<void>((resolve) => {
    void events.listen((event) => {
      if (seen.push(event) === all.length) resolve()
    })
  })
  await events.start()
  for (const event of all) expect(emit(event)).toBe(true)
  await isAll
  expect(seen).toEqual(all)
  expect(events.stats()).toMatchObject({ received: all.length, parseErrors: 0, connected: true })
  await events.stop()
  expect(emit(all[0]!)).toBe(false)
})

test('a reader of some namespaces gets the events of these', async () => {
  const { events, emit } = testEvents({ namespace: ['orders', 'hires'] })
  await events.start()
  for (const namespace of ['orders', 'others', 'hires']) emit({ ...(all[1] as QueueEvent), namespace })
  expect(events.stats()).toMatchObject({
    received: 2,
    channels: ['pgmq_queue_created', 'pgmq_message_ready.orders', 'pgmq_message_ready.hires'],
  })
  // Of one whose name is too long for a channel all are heard.
  const long = testEvents({ namespace: ['orders', 'x'.repeat(60)] }).events
  expect(long.stats().channels).toEqual(['pgmq_queue_created', 'pgmq_message_ready'])
  expect(() => testEvents({ namespace: [] })).toThrow(expect.objectContaining({ code: 'TYPE' }))
  expect(() => testEvents({ namespace: ['a b'] })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
})

test('queues are called by their namespaces', () => {
  expect(namespaceOf(queueOfNamespace('orders'))).toBe('orders')
  expect(['hires_queue', 'other'].map((queue) => namespaceOf(queue))).toEqual(['hires', 'default'])
  expect(namespaceOf('app_orders', 'app_(?P<namespace>\\w+)')).toBe('orders')
  expect(() => namespaceOf('a', '(.*)')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
})
