import { memoryBus } from 'tidings/testing'
import { expect, onTestFinished, test } from 'vitest'

/** The samples of a scrape, by metric and labels. */
function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

function open() {
  const bus = memoryBus()
  onTestFinished(() => bus.close())
  return bus
}

const of = (operation: string, destination: string) =>
  `messaging_system_name="tidings",messaging_operation_name="${operation}",messaging_destination_name="${destination}"`

test('bus.metrics() counts what is sent, received, handled and settled, from the first time on', async () => {
  const bus = open()
  const queue = bus.queue('orders')
  await queue.send(0)
  expect(bus.metrics()).toBe('')
  await queue.sendBatch([{ data: 1 }, { data: 2 }])
  await queue.work(
    ({ data }) => {
      if (data === 1) throw new RangeError('no')
    },
    { maxMessages: 3, maxAttempts: 1, concurrency: 1 },
  ).finished
  const samples = samplesOf(bus.metrics())
  expect(samples.get(`messaging_client_sent_messages_total{${of('send', 'orders')}}`)).toBe(2)
  expect(samples.get(`messaging_client_consumed_messages_total{${of('receive', 'orders')}}`)).toBe(3)
  const handled = (more = '') =>
    samples.get(`messaging_process_duration_seconds_count{${of('process', 'orders')}${more}}`)
  expect([handled(), handled(',error_type="RangeError"')]).toEqual([2, 1])
  const settled = `messaging_client_operation_duration_seconds_bucket{${of('settle', 'orders')},messaging_operation_type="settle",le="+Inf"}`
  expect(samples.get(settled)).toBeGreaterThan(0)
})

test('buckets hold what lies below them, too', async () => {
  const bus = open()
  bus.metrics()
  const queue = bus.queue('orders')
  await queue.sendBatch([{ data: 0 }, { data: 30 }])
  await queue.work(({ data }) => new Promise((resolve) => setTimeout(resolve, data as number)), { maxMessages: 2 })
    .finished
  const samples = samplesOf(bus.metrics())
  const buckets = [...samples].filter(([name]) => name.startsWith('messaging_process_duration_seconds_bucket'))
  const counts = buckets.map(([, count]) => count)
  expect(counts).toHaveLength(15)
  expect(counts).toEqual([...counts].sort((a, b) => a - b))
  expect(counts.at(-1)).toBe(2)
  expect(buckets.find(([name]) => name.includes('le="0.025"'))![1], 'one took longer').toBe(1)
})

test('what workers did still counts after they have stopped, together with those that run', async () => {
  const bus = open()
  const queue = bus.queue('orders')
  for (const round of [1, 2]) {
    await queue.send(round)
    await queue.work(() => {}, { maxMessages: 1 }).finished
  }
  queue.work(() => {})
  const samples = samplesOf(bus.metrics())
  expect(samples.get('tidings_worker_messages_total{queue="orders",outcome="succeeded"}')).toBe(2)
  expect(samples.get('tidings_worker_running{queue="orders"}')).toBe(0)
})

test('labels are written so that a scrape can read them', async () => {
  const bus = open()
  bus.metrics()
  class Odd extends Error {}
  Object.defineProperty(Odd, 'name', { value: 'a"b\\c\nd' })
  await bus.queue('orders').send(1)
  await bus.queue('orders').work(
    () => {
      throw new Odd()
    },
    { maxMessages: 1 },
  ).finished
  expect(bus.metrics()).toContain('error_type="a\\"b\\\\c\\nd"')
})
