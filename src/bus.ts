import { type Clock, systemClock } from './clock.ts'
import type { Engine, Finding, QueueInfo, QueueStats } from './engine.ts'
import { Queue, type QueueSurroundings } from './queue.ts'
import type { Logger } from './queue-access.ts'
import { silentLogger } from './queue-access.ts'
import { QueueCalls } from './queue-calls.ts'
import type { QueueOptions } from './queue-options.ts'
import type { StandardSchemaV1 } from './schema.ts'
import type { Worker } from './worker/worker.ts'

type InputOf<O> = O extends { schema: infer S extends StandardSchemaV1 } ? StandardSchemaV1.InferInput<S> : unknown
type OutputOf<O> = O extends { schema: infer S extends StandardSchemaV1 } ? StandardSchemaV1.InferOutput<S> : unknown

/** One connection of the application to its storage: gives out queues, and stops what was started when it is closed. */
export class Bus implements AsyncDisposable {
  readonly #engine: Engine
  readonly #surroundings: QueueSurroundings
  readonly #calls = new Map<string, QueueCalls>()
  readonly #workers = new Set<Worker>()
  #closing: Promise<void> | undefined

  /** @param engine opened already; `connect` does that */
  constructor(engine: Engine, options: { clock?: Clock; logger?: Logger } = {}) {
    this.#engine = engine
    this.#surroundings = {
      engine,
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
      callsOf: (queue) => this.#callsOf(queue),
      adopt: (worker) => this.#adopt(worker),
    }
  }

  /** The storage behind it all. */
  get engine(): Engine {
    return this.#engine
  }

  /** A queue by its name. Touches the storage only when it is used. */
  queue<const O extends QueueOptions & { schema: StandardSchemaV1 }>(
    name: string,
    options: O,
  ): Queue<InputOf<O>, OutputOf<O>>
  queue<T = unknown>(name: string, options?: QueueOptions): Queue<T>
  queue(name: string, options?: QueueOptions): Queue {
    return new Queue(name, options, this.#surroundings)
  }

  /** All queues of the storage, by name. */
  queues(): Promise<QueueInfo[]> {
    return this.#engine.listQueues()
  }

  /** The figures of all queues, by name. */
  async stats(): Promise<QueueStats[]> {
    const queues = await this.#engine.listQueues()
    return Promise.all(queues.map(({ queue }) => this.#engine.stats(queue)))
  }

  /** Looks for what could hurt: versions, permissions, durability, surroundings. */
  diagnose(): Promise<Finding[]> {
    return this.#engine.diagnose()
  }

  /** Stops all workers gracefully, then gives the connections back. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#closeOnce()
    return this.#closing
  }

  async #closeOnce(): Promise<void> {
    try {
      await Promise.all([...this.#workers].map((worker) => worker.stop()))
    } finally {
      await this.#engine.close()
    }
  }

  #callsOf(queue: string): QueueCalls {
    let calls = this.#calls.get(queue)
    if (!calls) {
      calls = new QueueCalls(this.#engine, queue)
      this.#calls.set(queue, calls)
    }
    return calls
  }

  #adopt(worker: Worker): void {
    this.#workers.add(worker)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
