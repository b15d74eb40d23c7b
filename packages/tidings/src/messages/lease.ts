import { type Clock, type Moment, momentOf, passedBetween } from '../core/clock.ts'
import { type ErrorCode, isTidingsError, TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { errorMeta, inAscii } from '../core/message-error.ts'
import type { Ending, Lease, Settlement, SettleResult, StoredMessage } from '../port/engine.ts'
import type { ExpiredPolicy } from './expiry.ts'

/** The calls that leases make; a queue groups the first two into batches. */
export interface LeaseCalls {
  readonly clock: Clock
  /** Where a settlement comes from, see `NewMessage`. */
  origin(message: StoredMessage): object | undefined
  settle(settlement: Settlement): Promise<SettleResult>
  /** @returns the new receipt, or null if the lease was lost, or the message is to be cancelled */
  extend(lease: Lease, leaseMs: number): Promise<string | null>
  /** @returns the message; null if it is not in the queue any more */
  look(id: string): Promise<StoredMessage | null>
}

/** How long a lease lasts, and the moment before the storage was asked for it. */
export interface Term {
  readonly leaseMs: number
  readonly from: Moment
}

/** After these errors the storage may have done what it was asked for. */
const mayBeDone: readonly ErrorCode[] = ['OUTCOME_UNKNOWN', 'CONNECTION_LOST', 'TIMEOUT']
export const isUnknown = (error: unknown): boolean => isTidingsError(error) && mayBeDone.includes(error.code)

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
  #term: Term
  #ending: Promise<boolean> | undefined
  #extending: Promise<unknown> | undefined
  /** The answer to a settlement was lost: it took the message out of the queue, or gave it back. */
  #mayHave: 'ended' | 'released' | null = null
  #endedBefore = false
  #cancelled: boolean
  #wasCancelled = false

  /** @param deadLetterQueue null: what is dead-lettered goes to the archive */
  constructor(queue: string, deadLetterQueue: string | null, message: StoredMessage, calls: LeaseCalls, term: Term) {
    this.message = message
    this.#term = term
    this.#queue = queue
    this.#deadLetterQueue = deadLetterQueue
    this.#calls = calls
    // Only claimed messages get here, and those have a receipt.
    this.#receipt = message.receipt ?? ''
    this.#cancelled = isCancelled(message)
  }

  /** Whether it is known that somebody cancelled the message. */
  get cancelled(): boolean {
    return this.#cancelled
  }

  get receipt(): string {
    return this.#receipt
  }

  /** True once a settlement was carried out or is under way. */
  get ended(): boolean {
    return this.#ending !== undefined
  }

  /** How long the lease lasts at least, unless it was taken away. */
  get leftMs(): number {
    return this.#term.leaseMs - passedBetween(this.#term.from, momentOf(this.#calls.clock))
  }

  /** Whether it ended as cancelled, and not as a dead letter as it should have. */
  get wasCancelled(): boolean {
    return this.#wasCancelled
  }

  /** Whether it was settled by an earlier call whose answer was lost, and perhaps in another way. */
  get endedBefore(): boolean {
    return this.#endedBefore
  }

  /** Whether nobody else can have the message by now. */
  protected get isCertain(): boolean {
    return this.leftMs > 0
  }

  /**
   * @returns true if it was carried out, false if the lease was settled through this object before; who asks while that
   *   is under way waits for it
   * @throws LEASE_LOST if another reader has the message now; OUTCOME_UNKNOWN, also where an earlier answer was lost and
   *   it cannot be told any more whether the message was settled then, or another reader has it
   */
  settle(ending: Ending): Promise<boolean> {
    if (this.#ending !== undefined) return this.#ending.then(() => false)
    this.#ending = this.#settleOnce(ending)
    return this.#ending
  }

  async #settleOnce(ending: Ending): Promise<boolean> {
    try {
      if (this.#extending !== undefined) await this.#extending
      return await this.#settleNow(ending)
    } catch (error) {
      // A lost lease stays lost; what the storage did not carry out may be tried again.
      if (!isTidingsError(error, 'LEASE_LOST')) this.#ending = undefined
      throw error
    }
  }

  async #settleNow(ending: Ending): Promise<boolean> {
    for (;;) {
      const receipt = this.#receipt
      const { settled } = await this.#carryOut(ending)
      if (settled) return true
      if (receipt !== this.#receipt) continue
      if (await this.#isCancelledInstead(ending)) {
        ending = cancelledEnding(this.#calls.clock.now())
        this.#wasCancelled = true
        continue
      }
      if (!(await this.#wasDoneBefore(ending.kind))) throw this.#lost(ending.kind)
      this.#endedBefore = true
      return true
    }
  }

  /** Storages make no dead letter of a message that somebody has cancelled. */
  async #isCancelledInstead(ending: Ending): Promise<boolean> {
    if (this.#wasCancelled || !('meta' in ending) || (ending.meta.dead_lettered_at ?? null) === null) return false
    return this.#isMarked()
  }

  async #isMarked(): Promise<boolean> {
    const there = await this.#calls.look(this.message.id)
    return there !== null && isCancelled(there) && there.readCount === this.message.readCount
  }

  /** @throws OUTCOME_UNKNOWN */
  async #wasDoneBefore(kind: Ending['kind']): Promise<boolean> {
    if (this.#mayHave === null) return false
    const there = await this.#calls.look(this.message.id)
    if (there !== null && this.#mayHave === 'ended') return false
    const isUnread = there !== null && there.readCount <= this.message.readCount
    // Only the call without an answer can have done it.
    if (isUnread || this.isCertain) return true
    throw this.#unknown(kind)
  }

  /** Goes on with a newer lease of the same reader on the same message, under which it is settled then. */
  continueWith(newer: MessageLease): void {
    this.#receipt = newer.#receipt
    this.#term = newer.#term
  }

  async #carryOut(ending: Ending): Promise<SettleResult> {
    const lease = this.#lease
    try {
      return await this.#calls.settle({ ...ending, ...lease })
    } catch (error) {
      if (isUnknown(error)) this.#mayHave ??= ending.kind === 'release' ? 'released' : 'ended'
      // What a handler throws may have characters that the storage does not take.
      if (!isTidingsError(error, 'BODY_UNSUPPORTED_CHAR') || !('meta' in ending)) throw error
      return this.#calls.settle({ ...ending, meta: inAscii(ending.meta), ...lease })
    }
  }

  /** Leaves the settling to the caller, under the newest receipt: no extension is under way, and none begins. */
  async handOver(ending: Ending): Promise<Settlement> {
    this.#ending = Promise.resolve(true)
    await this.#extending
    return { ...ending, ...this.#lease }
  }

  get #lease(): Pick<Settlement, 'id' | 'receipt' | 'origin'> {
    const origin = this.#calls.origin(this.message)
    return { id: this.message.id, receipt: this.#receipt, ...(origin ? { origin } : null) }
  }

  /** @param maybe the caller settled it, or that was rolled back; false: it was rolled back */
  takeBack(maybe: boolean): void {
    this.#ending = undefined
    if (maybe) this.#mayHave = 'ended'
  }

  /** Ends the message for good: into the dead-letter queue, or into the archive where there is none. */
  deadLetter(reason: unknown): Promise<boolean> {
    return this.settle(this.deadLetterEnding(reason))
  }

  /** @param attempts how many were made; left out: this one is the last */
  deadLetterEnding(reason: unknown, attempts = attemptOf(this.message)): Ending {
    const meta = deadLetterMeta(this.#queue, this.message, reason, this.#calls.clock.now())
    return deadLetterEnding(this.#deadLetterQueue, { ...meta, attempts })
  }

  expiredEnding(policy: ExpiredPolicy, reason: unknown): Ending {
    return policy === 'drop' ? { kind: 'delete' } : this.deadLetterEnding(reason)
  }

  /** @throws LEASE_LOST; CANCELLED once, after which the lease can be extended again */
  async extend(leaseMs: number): Promise<void> {
    if (this.ended) throw this.#lost('extend')
    const before = this.#extending ?? Promise.resolve()
    const extending = before.then(() => this.#extendNow(leaseMs))
    this.#extending = extending.catch(() => {})
    await extending
  }

  async #extendNow(leaseMs: number): Promise<void> {
    for (;;) {
      const before = this.#receipt
      const from = momentOf(this.#calls.clock)
      const { id } = this.message
      const lease = { id, receipt: before, ...(this.#cancelled ? { cancelled: true } : null) }
      const receipt = await this.#calls.extend(lease, leaseMs)
      if (before !== this.#receipt) continue
      if (receipt === null && !this.#cancelled) {
        this.#cancelled = await this.#isMarked()
        if (this.#cancelled) throw cancelledError(this.#queue, id)
      }
      if (receipt === null) throw this.#lost('extend')
      this.#receipt = receipt
      this.#term = { leaseMs, from }
      return
    }
  }

  #unknown(what: string): TidingsError {
    return new TidingsError(
      'OUTCOME_UNKNOWN',
      `whether message ${this.message.id} in queue '${this.#queue}' was settled is not known: the answer to an earlier try was lost, and since then the lease may have ended`,
      {
        details: { queue: this.#queue, id: this.message.id, what, final: true },
        hint: 'Either it was done, or the message is delivered again: see to it that handling it twice does no harm.',
      },
    )
  }

  #lost(what: string): TidingsError {
    return new TidingsError(
      'LEASE_LOST',
      `${what} of message ${this.message.id} in queue '${this.#queue}' came too late: its lease is no longer this reader's`,
      { details: { queue: this.#queue, id: this.message.id } },
    )
  }
}

/** Whether somebody asked for its end. */
export const isCancelled = ({ meta }: StoredMessage): boolean => Object.hasOwn(meta, 'cancel_requested_at')

export const cancelledError = (queue: string, id: string) =>
  new TidingsError('CANCELLED', `message ${id} in queue '${queue}' was cancelled`, { details: { queue, id } })

/** Into the archive, and no task to be done any more. */
export const cancelledEnding = (now: number): Ending => ({
  kind: 'archive',
  meta: { cancelled_at: new Date(now).toISOString() },
})

/**
 * The number of the attempt for which the message was read. Of one that was read ahead by a process that is gone, it is not
 * known whether a handler had begun: it counts as one more.
 */
export const attemptOf = ({ readCount, meta }: Pick<StoredMessage, 'readCount' | 'meta'>): number =>
  readCount + (meta.read_ahead_lost === true ? 1 : 0)

/** Why a message that was just read must not be tried again: all its attempts were made. Null if it may. */
export function attemptsError(message: StoredMessage, maxAttempts: number): TidingsError | null {
  const { readCount, meta } = message
  if (attemptOf(message) <= maxAttempts) return null
  const { process_lost_at: lostAt } = meta
  const why =
    typeof lostAt !== 'string'
      ? 'ended without a report, when its lease ran out: the process was stopped or cut off, or it gave up the message'
      : meta.read_ahead_lost === true
        ? `may have been made by a process that was lost at ${lostAt}: it had the message in hand or read ahead`
        : `was made by a process that was lost at ${lostAt}`
  const text = `all ${maxAttempts} attempts were made, and the last ${why}`
  return new TidingsError('HANDLER_FAILED', text, { details: { readCount, maxAttempts } })
}

/** The error of an attempt, in the meta of its message: what happened to the attempts before is told no more. */
export const failureMeta = ({ meta }: StoredMessage, error: unknown): JsonObject =>
  Object.hasOwn(meta, 'process_lost_at') ? { ...errorMeta(error), process_lost_at: null } : errorMeta(error)

/** What is known of a dead letter beside its own meta. */
export function deadLetterMeta(
  queue: string,
  { id, readCount, meta }: StoredMessage,
  reason: unknown,
  now: number,
): JsonObject {
  return {
    ...errorMeta(reason),
    origin_queue: queue,
    origin_id: id,
    attempts: attemptOf({ readCount, meta }),
    dead_lettered_at: new Date(now).toISOString(),
  }
}

/** @param queue null: into the archive */
export const deadLetterEnding = (queue: string | null, meta: JsonObject): Ending =>
  queue === null ? { kind: 'archive', meta } : { kind: 'move', to: queue, delayMs: 0, meta }
