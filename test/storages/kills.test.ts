import type { Bus } from 'tidings'
import { describe, type onTestFinished, test } from 'vitest'
import { allEnded, attemptsOf, ConsumerProcess, numbersOf, summaryOf, type Work } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'
import { after, works } from './support.ts'

// Leases are as they are by default: that a process is gone must be noticed long before they end.
const soonMs = 20_000

/** A bus, and a worker on something else: like any process of the application it looks after the others. */
async function openGuard(url: string, atEnd: typeof onTestFinished): Promise<Bus> {
  const bus = await openBus(url, atEnd)
  void bus.queue(newName('guard')).work(() => {})
  return bus
}

const deadLetters = async (bus: Bus, origin: string) => {
  const queue = bus.queue(`${origin}_dlq`)
  await queue.create()
  const found = await queue.peek()
  return found.map(({ data, meta }) => [(data as Work).number, meta.attempts, meta.errorMessage])
}

// Storages beside one another, one campaign after the other.
describe('a worker that is killed', () => {
  test.concurrent.for(storages)(
    'what it had in hand or read ahead is soon in another process, each once: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openGuard(url, onTestFinished)
      const queue = newName('killed')
      await bus.queue(queue).sendBatch(works(400))
      const options = { concurrency: 4 } as const
      const first = new ConsumerProcess(url, { queue, options }, onTestFinished, 100)
      const second = new ConsumerProcess(url, { queue, options }, onTestFinished, 0)
      await Promise.all([first.untilHanging(4), second.untilHanging(4)])
      second.signal('SIGUSR2')
      await first.kill()
      expect(await after(allEnded([first, second], 400))).toBeLessThan(soonMs)
      await second.kill('SIGTERM')
      const others = summaryOf([first, second]).others.map(([, attempts]) => attempts.join())
      expect(others.filter((attempts) => attempts === '1,2')).toHaveLength(4)
      // What was read ahead may have been begun, as far as anybody can tell: that counts for one attempt.
      expect(others.filter((attempts) => attempts !== '1,2' && attempts !== '2')).toEqual([])
      expect(await deadLetters(bus, queue)).toEqual([])
    },
  )
})

describe('workers that are killed', () => {
  test.concurrent.for(storages)(
    'six in a row make no dead letter of what no handler saw: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openGuard(url, onTestFinished)
      const queue = newName('six')
      await bus.queue(queue).sendBatch(works(600))
      const processes: ConsumerProcess[] = []
      const start = (hangsAfter?: number) => {
        const options = { concurrency: 4, maxAttempts: 4 } as const
        processes.push(new ConsumerProcess(url, { queue, options }, onTestFinished, hangsAfter))
        return processes.at(-1)!
      }
      for (let kill = 0; kill < 6; kill++) {
        const process = start(40)
        await process.untilHanging(4)
        await process.kill()
      }
      start()
      await allEnded(processes, 600)
      await processes.at(-1)!.kill('SIGTERM')
      for (const [number, attempts] of summaryOf(processes).others)
        for (const [before, attempt] of attempts.entries())
          expect([before + 1, before + 2], `attempts of ${number}: ${attempts}`).toContain(attempt)
      expect(await deadLetters(bus, queue)).toEqual([])
    },
  )
})

describe('workers that are killed by a message', () => {
  test.concurrent.for(storages)(
    'it is dead-lettered after as many handler calls as it may have: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openGuard(url, onTestFinished)
      const queue = newName('poison')
      const poison = 150
      await bus
        .queue(queue)
        .sendBatch(works(200).map(({ data }) => ({ data: { ...data, kills: data.number === poison } })))
      const processes: ConsumerProcess[] = []
      const options = { concurrency: 4, maxAttempts: 3 } as const
      for (let kill = 0; kill < 3; kill++) {
        processes.push(new ConsumerProcess(url, { queue, options }, onTestFinished))
        await processes.at(-1)!.ended
      }
      const last = new ConsumerProcess(url, { queue, options }, onTestFinished)
      processes.push(last)
      await allEnded(processes, 200)
      expect(attemptsOf(processes).get(poison)).toEqual([1, 2, 3])
      const dead = await deadLetters(bus, queue)
      const seen = dead.map(([number]) => attemptsOf(processes).get(number as number))
      expect(dead, `attempts: ${JSON.stringify(seen)}`).toEqual([
        [poison, 3, expect.stringContaining('process that was lost')],
      ])
    },
  )
})

describe('subscribers that are killed', () => {
  test.concurrent.for(storages)(
    'six in a row: another goes on soon each time, in order, and there is no dead letter: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openGuard(url, onTestFinished)
      const topic = newName('killed')
      await bus.topic(topic).publishBatch(works(200))
      const processes: ConsumerProcess[] = []
      const start = async (hangsAfter?: number) => {
        processes.push(new ConsumerProcess(url, { topic }, onTestFinished, hangsAfter))
        await processes.at(-1)!.untilCount('running', 1)
      }
      await start(20)
      const tookMs: number[] = []
      for (let kill = 0; kill < 6; kill++) {
        const process = processes.at(-1)!
        await process.untilHanging(1)
        const last = process.of('ended').at(-1)!.number!
        await process.untilLine(({ type, offset }) => type === 'acked' && offset === last + 1)
        await start(kill < 5 ? 20 : undefined)
        // It holds the subscription at once where a busy machine has made the other one lose it.
        const next = processes.at(-1)!
        await next.until(() => next.of('standingBy').length + next.of('held').length > 0)
        await process.kill()
        tookMs.push(await after(processes.at(-1)!.untilCount('begun', 1)))
      }
      await allEnded(processes, 200, 'topic')
      const begun = numbersOf(processes, 'topic')
      expect(begun).toEqual(begun.toSorted((a, b) => a - b))
      for (const each of tookMs) expect(each).toBeLessThan(soonMs)
      expect(await deadLetters(bus, `${topic}_all`)).toEqual([])
    },
  )
})
