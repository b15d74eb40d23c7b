import { type Clock, systemClock } from './clock.ts'
import type { Engine, Finding, QueueInfo, QueueStats } from './engine.ts'
import { isTidingsError, TidingsError } from './errors.ts'
import { defaultDeadLetterQueue } from './name.ts'
import { Queue, type QueueSurroundings } from './queue.ts'
import { type Logger, silentLogger } from './queue-access.ts'
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
  /** Where the application said that a queue's dead letters go; null: nowhere. */
  readonly #deadLetters = new Map<string, string | null>()
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
    const queue = new Queue(name, options, this.#surroundings)
    this.#checkDeadLetters(queue)
    if (options?.deadLetter !== undefined) this.#deadLetters.set(name, queue.deadLetterQueue)
    return queue
  }

  /** All queues of the storage, by name. */
  queues(): Promise<QueueInfo[]> {
    return this.#engine.listQueues()
  }

  /** The figures of all queues, by name. */
  async stats(): Promise<QueueStats[]> {
    const queues = await this.#engine.listQueues()
    const stats = await Promise.all(queues.map(({ queue }) => this.#statsOf(queue)))
    return stats.filter((one) => one !== null)
  }

  /** @returns null for a queue that was dropped meanwhile */
  async #statsOf(queue: string): Promise<QueueStats | null> {
    try {
      return await this.#engine.stats(queue)
    } catch (error) {
      if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return null
      throw error
    }
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
      calls = new QueueCalls(this.#engine, this.#surroundings.clock, queue)
      this.#calls.set(queue, calls)
    }
    return calls
  }

  #adopt(worker: Worker): void {
    if (this.#closing !== undefined) throw new TidingsError('CLOSED', 'the bus is closed, so no worker can be started')
    this.#workers.add(worker)
    void worker.finished.then(() => this.#workers.delete(worker))
  }

  /** What failed too often must come to rest somewhere. @throws DEAD_LETTER_INVALID */
  #checkDeadLetters(queue: Queue): void {
    const path = [queue.name]
    let next = queue.deadLetterQueue
    while (next !== null) {
      const isCircle = path.includes(next)
      path.push(next)
      if (isCircle)
        throw new TidingsError('DEAD_LETTER_INVALID', `the dead-letter queues form a circle: ${path.join(' → ')}`, {
          details: { field: 'deadLetter', path },
        })
      next = this.#deadLetters.has(next) ? (this.#deadLetters.get(next) ?? null) : defaultDeadLetterQueue(next)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
