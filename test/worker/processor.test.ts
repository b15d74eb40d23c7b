// The nineteen behaviours of a queue processor, each on every engine, in real time: what order and concurrency
// promise, what a crash of the handler does to its message and to the others, and how the backoffs behave.

import { Bus } from 'tidings/internal/bus/bus'
import type { Queue } from 'tidings/internal/bus/queue'
import { connect } from 'tidings/internal/connect'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'
import type { Message } from 'tidings/internal/messages/message'
import type { Engine } from 'tidings/internal/port/engine'
import { routes } from 'tidings/internal/router/routes'
import type { BatchHandler, BatchWorkOptions, Handler, Worker, WorkOptions } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { storages } from '../support/storages.ts'
import { Lines, Signal, Watcher } from './support.ts'

type Backoff = NonNullable<WorkOptions['backoff']>

const numbers = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))
/** A timer may be early by a fraction of a millisecond, and by another where two clocks take part. */
const earlyMs = 3

/** One queue, what is done in it and what was seen of that. */
class Scene {
  readonly watcher = new Watcher()
  readonly log = new Lines()
  readonly bus: Bus
  readonly queue: Queue<number>
  /** Every call of a handler: `data.attempt` of its messages. */
  readonly calls: string[] = []
  readonly calledAt: number[] = []
  peak = 0
  #running = 0
  readonly #queues: Queue<number>[] = []
  readonly #workers: Worker[] = []

  constructor(engine: Engine) {
    this.bus = new Bus(engine, { logger: this.log })
    this.queue = this.newQueue('processor')
  }

  newQueue(start: string): Queue<number> {
    const queue = this.bus.queue<number>(newName(start))
    this.#queues.push(queue)
    return queue
  }

  work(handler: Handler<number>, options: WorkOptions): void {
    const noted: Handler<number> = (message, context) => this.#note([message], () => handler(message, context))
    this.#workers.push(this.queue.work(noted, { ...options, observe: this.watcher.observe }))
  }

  workBatch(handler: BatchHandler<number>, options: BatchWorkOptions): void {
    const noted: BatchHandler<number> = (messages, context) => this.#note(messages, () => handler(messages, context))
    this.#workers.push(this.queue.workBatch(noted, { ...options, observe: this.watcher.observe }))
  }

  async #note(messages: Message<number>[], call: () => unknown): Promise<unknown> {
    this.calls.push(messages.map(({ data, readCount }) => `${data}.${readCount}`).join())
    this.calledAt.push(performance.now())
    this.peak = Math.max(this.peak, ++this.#running)
    try {
      return await call()
    } finally {
      this.#running--
    }
  }

  /** How long each attempt at the message came after the one before. */
  gapsOf(data: number): number[] {
    const times = this.calledAt.filter((_, index) => this.calls[index]!.startsWith(`${data}.`))
    return times.slice(1).map((at, index) => at - times[index]!)
  }

  /** Stops when all have succeeded: nothing is left, and nothing happened beside what was expected. */
  async finish(succeeded: number, failed = 0): Promise<void> {
    await this.watcher.until('succeeded', succeeded)
    const [worker] = this.#workers
    await worker!.stop()
    const nothing = {
      deadLettered: 0,
      cancelled: 0,
      expired: 0,
      leaseLost: 0,
      outcomeUnknown: 0,
      blocked: 0,
      running: 0,
      buffered: 0,
    }
    expect(worker!.stats()).toEqual({ started: succeeded + failed, succeeded, failed, ...nothing })
    const empty = { ready: 0, delayed: 0, leased: 0, archived: 0 }
    expect(await this.queue.stats()).toMatchObject({ ...empty, totalSent: succeeded })
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop({ deadline: 0 })))
    for (const queue of this.#queues) await queue.drop()
    await this.bus.close()
  }
}

type Case = (scene: Scene) => Promise<void>

/** The first message of three crashes; the delays are those expected after each crash. */
function crash(concurrency: 1 | 2, delays: readonly number[], backoff: Backoff): Case {
  return async (scene) => {
    const { queue, calls, watcher } = scene
    const failures = delays.length
    const succeeded = Array.from({ length: failures + 1 }, (_, index) => `0.${index + 1}`)
    await queue.sendBatch(numbers(3))
    scene.work(
      ({ data }, { attempt }) => {
        if (data === 0 && attempt <= failures) throw new Error(`crash ${attempt}`)
      },
      { concurrency, backoff },
    )
    await scene.finish(3, failures)
    expect(watcher.of('failed').map(({ retryMs }) => retryMs)).toEqual(delays)
    for (const [index, gap] of scene.gapsOf(0).entries()) expect(gap).toBeGreaterThan(delays[index]! - earlyMs)
    if (concurrency === 1) {
      expect(calls).toEqual([...succeeded, '1.1', '2.1'])
      expect(watcher.of('paused').map(({ delayMs }) => delayMs)).toEqual(delays)
    } else {
      expect(calls.slice(0, 2)).toEqual(['0.1', '1.1'])
      expect(calls.filter((call) => call.startsWith('0.'))).toEqual(succeeded)
      expect(calls.toSorted()).toEqual([...succeeded, '1.1', '2.1'])
      expect(watcher.of('paused')).toEqual([])
    }
  }
}

/** Twenty milliseconds more after each attempt, if it is asked with the right ones. */
const growing: Backoff = (attempt, error) =>
  (error as Error).message === `crash ${attempt}` ? attempt * 20 : Number.NaN

const crashingBackoff =
  (concurrency: 1 | 2): Case =>
  async (scene) => {
    const backoff = () => {
      throw new Error('the backoff crashes')
    }
    await crash(concurrency, [1_000], backoff)(scene)
    const lines = scene.log.lines.filter(({ text }) => text.includes('backoff function'))
    expect(lines).toMatchObject([
      { level: 'warn', details: { err: expect.objectContaining({ message: 'the backoff crashes' }) } },
    ])
  }

const cases: Record<string, Case> = {
  'custom handler via router': async (scene) => {
    const seen: string[] = []
    const note = (name: string) => (message: Message<number>) => void seen.push(`${name} ${message.data}`)
    const { bus, queue } = scene
    await queue.create()
    await bus.bind(`${queue.name}.#`, queue.name)
    await bus.publish(`${queue.name}.Orders.Paid`, 1)
    await bus.publish(`${queue.name}.Refunds`, 2)
    scene.work(
      routes<number>([
        [note('paid'), '*.*.Paid'],
        [note('all'), '#'],
      ]),
      { concurrency: 1 },
    )
    await scene.finish(2)
    expect(seen).toEqual(['paid 1', 'all 1', 'all 2'])
  },

  'handler wrapped in a transaction': async (scene) => {
    const { bus, queue, calls } = scene
    const options = { transactional: true, concurrency: 1, backoff: 20 }
    await queue.send(1)
    if (!bus.engine.supports.has('transactions')) {
      expect(() => scene.work(() => {}, options)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
      expect(await queue.stats()).toMatchObject({ ready: 1, leased: 0 })
      return
    }
    const next = scene.newQueue('processor_next')
    await next.create()
    const visible: number[] = []
    scene.work(async (_, { attempt, tx }) => {
      await next.send(attempt, { tx })
      visible.push((await next.stats()).ready)
      if (attempt < 3) throw new Error('undo')
    }, options)
    await scene.finish(1, 2)
    expect(calls).toEqual(['1.1', '1.2', '1.3'])
    expect(visible).toEqual([0, 0, 0])
    expect((await next.peek()).map(({ data }) => data)).toEqual([3])
  },

  multiple: async (scene) => {
    for (const { data } of numbers(3)) await scene.queue.send(data)
    scene.work(() => {}, { concurrency: 1 })
    await scene.watcher.until('idle')
    for (const { data } of numbers(3)) await scene.queue.send(data + 3)
    await scene.finish(6)
    expect(scene.calls).toEqual(['0.1', '1.1', '2.1', '3.1', '4.1', '5.1'])
  },

  delayed: async (scene) => {
    const sentAt = performance.now()
    await scene.queue.sendBatch([{ data: 0, delay: 3_000 }, { data: 1 }])
    // Only the exact time of the message can wake it.
    scene.work(() => {}, { concurrency: 1, pollInterval: '1h' })
    await scene.finish(2)
    expect(scene.calls).toEqual(['1.1', '0.1'])
    expect(scene.calledAt[1]! - sentAt).toBeGreaterThan(3_000 - earlyMs)
  },

  many: async (scene) => {
    await scene.queue.sendBatch(numbers(200))
    scene.work(() => new Promise(setImmediate), { concurrency: 1 })
    await scene.finish(200)
    expect(scene.calls).toEqual(numbers(200).map(({ data }) => `${data}.1`))
    expect(scene.peak).toBe(1)
  },

  crash: crash(1, [0, 0, 0], 0),
  'crash with int backoff': crash(1, [30, 30], 30),
  'crash with fn backoff': crash(1, [20, 40], growing),
  'crash with crashing backoff': crashingBackoff(1),

  'new message during backoff': async (scene) => {
    const { queue, calls, watcher } = scene
    await queue.send(0)
    scene.work(
      ({ data }, { attempt }) => {
        if (data === 0 && attempt <= 3) throw new Error('crash')
      },
      { concurrency: 1, backoff: 50 },
    )
    for (const data of [1, 2, 3]) {
      await watcher.until('paused', data)
      await queue.send(data)
    }
    await scene.finish(4, 3)
    expect(calls).toEqual(['0.1', '0.2', '0.3', '0.4', '1.1', '2.1', '3.1'])
    expect(watcher.of('paused').map(({ delayMs }) => delayMs)).toEqual([50, 50, 50])
    for (const gap of scene.gapsOf(0)) expect(gap).toBeGreaterThan(50 - earlyMs)
  },

  'batch_size 2': async (scene) => {
    await scene.queue.sendBatch(numbers(5))
    scene.workBatch(() => {}, { concurrency: 1, batchSize: 2 })
    await scene.finish(5)
    expect(scene.calls).toEqual(['0.1,1.1', '2.1,3.1', '4.1'])
  },

  'crash with batch_size 2': async (scene) => {
    await scene.queue.sendBatch(numbers(6))
    const handler = (messages: Message<number>[]) => {
      if (messages.some(({ data, readCount }) => data === 3 && readCount <= 2)) throw new Error('crash')
    }
    scene.workBatch(handler, { concurrency: 1, batchSize: 2, backoff: 20 })
    await scene.finish(6, 4)
    expect(scene.calls).toEqual(['0.1,1.1', '2.1,3.1', '2.2,3.2', '2.3,3.3', '4.1,5.1'])
    expect(scene.watcher.of('paused').map(({ ids }) => ids.length)).toEqual([2, 2])
  },

  'concurrency 2': async (scene) => {
    await scene.queue.sendBatch(numbers(6))
    const both = new Signal()
    scene.work(
      async () => {
        if (scene.calls.length === 2) both.resolve()
        await both.promise
        await new Promise(setImmediate)
      },
      { concurrency: 2 },
    )
    await scene.finish(6)
    expect(scene.calls.toSorted()).toEqual(['0.1', '1.1', '2.1', '3.1', '4.1', '5.1'])
    expect(scene.peak).toBe(2)
  },

  'crash with concurrency 2': crash(2, [0, 0, 0], 0),

  'many concurrently in batches': async (scene) => {
    await scene.queue.sendBatch(numbers(200))
    const both = new Signal()
    const handled: number[] = []
    scene.workBatch(
      async (messages) => {
        if (scene.calls.length === 2) both.resolve()
        await both.promise
        await new Promise(setImmediate)
        expect(messages.length).toBeLessThanOrEqual(10)
        handled.push(...messages.map(({ data }) => data))
      },
      { concurrency: 2, batchSize: 10 },
    )
    await scene.finish(200)
    expect(handled.toSorted((a, b) => a - b)).toEqual(numbers(200).map(({ data }) => data))
    expect(scene.peak).toBe(2)
  },

  'concurrency 2 + crash with int backoff': crash(2, [30, 30], 30),
  'concurrency 2 + crash with fn backoff': crash(2, [20, 40], growing),
  'concurrency 2 + crash with crashing backoff': crashingBackoff(2),

  'concurrency 2 + new message during backoff': async (scene) => {
    const { queue, calls, watcher } = scene
    await queue.send(0)
    // Long enough for a send and a claim on a busy machine: the new message has to be first.
    scene.work(
      ({ data }, { attempt }) => {
        if (data === 0 && attempt === 1) throw new Error('crash')
      },
      { concurrency: 2, backoff: 3_000 },
    )
    await watcher.until('failed')
    await queue.send(1)
    await scene.finish(2, 1)
    expect(calls).toEqual(['0.1', '1.1', '0.2'])
    expect(scene.gapsOf(0)[0]).toBeGreaterThan(3_000 - earlyMs)
    expect(watcher.of('paused')).toEqual([])
  },
}

const openEngine = async (url: string): Promise<Engine> => (await connect(url)).engine

const engines: { engine: string; open: () => Promise<Engine> }[] = [
  { engine: 'memory', open: async () => new MemoryEngine() },
  { engine: 'PostgreSQL 15', open: async () => openEngine(await sharedServer('postgres15')) },
  ...storages.map(({ name, url }) => ({ engine: name, open: async () => openEngine(await url()) })),
]

describe.concurrent.each(engines)('the nineteen processor behaviours on $engine', ({ open }) => {
  test.concurrent.each(Object.entries(cases))('%s', async (_, run) => {
    const scene = new Scene(await open())
    try {
      await run(scene)
    } finally {
      await scene.close()
    }
  })
})
