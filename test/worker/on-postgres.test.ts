import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { Bus } from '../../src/bus.ts'
import { PostgresEngine } from '../../src/engines/postgres/postgres.ts'
import { poll } from '../../src/local/processes.ts'
import type { Message } from '../../src/message.ts'
import type { HandlerContext } from '../../src/worker/worker.ts'
import { startPostgres } from '../support/postgres.ts'
import { Signal, Watcher } from './support.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))

const buses: Bus[] = []
afterEach(async () => {
  await Promise.all(buses.splice(0).map((bus) => bus.close()))
})

/** A connection of its own, as another process would have it. */
async function connect(url = inject('postgres18')): Promise<Bus> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  const bus = new Bus(engine)
  buses.push(bus)
  return bus
}

/** Resolves when the worker has looked for messages in vain, and for a while not again: only being woken is left. */
function fallenAsleep(bus: Bus): Promise<void> {
  const asleep = new Signal()
  const claim = bus.engine.claim.bind(bus.engine)
  let quiet: NodeJS.Timeout | undefined
  bus.engine.claim = async (...args) => {
    clearTimeout(quiet)
    const result = await claim(...args)
    quiet = setTimeout(() => asleep.resolve(), 1_200)
    return result
  }
  return asleep.promise
}

describe('a worker on PostgreSQL', () => {
  test('1,000 messages with 2 workers in 2 processes, each exactly once', async () => {
    const [one, two] = await Promise.all([connect(), connect()])
    const queues = [one, two].map((bus) => bus.queue<number>('worker_exactly'))
    await queues[0]!.sendBatch(numbers(1_000))
    const handled: number[] = []
    const handler = async (message: Message<number>) => {
      await new Promise(setImmediate)
      handled.push(message.data)
    }
    const watcher = new Watcher()
    const workers = queues.map((queue) => queue.work(handler, { observe: watcher.observe }))
    await watcher.until('succeeded', 1_000)
    await Promise.all(workers.map((worker) => worker.stop()))
    expect(handled.toSorted((a, b) => a - b)).toEqual(numbers(1_000).map(({ data }) => data))
    expect(workers.every((worker) => worker.stats().started > 0)).toBe(true)
    expect(await queues[0]!.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, archived: 0 })
  })

  test('a send in another process wakes a sleeping worker', async () => {
    const [one, two] = await Promise.all([connect(), connect()])
    const watcher = new Watcher()
    const asleep = fallenAsleep(one)
    one.queue('worker_wakes').work(() => {}, { pollInterval: '1h', observe: watcher.observe })
    await asleep
    const sentAt = performance.now()
    await two.queue('worker_wakes').send('x')
    await watcher.until('succeeded')
    expect(performance.now() - sentAt).toBeLessThan(1_000)
  })

  test('a delayed message wakes a sleeping worker when it is due', async () => {
    const [one, two] = await Promise.all([connect(), connect()])
    const watcher = new Watcher()
    const asleep = fallenAsleep(one)
    one.queue('worker_due').work(() => {}, { pollInterval: '1h', observe: watcher.observe })
    await asleep
    const sentAt = performance.now()
    await two.queue('worker_due').send('x', { delay: '1500ms' })
    await watcher.until('started')
    const tookMs = performance.now() - sentAt
    expect(tookMs).toBeGreaterThanOrEqual(1_490)
    expect(tookMs).toBeLessThan(2_500)
    await watcher.until('succeeded')
  })

  test('a message of a killed process is delivered again within 5 s, with its attempts', async () => {
    const [one, two] = await Promise.all([connect(), connect()])
    const queue = one.queue('worker_killed')
    await queue.send('x')
    // What a killed worker leaves behind: a lease of the default length that nobody renews.
    expect(await queue.read({ lease: '4s' })).toHaveLength(1)
    const killedAt = performance.now()
    const watcher = new Watcher()
    const attempts: number[] = []
    const handler = (_: unknown, { attempt }: HandlerContext) => void attempts.push(attempt)
    two.queue('worker_killed').work(handler, { observe: watcher.observe })
    await watcher.until('succeeded')
    expect(performance.now() - killedAt).toBeLessThan(5_000)
    expect(attempts).toEqual([2])
  })

  test('leases are renewed', async () => {
    const bus = await connect()
    const queue = bus.queue('worker_renews')
    await queue.send('x')
    const watcher = new Watcher()
    const worker = queue.work(() => delay(3_000), { lease: '600ms', observe: watcher.observe })
    await watcher.until('succeeded')
    await worker.stop()
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, leaseLost: 0 })
  })

  test('strict order with failures; a poison message ends in the dead-letter queue with its error', async () => {
    const bus = await connect()
    const queue = bus.queue<number>('worker_order')
    await queue.sendBatch(numbers(60))
    const calls: string[] = []
    const handler = ({ data }: Message<number>, { attempt }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data === 40 || (data % 10 === 0 && attempt === 1)) throw new Error(`${data} fails`)
    }
    const watcher = new Watcher()
    const worker = queue.work(handler, { concurrency: 1, maxAttempts: 3, backoff: 100, observe: watcher.observe })
    await worker.drain()
    const expected = numbers(60).flatMap(({ data }) => {
      if (data === 40) return ['40.1', '40.2', '40.3']
      return data % 10 === 0 ? [`${data}.1`, `${data}.2`] : [`${data}.1`]
    })
    expect(calls).toEqual(expected)
    const [dead] = await bus.queue('worker_order_dlq').peek()
    expect(dead).toMatchObject({ data: 40, meta: { errorMessage: '40 fails', attempts: 3 } })
  })

  test('batches, with failures', async () => {
    const bus = await connect()
    const queue = bus.queue<number>('worker_batches')
    await queue.sendBatch(numbers(200))
    const succeeded: number[] = []
    const handler = (messages: Message<number>[]) => {
      if (messages.some(({ data, readCount }) => data % 50 === 0 && readCount === 1)) throw new Error('crash')
      succeeded.push(...messages.map((message) => message.data))
    }
    const watcher = new Watcher()
    queue.workBatch(handler, { concurrency: 3, batchSize: 7, backoff: 50, observe: watcher.observe })
    await watcher.until('succeeded', 200)
    expect(succeeded.toSorted((a, b) => a - b)).toEqual(numbers(200).map(({ data }) => data))
  })

  test('consume', async () => {
    const bus = await connect()
    const queue = bus.queue<number>('worker_consume')
    await queue.sendBatch(numbers(20))
    const seen: number[] = []
    for await (const message of queue.consume({ wait: 200 })) seen.push(message.data)
    expect(seen).toEqual(numbers(20).map(({ data }) => data))
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })
  })

  test('a server that is killed in the middle: nothing is lost, and work resumes within 2 s', async () => {
    const server = await startPostgres(18)
    try {
      const bus = await connect(server.url)
      const queue = bus.queue<number>('worker_restart')
      await queue.sendBatch(numbers(600))
      const handled = new Set<number>()
      const handler = async ({ data }: Message<number>) => {
        await delay(2)
        handled.add(data)
      }
      const watcher = new Watcher()
      queue.work(handler, { concurrency: 4, observe: watcher.observe })
      await watcher.until('succeeded', 150)
      await server.kill()
      await watcher.until('fetchFailed')
      await server.restart()
      const backAt = performance.now()
      await watcher.until('fetchResumed')
      expect(performance.now() - backAt).toBeLessThan(2_000)
      // Settlements whose answer was lost come back with their leases.
      await poll(async () => {
        const { ready, leased, delayed } = await queue.stats()
        return ready + leased + delayed === 0
      }, 20_000)
      expect([...handled].toSorted((a, b) => a - b)).toEqual(numbers(600).map(({ data }) => data))
    } finally {
      await Promise.all(buses.splice(0).map((bus) => bus.close()))
      await server.stop()
    }
  })
})
