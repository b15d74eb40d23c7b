import type { Clock } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type {
  Engine,
  Lease,
  NewMessage,
  SendResult,
  SendTerms,
  Settlement,
  SettleResult,
  StoredMessage,
} from '../port/engine.ts'
import { sizeOf, sizeWith } from '../port/limits.ts'
import { queueFull } from '../port/refusals.ts'
import type { Telemetry } from '../port/telemetry.ts'
import { Batcher, Failure, sendApart } from './batcher.ts'
import { KnownSettings } from './known-settings.ts'
import type { LeaseCalls } from './lease.ts'

/** Of calls that cannot travel together: whoever makes ever other ones must not fill the memory. */
const maxKinds = 100

const sizeOfSettlement = (settlement: Settlement) => sizeWith('meta' in settlement ? settlement.meta : {})

/** The calls that one process makes for one queue, grouped so that single ones travel together. */
export class QueueCalls implements LeaseCalls {
  readonly #engine: Engine
  readonly #telemetry: Telemetry
  readonly #queue: string
  readonly #sends = new Map<string, Batcher<NewMessage, SendResult>>()
  readonly #settlements: Batcher<Settlement, SettleResult>
  readonly #extensions = new Map<number, Batcher<Lease, string | null>>()
  readonly clock: Clock
  readonly settings: KnownSettings
  #ensured: Promise<boolean> | undefined
  #creating: Promise<boolean> | undefined

  /** @param silent the engine without telemetry: reading settings is nothing that the application did */
  constructor(engine: Engine, silent: Engine, telemetry: Telemetry, clock: Clock, queue: string) {
    this.#engine = engine
    this.#telemetry = telemetry
    this.clock = clock
    this.#queue = queue
    this.settings = new KnownSettings(silent, clock, queue)
    this.#settlements = new Batcher((settlements) => engine.settle(queue, settlements), engine, sizeOfSettlement)
  }

  send(message: NewMessage, terms: SendTerms): Promise<SendResult> {
    // What has to be on disk takes longer, and may be refused.
    const kind = `${terms.durability} ${terms.maxLength}`
    let sends = this.#sends.get(kind)
    if (!sends) {
      if (this.#sends.size >= maxKinds) this.#sends.clear()
      sends = new Batcher((messages) => this.#sendOn(terms, messages), this.#engine, sizeOf)
      this.#sends.set(kind, sends)
    }
    return sends.add(message)
  }

  /** What travels together by chance does not share the fate of a batch: what there is room for is stored. */
  async #sendOn(terms: SendTerms, messages: NewMessage[]): Promise<(SendResult | Failure)[]> {
    const { maxLength } = terms
    try {
      return await this.#engine.send(this.#queue, messages, null, terms)
    } catch (error) {
      if (maxLength === undefined || !isTidingsError(error, 'QUEUE_FULL')) throw error
      const room = maxLength - (error.details.length as number)
      if (messages.length === 1) return [new Failure(error)]
      const refused = new Failure(queueFull(this.#queue, maxLength - room, maxLength, 1))
      if (room <= 0) return messages.map(() => refused)
      const count = Math.min(room, messages.length - 1)
      const first = await this.#sendOn(terms, messages.slice(0, count))
      // The first ones are stored, whatever befalls the others.
      const others = await sendApart(messages.slice(count), (rest) => this.#sendOn(terms, rest))
      return [...first, ...others]
    }
  }

  origin(message: StoredMessage): object | undefined {
    return this.#telemetry.origin(message)
  }

  settle(settlement: Settlement): Promise<SettleResult> {
    return this.#settlements.add(settlement)
  }

  extend(lease: Lease, leaseMs: number): Promise<string | null> {
    let extensions = this.#extensions.get(leaseMs)
    if (!extensions) {
      // What is under way goes on.
      if (this.#extensions.size >= maxKinds) this.#extensions.clear()
      extensions = new Batcher((leases) => this.#engine.extend(this.#queue, leases, leaseMs), this.#engine)
      this.#extensions.set(leaseMs, extensions)
    }
    return extensions.add(lease)
  }

  async look(id: string): Promise<StoredMessage | null> {
    const [message] = await this.#engine.peek(this.#queue, { place: null, limit: 1, afterId: null, ids: [id] })
    return message ?? null
  }

  get isBusy(): boolean {
    return this.#creating !== undefined || this.settings.isBusy || this.#batchers.some((one) => one.isBusy)
  }

  async idle(): Promise<void> {
    await this.#creating?.catch(() => {})
    await Promise.all([this.settings, ...this.#batchers].map((one) => one.idle()))
  }

  get #batchers() {
    return [...this.#sends.values(), this.#settlements, ...this.#extensions.values()]
  }

  create(): Promise<boolean> {
    return this.#engine.createQueue(this.#queue)
  }

  /** Creates the queue once for all that found it missing at the same time, so that they go on in their order. */
  async createMissing(): Promise<void> {
    this.#creating ??= this.create().finally(() => {
      this.#creating = undefined
    })
    await this.#creating
  }

  drop(): Promise<boolean> {
    this.forget()
    this.settings.forget()
    return this.#engine.dropQueue(this.#queue)
  }

  /** The queue may be gone. */
  forget(): void {
    this.#ensured = undefined
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
