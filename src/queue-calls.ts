import { Batcher } from './batcher.ts'
import type { Engine, Lease, NewMessage, SendResult, Settlement, SettleResult } from './engine.ts'
import type { LeaseCalls } from './lease.ts'

const maxBatch = 1_000

/** The calls that one process makes for one queue, grouped so that single ones travel together. */
export class QueueCalls implements LeaseCalls {
  readonly #engine: Engine
  readonly #queue: string
  readonly #sends: Batcher<NewMessage, SendResult>
  readonly #settlements: Batcher<Settlement, SettleResult>
  readonly #extensions = new Map<number, Batcher<Lease, string | null>>()
  #ensured: Promise<boolean> | undefined

  constructor(engine: Engine, queue: string) {
    this.#engine = engine
    this.#queue = queue
    this.#sends = new Batcher((messages) => engine.send(queue, messages, null), maxBatch)
    this.#settlements = new Batcher((settlements) => engine.settle(queue, settlements), maxBatch)
  }

  send(message: NewMessage): Promise<SendResult> {
    return this.#sends.add(message)
  }

  settle(settlement: Settlement): Promise<SettleResult> {
    return this.#settlements.add(settlement)
  }

  extend(id: string, receipt: string, leaseMs: number): Promise<string | null> {
    let extensions = this.#extensions.get(leaseMs)
    if (!extensions) {
      extensions = new Batcher((leases) => this.#engine.extend(this.#queue, leases, leaseMs), maxBatch)
      this.#extensions.set(leaseMs, extensions)
    }
    return extensions.add({ id, receipt })
  }

  create(): Promise<boolean> {
    return this.#engine.createQueue(this.#queue)
  }

  drop(): Promise<boolean> {
    this.#ensured = undefined
    return this.#engine.dropQueue(this.#queue)
  }

  /** Creates the queue if it is missing; asks the storage only the first time. */
  async ensure(): Promise<void> {
    this.#ensured ??= this.create()
    try {
      await this.#ensured
    } catch (error) {
      this.#ensured = undefined
      throw error
    }
  }
}
