import { setTimeout as delay } from 'node:timers/promises'
import type { Bus } from 'tidings/internal/bus/bus'
import type { Queue } from 'tidings/internal/bus/queue'
import type { Message } from 'tidings/internal/messages/message'
import type { HandlerContext } from 'tidings/internal/worker/worker'
import { poll } from 'tidings-local/internal/processes'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ConsumerProcess, type Work } from '../support/consumers.ts'
import { newName } from '../support/engine.ts'
import { openBus, ownServer, storages } from '../support/storages.ts'
import { Signal, Watcher } from '../worker/support.ts'
import { works } from './support.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))
const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b)

/** How many keys there are; a message's number says which one it has, and its place in it. */
const keys = 10

const workerProcess = (url: string, queue: string) =>
  new ConsumerProcess(url, { queue, options: { concurrency: 8 } }, onTestFinished)

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

const isEmpty = async (queue: Pick<Queue, 'stats'>) => {
  const { ready, leased, delayed } = await queue.stats()
  return ready + leased + delayed === 0
}

describe.each(storages)('a worker on $name', (storage) => {
  /** Two connections, as two processes would have them, and the same queue on both. */
  async function twoQueues<T>(start: string) {
    const name = newName(start)
    const url = await storage.url()
    const [one, two] = await Promise.all([openBus(url), openBus(url)])
    return { one, here: one.queue<T>(name), there: two.queue<T>(name) }
  }

  async function newQueue<T>(start: string, url?: string): Promise<{ bus: Bus; queue: Queue<T> }> {
    const bus = await openBus(url ?? (await storage.url()))
    return { bus, queue: bus.queue<T>(newName(start)) }
  }

  test('1,000 messages with 2 workers on 2 connections, each exactly once', async () => {
    const { here, there } = await twoQueues<number>('exactly')
    await here.sendBatch(numbers(1_000))
    const handled: number[] = []
    const begun = [new Signal(), new Signal()]
    // Neither goes on before both have something, however late one of them gets it.
    const handler = (own: Signal) => async (message: Message<number>) => {
      own.resolve()
      await Promise.all(begun.map(({ promise }) => promise))
      handled.push(message.data)
    }
    const watcher = new Watcher()
    const workers = [here, there].map((queue, index) =>
      queue.work(handler(begun[index]!), { observe: watcher.observe }),
    )
    await watcher.until('succeeded', 1_000)
    await Promise.all(workers.map((worker) => worker.stop()))
    expect(sorted(handled)).toEqual(numbers(1_000).map(({ data }) => data))
    expect(await here.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, archived: 0 })
  })

  test('a sleeping worker is woken by a send in another process, and when a delayed message is due', async () => {
    const { one, here, there } = await twoQueues('wakes')
    const watcher = new Watcher()
    const asleep = fallenAsleep(one)
    here.work(() => {}, { pollInterval: '1h', observe: watcher.observe })
    await asleep
    await there.send('now')
    await watcher.until('started')
    const secondAt = performance.now()
    await there.send('later', { delay: '1500ms' })
    await watcher.until('started', 2)
    expect(performance.now() - secondAt).toBeGreaterThanOrEqual(1_490)
    await watcher.until('succeeded', 2)
  })

  test('messages of a key stay in order among processes, with failures and a kill', async () => {
    const { queue } = await newQueue<Work>('keys')
    let count = 0
    const sendOfEach = async () => {
      const of = works(keys, keys * count++, { takesMs: 3 })
      const failures = count % 7 === 0 ? 1 : 0
      await queue.sendBatch(
        of.map(({ data }) => ({ data: { ...data, failures }, orderingKey: `${data.number % keys}` })),
      )
    }
    const url = await storage.url()
    const start = () => workerProcess(url, queue.name)
    const processes = [start(), start()]
    // Both have to be at work, however long one of them takes to begin.
    while (!processes.every((process) => process.of('ended').length > 0)) {
      await sendOfEach()
      await delay(20)
    }
    for (let more = 0; more < 20; more++) await sendOfEach()
    await processes[0]!.kill()
    processes.push(start())
    expect(await poll(() => isEmpty(queue), 40_000)).toBe(true)
    const told = processes.flatMap((process) => [...process.of('begun'), ...process.of('ended')])
    const lines = told.sort((a, b) => a.at - b.at)
    for (let key = 0; key < keys; key++) {
      const own = lines.filter(({ number }) => number! % keys === key)
      const begun = own.filter(({ type }) => type === 'begun').map(({ number }) => number!)
      expect(begun, `key ${key}`).toEqual(sorted(begun))
      expect([...new Set(begun)], `key ${key}`).toEqual(Array.from({ length: count }, (_, at) => keys * at + key))
      for (const [index, { type, number }] of own.entries())
        if (type === 'begun' && number! >= keys)
          expect(
            own.slice(0, index).some((line) => line.type === 'ended' && line.number === number! - keys),
            `${number} after the one before it`,
          ).toBe(true)
    }
  }, 300_000)

  test('leases are renewed', async () => {
    const { queue } = await newQueue('renews')
    await queue.send('x')
    const watcher = new Watcher()
    const leaseEnd = async () => (await queue.peek({ place: 'leased' }))[0]!.visibleAt.getTime()
    const handler = async ({ visibleAt }: Message<unknown>) =>
      void (await poll(async () => (await leaseEnd()) > visibleAt.getTime(), 20_000))
    const worker = queue.work(handler, { lease: '4s', observe: watcher.observe })
    await watcher.until('succeeded')
    await worker.stop()
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, leaseLost: 0 })
  })

  test('strict order with failures; a poison message ends in the dead-letter queue with its error', async () => {
    const { bus, queue } = await newQueue<number>('order')
    await queue.sendBatch(numbers(60))
    const calls: string[] = []
    const handler = ({ data }: Message<number>, { attempt }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data === 40 || (data % 10 === 0 && attempt === 1)) throw new Error(`${data} fails`)
    }
    const worker = queue.work(handler, { concurrency: 1, maxAttempts: 3, backoff: 100 })
    await worker.drain()
    const expected = numbers(60).flatMap(({ data }) => {
      if (data === 40) return ['40.1', '40.2', '40.3']
      return data % 10 === 0 ? [`${data}.1`, `${data}.2`] : [`${data}.1`]
    })
    expect(calls).toEqual(expected)
    const [dead] = await bus.queue(`${queue.name}_dlq`).peek()
    expect(dead).toMatchObject({ data: 40, meta: { errorMessage: '40 fails', attempts: 3 } })
  })

  test('batches, with failures', async () => {
    const { queue } = await newQueue<number>('batches')
    await queue.sendBatch(numbers(200))
    const succeeded: number[] = []
    const handler = (messages: Message<number>[]) => {
      if (messages.some(({ data, readCount }) => data % 50 === 0 && readCount === 1)) throw new Error('crash')
      succeeded.push(...messages.map((message) => message.data))
    }
    const watcher = new Watcher()
    queue.workBatch(handler, { concurrency: 3, batchSize: 7, backoff: 50, observe: watcher.observe })
    await watcher.until('succeeded', 200)
    expect(sorted(succeeded)).toEqual(numbers(200).map(({ data }) => data))
  })

  test('consume', async () => {
    const { queue } = await newQueue<number>('consume')
    await queue.sendBatch(numbers(20))
    const seen: number[] = []
    for await (const message of queue.consume({ wait: 200 })) seen.push(message.data)
    expect(seen).toEqual(numbers(20).map(({ data }) => data))
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })
  })

  test('a server that is killed in the middle: nothing is lost, and work resumes soon', async () => {
    const server = await ownServer(storage)
    const { queue } = await newQueue<number>('restart', server.url)
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
    // A worker that has read enough ahead asks for no more, and begins nothing of it while the storage is away.
    await Promise.race([watcher.until('fetchFailed'), watcher.until('settleFailed')])
    await server.restart()
    const backAt = performance.now()
    await watcher.until('succeeded', watcher.of('succeeded').length + 1)
    // Within 2 s, where the machine is not held up.
    expect(performance.now() - backAt).toBeLessThan(20_000)
    // What an HTTP server had claimed, and told nobody before it was killed, comes back with the end of its lease.
    expect(await poll(() => isEmpty(queue), 90_000)).toBe(true)
    expect(sorted(handled)).toEqual(numbers(600).map(({ data }) => data))
  }, 300_000)
})
