import { TidingsError } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import type { History, HistoryPoint } from 'tidings/internal/bus/history'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import { silentLogger } from 'tidings/internal/core/logger'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import { allQueues, type Tally } from 'tidings/internal/port/history'
import { expect, onTestFinished, test } from 'vitest'

const minute = 60_000
/** Rows go out within so many milliseconds after the end of their minute. */
const soon = 5_000

function scene() {
  const clock = new FakeClock()
  const engine = new MemoryEngine({ clock })
  const { writer } = engine.history
  const add = writer.add
  const added: (readonly Tally[])[] = []
  const failures: unknown[] = []
  /** Queues whose part of the storage cannot be reached. */
  const away = new Set<string>()
  writer.add = async (tallies) => {
    added.push(tallies.filter(({ queue }) => queue !== allQueues))
    if (failures.length > 0) throw failures.shift()
    const failed = tallies.filter(({ queue }) => away.has(queue))
    await add(tallies.filter((tally) => !failed.includes(tally)))
    return failed.map((tally) => ({ tallies: [tally], error: new TidingsError('CONNECTION_FAILED', 'away') }))
  }
  const bus = new Bus(engine, { clock })
  onTestFinished(() => bus.close())
  return { clock, engine, bus, added, failures, away, queue: bus.queue('orders', { deadLetter: 'lost' }) }
}

const sumOf = ({ points }: History, figure: Exclude<keyof HistoryPoint, 'at'>) =>
  points.reduce((sum, point) => sum + (point[figure] ?? 0), 0)

const endsIn = (history: History) => ['done', 'failed', 'dead'].map((figure) => sumOf(history, figure as 'done'))
const latencyIn = ({ latency }: History) =>
  Object.fromEntries(latency.flatMap(({ upToMs, count }) => (count > 0 ? [[String(upToMs), count]] : [])))

test('what a worker does with messages is in the minute in which it did it', async ({ expect }) => {
  const { clock, bus, queue } = scene()
  await queue.sendBatch([{ data: 'good' }, { data: 'better' }, { data: 'bad' }])
  const handler = ({ data }: { data: unknown }) => {
    if (data === 'bad') throw new Error('no')
  }
  const worker = queue.work(handler, { maxAttempts: 3, backoff: 2 * minute })
  await clock.advance(10 * minute)
  await worker.stop()
  const history = await queue.history({ since: new Date(clock.now() - 20 * minute), until: new Date(clock.now()) })
  const at = (index: number) => endsIn({ ...history, points: history.points.slice(index, index + 1) })
  const first = history.points.findIndex(({ done }) => done > 0)
  expect(at(first)).toEqual([2, 1, 0])
  expect(endsIn(history)).toEqual([2, 2, 1])
  expect(sumOf(history, 'sent')).toBe(3)
  expect(history.points.at(-2)).toMatchObject({ ready: 0, leased: 0, delayed: 0, oldestReadyMs: null })
  expect(latencyIn(history)).toEqual({ 5: 3 })
  const all = await bus.history({ since: history.since, until: history.until })
  expect([all.queue, ...endsIn(all)]).toEqual([null, 2, 2, 1])
  expect(sumOf(all, 'sent')).toBe(4)
  expect((await bus.queue('lost').history()).points.at(-2)).toMatchObject({ ready: 1 })
})

test('every way of reading and ending counts', async ({ expect }) => {
  const { clock, bus, queue } = scene()
  await queue.sendBatch(Array.from({ length: 7 }, (_, index) => ({ data: index })))
  await clock.advance(200)
  await queue.pop({ limit: 2 })
  const [deleted, archived, dead, released] = await queue.read({ limit: 4 })
  await deleted!.delete()
  await archived!.archive()
  await dead!.deadLetter('no')
  await released!.release()
  for await (const message of queue.consume()) if (message.data === 6) break
  await clock.advance(minute + soon)
  const history = await queue.history()
  // Two popped, one deleted, one archived, and the one that was released, by the loop.
  expect(endsIn(history)).toEqual([5, 0, 1])
  expect(latencyIn(history)).toEqual({ 250: 7 })
  expect(await bus.queue('lost').peek()).toHaveLength(1)
})

test('the time that a message is read ahead is part of its latency', async ({ expect }) => {
  const { clock, queue } = scene()
  await queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
  const worker = queue.work(() => new Promise<void>((resolve) => void clock.after(20_000, resolve)), { concurrency: 1 })
  await clock.advance(2 * minute)
  await worker.stop()
  const classes = Object.entries(latencyIn(await queue.history())).flatMap(([upTo, count]) =>
    Array.from({ length: count }, () => Number(upTo)),
  )
  expect(classes.sort((a, b) => a - b)).toEqual([5, 30_000, 60_000])
})

test('nothing is called where nothing was counted, and one call adds all queues', async ({ expect }) => {
  const { clock, bus, queue, added } = scene()
  await clock.advance(10 * minute)
  expect([added.length, clock.pending]).toEqual([0, 0])
  for (const name of ['orders', 'bills', 'mails']) {
    await bus.queue(name).sendBatch(Array.from({ length: 100 }, (_, index) => ({ data: index })))
    for (let read = 0; read < 10; read++) await bus.queue(name).pop({ limit: 10 })
  }
  expect(added).toHaveLength(0)
  await clock.advance(minute + soon)
  expect(added.map((tallies) => tallies.map(({ queue, done }) => [queue, done]))).toEqual([
    [
      ['orders', 100],
      ['bills', 100],
      ['mails', 100],
    ],
  ])
  await clock.advance(60 * minute)
  expect([added.length, clock.pending]).toEqual([1, 0])
  expect(endsIn(await queue.history())[0]).toBe(0)
  const early = new Date(clock.now() - 120 * minute)
  expect(endsIn(await queue.history({ since: early }))[0]).toBe(100)
})

test('closing adds what is left', async ({ expect }) => {
  const { bus, queue, added } = scene()
  await queue.send('last')
  await queue.pop()
  await bus.close()
  expect(added.map(([tally]) => [tally!.queue, tally!.done, tally!.minutesAgo])).toEqual([['orders', 1, 0]])
})

test('what could not be added is added later, unless it may have been', async ({ expect }) => {
  const { clock, queue, failures, added } = scene()
  failures.push(new TidingsError('CONNECTION_FAILED', 'away'), new TidingsError('CONNECTION_FAILED', 'still away'))
  await queue.sendBatch([{ data: 1 }, { data: 2 }])
  await queue.pop()
  await clock.advance(minute + soon)
  await queue.pop()
  await clock.advance(2 * (minute + soon))
  expect(added).toHaveLength(3)
  expect(endsIn(await queue.history())).toEqual([2, 0, 0])
  failures.push(new TidingsError('OUTCOME_UNKNOWN', 'perhaps'))
  await queue.send('third')
  await queue.pop()
  await clock.advance(10 * minute)
  expect(added).toHaveLength(4)
  expect(endsIn(await queue.history())).toEqual([2, 0, 0])
})

test.each(['bills', allQueues])('where the part of %j is away, nothing is added twice or left out', async (part) => {
  const { clock, bus, queue, away } = scene()
  const bills = bus.queue('bills')
  const popAll = async () => {
    for (const one of [queue, bills]) await one.send(1)
    for (const one of [queue, bills]) await one.pop()
  }
  await popAll()
  away.add(part)
  await clock.advance(minute + soon)
  await popAll()
  await clock.advance(minute + soon)
  away.clear()
  await clock.advance(minute + soon)
  expect([await queue.history(), await bills.history(), await bus.history()].map(endsIn)).toEqual([
    [2, 0, 0],
    [2, 0, 0],
    [4, 0, 0],
  ])
  expect(latencyIn(await bus.history())).toEqual({ 5: 4 })
})

test('upkeep notes once a minute, whoever does it, and a failure to do so keeps nothing from its upkeep', async ({
  expect,
}) => {
  const { clock, engine, bus, queue } = scene()
  await queue.create()
  const note = engine.history.writer.note
  const minutes: number[] = []
  let maintained = 0
  engine.history.writer.note = (turn, queues) => {
    minutes.push(turn.minute)
    return turn.minute % 2 === 0 ? Promise.reject(new Error('not now')) : note(turn, queues)
  }
  const maintain = engine.maintain.bind(engine)
  engine.maintain = (request) => {
    maintained++
    return maintain(request)
  }
  const upkeeps = [1, 2, 3].map(() => bus.stored.upkeep(silentLogger))
  for (const upkeep of upkeeps) await upkeep.start()
  await clock.advance(10 * minute)
  for (const upkeep of upkeeps) await upkeep.stop()
  expect(minutes).toEqual([...new Set(minutes)])
  expect(minutes.length).toBeGreaterThanOrEqual(10)
  expect(maintained).toBeGreaterThanOrEqual(3 * 19)
  const { points } = await queue.history({ since: new Date(clock.now() - 10 * minute), until: new Date(clock.now()) })
  expect(points.filter(({ ready }) => ready === null).length).toBeGreaterThanOrEqual(4)
  expect(points.filter(({ ready }) => ready === 0).length).toBeGreaterThanOrEqual(4)
})

test('rows of more than a week are forgotten', async ({ expect }) => {
  const { clock, engine, bus, queue } = scene()
  await queue.send('old')
  await queue.pop()
  await clock.advance(minute + soon)
  const range = { since: Math.floor(clock.now() / minute) - 10, until: Math.floor(clock.now() / minute) + 1, step: 1 }
  const doneThen = async () => {
    const upkeep = bus.stored.upkeep(silentLogger)
    await upkeep.start()
    await clock.advance(minute)
    await upkeep.stop()
    return (await engine.history.read('orders', range)).points.reduce((sum, { done }) => sum + done, 0)
  }
  expect(await doneThen()).toBe(1)
  await clock.advance(6 * 1_440 * minute)
  expect(await doneThen()).toBe(1)
  await clock.advance(3 * 1_440 * minute)
  expect(await doneThen()).toBe(0)
})

test('steps are whole, and so many that a dashboard can draw them', async ({ expect }) => {
  const { clock, queue } = scene()
  await clock.advance(7 * minute + 30_000)
  await queue.create()
  const now = clock.now()
  const shapeOf = ({ since, until, stepMinutes, points }: History) => [
    since.toISOString().slice(5, 16),
    until.toISOString().slice(5, 16),
    stepMinutes,
    points.length,
  ]
  expect(shapeOf(await queue.history())).toEqual(['12-31T23:07', '01-01T00:08', 1, 61])
  const hoursAgo = (hours: number) => new Date(now - hours * 60 * minute)
  expect(shapeOf(await queue.history({ since: hoursAgo(24) }))).toEqual(['12-31T00:05', '01-01T00:10', 5, 289])
  expect(shapeOf(await queue.history({ since: hoursAgo(168) }))).toEqual(['12-25T00:00', '01-01T00:30', 30, 337])
  expect(shapeOf(await queue.history({ since: hoursAgo(24), step: 1 }))).toEqual([
    '12-31T00:07',
    '01-01T00:08',
    1,
    1441,
  ])
  expect(shapeOf(await queue.history({ since: '2025-12-31', step: 60 }))).toEqual([
    '12-31T00:00',
    '01-01T01:00',
    60,
    25,
  ])
})

test('what cannot be asked for is refused', async ({ expect }) => {
  const { clock, bus, queue } = scene()
  await queue.create()
  const ago = (minutes: number) => new Date(clock.now() - minutes * minute)
  const codeOf = (options: object) =>
    queue.history(options).then(
      () => 'none',
      ({ code, details }: TidingsError) => `${code} ${details.field}`,
    )
  expect(await codeOf({ since: ago(5), until: ago(5) })).toBe('RANGE since')
  expect(await codeOf({ since: ago(9 * 1_440) })).toBe('RANGE since')
  expect(await codeOf({ until: ago(-3 * 1_440) })).toBe('RANGE until')
  expect(await codeOf({ since: ago(2 * 1_440), step: 1 })).toBe('RANGE step')
  expect(await codeOf({ step: 0 })).toBe('RANGE step')
  expect(await codeOf({ since: 'yesterday' })).toBe('TYPE since')
  await expect(bus.queue('missing').history()).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
})
