import { setTimeout as delay } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { allEnded, ConsumerProcess } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { startLine } from '../support/line.ts'
import { openBus, storages } from '../support/storages.ts'
import { works } from './support.ts'

const queueLimit = 3
const count = 500

/** A handler call, until it ended or its process could not go on. */
interface Span {
  readonly from: number
  readonly to: number
  readonly group: number
}

/** The most that were under way at a moment. */
function mostAtOnce(spans: readonly Span[]): number {
  const starts = spans.map(({ from }) => from)
  return Math.max(0, ...starts.map((at) => spans.filter(({ from, to }) => from <= at && at < to).length))
}

const groupOf = (number: number) => number % 5

describe('limits while processes and connections fail', () => {
  test.concurrent.for(storages)(
    'are never exceeded, and no slot is lost: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openBus(url, onTestFinished)
      const queue = bus.queue(newName('limited'))
      await queue.create()
      const limits = [{ concurrency: queueLimit }, { per: 'group', concurrency: 1 }] as const
      if (!bus.stored.storage.supports.has('limits')) {
        await expect(queue.configure({ limits })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
        return
      }
      await queue.configure({ limits })
      await queue.sendBatch(
        works(count, 0, { takesMs: 15 }).map((one) => ({ ...one, group: `g${groupOf(one.data.number)}` })),
      )

      // A Cluster tells its clients of addresses of its own.
      const line = storage.name === 'a Redis Cluster' ? null : await startLine(url)
      if (line) onTestFinished(() => line.close())
      /** When each could not go on any more. */
      const endOf = new Map<ConsumerProcess, number>()
      const start = () =>
        new ConsumerProcess(
          line?.url ?? url,
          { queue: queue.name, options: { concurrency: 4, lease: '2s' } },
          onTestFinished,
        )
      const all = [start(), start(), start()]
      // No connection is cut while a process makes its first one.
      const areRunning = () => Promise.all(alive().map((process) => process.untilCount('running', 1)))
      const alive = () => all.filter((process) => !endOf.has(process))

      let isOver = false
      let mostLeased = 0
      const watching = (async () => {
        while (!isOver) mostLeased = Math.max(mostLeased, (await queue.stats()).leased)
      })()
      // Where the test fails before it is awaited, that is told alone.
      watching.catch(() => {})
      for (let round = 0; round < 6; round++) {
        await delay(400)
        const [first, second] = alive()
        if (round % 3 === 0) {
          endOf.set(first!, Date.now())
          await first!.kill()
          all.push(start())
        } else if (round % 3 === 1) {
          // Its leases run out meanwhile: what it goes on with afterwards holds no slot any more.
          endOf.set(second!, Date.now())
          second!.signal('SIGSTOP')
          await delay(2_500)
          second!.signal('SIGCONT')
          all.push(start())
        } else if (line) {
          await areRunning()
          await line.loseAnswers()
          await delay(30)
          line.cut()
        }
      }
      await allEnded(all, count)
      isOver = true
      await watching
      const spans = all.flatMap((process) => {
        const begun = process.of('begun').filter(({ at }) => at < (endOf.get(process) ?? Number.POSITIVE_INFINITY))
        return begun.map(({ number, at }): Span => {
          const ended = process.of('ended').find((one) => one.number === number && one.at >= at)?.at
          const to = Math.min(ended ?? Date.now(), endOf.get(process) ?? Number.POSITIVE_INFINITY)
          return { from: at, to, group: groupOf(number!) }
        })
      })
      expect(mostLeased).toBeLessThanOrEqual(queueLimit)
      expect(mostAtOnce(spans)).toBeLessThanOrEqual(queueLimit)
      expect(mostAtOnce(spans)).toBeGreaterThan(1)
      for (let group = 0; group < 5; group++)
        expect(mostAtOnce(spans.filter((one) => one.group === group))).toBeLessThanOrEqual(1)
      for (const process of alive()) await process.kill('SIGTERM')
      for (const process of endOf.keys()) await process.kill()

      // All slots are free again.
      await queue.sendBatch([1, 2, 3, 4].map((data) => ({ data, group: `free${data}` })))
      const free = async () => (await queue.read({ limit: 10 })).length
      let found = 0
      while (found < queueLimit) found += await free()
      expect(found).toBe(queueLimit)
    },
  )
})

describe('groups take turns', () => {
  test.concurrent.for(storages)(
    'one with 100,000 messages keeps 100 with 10 each waiting for no more than 2,000: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const bus = await openBus(await storage.url(), onTestFinished)
      if (!bus.stored.storage.supports.has('limits')) return
      const queue = bus.queue<number>(newName('fair'))
      onTestFinished(() => queue.drop().then(() => {}))
      const entries = (from: number) =>
        Array.from({ length: 10_000 }, (_, index) => ({ data: from + index, group: 'great' }))
      for (let from = 0; from < 100_000; from += 10_000) await queue.sendBatch(entries(from))
      await queue.sendBatch(Array.from({ length: 1_000 }, (_, index) => ({ data: -1, group: `small${index % 100}` })))
      let [handled, left] = [0, 1_000]
      while (left > 0) {
        const messages = await queue.pop({ limit: 100 })
        handled += messages.length
        left -= messages.filter(({ data }) => data === -1).length
      }
      expect(handled).toBeLessThanOrEqual(2_000)
    },
  )
})
