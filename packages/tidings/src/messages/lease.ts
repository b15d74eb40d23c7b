import type { Clock } from '../core/clock.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { errorMeta, inAscii } from '../core/message-error.ts'
import type { Ending, Settlement, SettleResult, StoredMessage } from '../port/engine.ts'
import type { ExpiredPolicy } from './expiry.ts'

/** The two calls that leases make; a queue groups them into batches. */
export interface LeaseCalls {
  readonly clock: Clock
  settle(settlement: Settlement): Promise<SettleResult>
  /** @returns the new receipt, or null if the lease was lost */
  extend(id: string, receipt: string, leaseMs: number): Promise<string | null>
}

/**
 * One lease on one message: keeps the newest receipt, and sees to it that a settlement waits for an extension that is
 * still under way (which changes the receipt) and happens once.
 */
export class MessageLease {
  readonly message: StoredMessage
  readonly #queue: string
  readonly #deadLetterQueue: string | null
  readonly #calls: LeaseCalls
  #receipt: string
  #ending: Promise<boolean> | undefined
  #extending: Promise<unknown> = Promise.resolve()

  /** @param deadLetterQueue null: what is dead-lettered goes to the archive */
  constructor(queue: string, deadLetterQueue: string | null, message: StoredMessage, calls: LeaseCalls) {
    this.message = message
    this.#queue = queue
    this.#deadLetterQueue = deadLetterQueue
    this.#calls = calls
    // Only claimed messages get here, and those have a receipt.
    this.#receipt = message.receipt ?? ''
  }

  get receipt(): string {
    return this.#receipt
  }

  /** True once a settlement was carried out or is under way. */
  get ended(): boolean {
    return this.#ending !== undefined
  }

  /**
   * @returns true if it was carried out, false if the lease was settled through this object before; who asks while that
   *   is under way waits for it
   * @throws LEASE_LOST if another reader has the message now
   */
  async settle(ending: Ending): Promise<boolean> {
    if (this.#ending !== undefined) {
      await this.#ending
      return false
    }
    this.#ending = this.#settleNow(ending)
    try {
      return await this.#ending
    } catch (error) {
      // A lost lease stays lost; what the storage did not carry out may be tried again.
      if (!isTidingsError(error, 'LEASE_LOST')) this.#ending = undefined
      throw error
    }
  }

  async #settleNow(ending: Ending): Promise<boolean> {
    await this.#extending
    for (;;) {
      const receipt = this.#receipt
      const { settled } = await this.#carryOut(ending)
      if (settled) return true
      if (receipt === this.#receipt) throw this.#lost(ending.kind)
    }
  }

  /** Goes on with a newer lease of the same reader on the same message, under which it is settled then. */
  continueWith({ receipt }: MessageLease): void {
    this.#receipt = receipt
  }

  async #carryOut(ending: Ending): Promise<SettleResult> {
    const lease = { id: this.message.id, receipt: this.#receipt }
    try {
      return await this.#calls.settle({ ...ending, ...lease })
    } catch (error) {
      // What a handler throws may have characters that the storage does not take.
      if (!isTidingsError(error, 'BODY_UNSUPPORTED_CHAR') || !('meta' in ending)) throw error
      return this.#calls.settle({ ...ending, meta: inAscii(ending.meta), ...lease })
    }
  }

  /** Leaves the settling to the caller, under the newest receipt: no extension is under way, and none begins. */
  async handOver(ending: Ending): Promise<Settlement> {
    this.#ending = Promise.resolve(true)
    await this.#extending
    return { ...ending, id: this.message.id, receipt: this.#receipt }
  }

  /** What the caller settled was rolled back. */
  takeBack(): void {
    this.#ending = undefined
  }

  /** Ends the message for good: into the dead-letter queue, or into the archive where there is none. */
  deadLetter(reason: unknown): Promise<boolean> {
    return this.settle(this.deadLetterEnding(reason))
  }

  deadLetterEnding(reason: unknown): Ending {
    const meta = deadLetterMeta(this.#queue, this.message, reason, this.#calls.clock.now())
    return deadLetterEnding(this.#deadLetterQueue, meta)
  }

  expiredEnding(policy: ExpiredPolicy, reason: unknown): Ending {
    return policy === 'drop' ? { kind: 'delete' } : this.deadLetterEnding(reason)
  }

  /** @throws LEASE_LOST */
  async extend(leaseMs: number): Promise<void> {
    if (this.ended) throw this.#lost('extend')
    const extending = this.#extending.then(() => this.#extendNow(leaseMs))
    this.#extending = extending.catch(() => {})
    await extending
  }

  async #extendNow(leaseMs: number): Promise<void> {
    const receipt = await this.#calls.extend(this.message.id, this.#receipt, leaseMs)
    if (receipt === null) throw this.#lost('extend')
    this.#receipt = receipt
  }

  #lost(what: string): TidingsError {
    return new TidingsError(
      'LEASE_LOST',
      `${what} of message ${this.message.id} in queue '${this.#queue}' came too late: its lease is no longer this reader's`,
      { details: { queue: this.#queue, id: this.message.id } },
    )
  }
}

/** What is known of a dead letter beside its own meta. */
export function deadLetterMeta(
  queue: string,
  { id, readCount }: StoredMessage,
  reason: unknown,
  now: number,
): JsonObject {
  return {
    ...errorMeta(reason),
    origin_queue: queue,
    origin_id: id,
    attempts: readCount,
    dead_lettered_at: new Date(now).toISOString(),
  }
}

/** @param queue null: into the archive */
export const deadLetterEnding = (queue: string | null, meta: JsonObject): Ending =>
  queue === null ? { kind: 'archive', meta } : { kind: 'move', to: queue, delayMs: 0, meta }
