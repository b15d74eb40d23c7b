import { describe, test } from 'vitest'
import { allEnded, ConsumerProcess, numbersOf, summaryOf } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'
import { after, works } from './support.ts'

// Leases are as they are by default. All wait, so all run at the same time.
describe('a process that stands still', () => {
  test.concurrent.for(storages)(
    'whose event loop is blocked for 30 s keeps what it has, and says so: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openBus(url, onTestFinished)
      const [queue, topic] = [newName('blocked'), newName('blocked')]
      await bus.queue(queue).sendBatch([...works(200), { data: { number: 200, blocksMs: 30_000 } }, ...works(50, 201)])
      // Between two of them when the loop is blocked.
      await bus.topic(topic).publishBatch(works(400, 0, { takesMs: 20 }))
      const consumers = [{ queue, options: { concurrency: 4 } }, { topic }] as const
      const first = new ConsumerProcess(url, consumers, onTestFinished)
      await first.untilLine(({ type, number, from }) => type === 'begun' && number === 200 && from === 'queue')
      const second = new ConsumerProcess(url, consumers, onTestFinished)
      const both = [first, second]
      await Promise.all([allEnded(both, 251, 'queue'), allEnded(both, 400, 'topic')])
      await Promise.all(both.map((process) => process.kill('SIGTERM')))
      expect(summaryOf(both, 'queue')).toEqual({ handled: 251, others: [] })
      expect(summaryOf(both, 'topic')).toEqual({ handled: 400, others: [] })
      expect(numbersOf([first], 'topic')).toEqual(works(400).map(({ data }) => data.number))
      expect(both.flatMap((process) => [...process.of('leaseLost'), ...process.of('holdLost')])).toEqual([])
      const id = first.of('begun').find(({ number, from }) => number === 200 && from === 'queue')!.id
      const blocked = first.of('blocked').filter((line) => line.queue === queue)
      expect(blocked.map(({ ids, durationMs }) => [ids, Math.floor(Number(durationMs) / 1_000)])).toEqual([
        [expect.arrayContaining([id]), expect.toSatisfy((seconds) => seconds >= 28 && seconds < 60)],
      ])
      expect(first.of('blocked').filter((line) => line.topic === topic)).toHaveLength(1)
      expect(second.of('blocked')).toEqual([])
    },
  )

  test.concurrent.for(storages)(
    'frozen for longer than its leases: others get what it had, and it begins none of that: $name',
    { timeout: 300_000 },
    async (storage, { expect, onTestFinished }) => {
      const url = await storage.url()
      const bus = await openBus(url, onTestFinished)
      const [queue, topic] = [newName('frozen'), newName('frozen')]
      await bus.queue(queue).sendBatch(works(300))
      await bus.topic(topic).publishBatch(works(300))
      const consumers = [{ queue, options: { concurrency: 4 } }, { topic }] as const
      const first = new ConsumerProcess(url, consumers, onTestFinished, 200)
      await first.untilHanging(5)
      first.signal('SIGSTOP')
      const begun = first.of('begun').length
      const second = new ConsumerProcess(url, consumers, onTestFinished)
      const both = [first, second]
      const took = after(Promise.all([allEnded(both, 300, 'queue'), allEnded(both, 300, 'topic')]))
      expect(await took).toBeLessThan(60_000)
      first.signal('SIGCONT')
      // Its handlers come to their ends, too late.
      first.signal('SIGUSR2')
      await first.untilCount('leaseLost', 4)
      await first.untilCount('holdLost', 1)
      await Promise.all(both.map((process) => process.kill('SIGTERM')))
      expect(first.of('begun')).toHaveLength(begun)
      expect(second.of('leaseLost')).toEqual([])
      const twice = summaryOf(both, 'queue').others.filter(([, attempts]) => attempts.length > 1)
      expect(twice.map(([, attempts]) => attempts)).toEqual(Array(4).fill([1, 2]))
      expect(await bus.queue(queue).stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0 })
    },
  )
})
