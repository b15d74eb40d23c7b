import { type Clock, sleep } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import { isUnknown } from '../messages/lease.ts'
import type { Ending } from '../port/engine.ts'
import type { Delivery } from './delivery.ts'
import type { Journal } from './events.ts'

const firstPauseMs = 50
const longestPauseMs = 500

/**
 * - settled: it was done, perhaps by a call whose answer was lost
 * - lost: another reader has the message
 * - unknown: an answer was lost, and since then another reader may have had the message
 * - failed: it was not done
 */
export type Settled = 'settled' | 'lost' | 'unknown' | 'failed'

/** Settles messages, and retries while the storage fails. */
export class Settler {
  readonly #queue: string
  readonly #clock: Clock
  readonly #journal: Journal
  readonly #giveUp = new AbortController()
  #retrying = 0
  #pauseMs = firstPauseMs
  #round: Promise<void> | undefined

  constructor(queue: string, clock: Clock, journal: Journal) {
    this.#queue = queue
    this.#clock = clock
    this.#journal = journal
  }

  /** Settlements that the storage has not accepted yet. */
  get retrying(): number {
    return this.#retrying
  }

  /**
   * Tries until the storage answers, without a time limit: an expired lease can still be settled if nobody took the
   * message. Never rejects.
   */
  async settle(delivery: Delivery, ending: Ending): Promise<Settled> {
    delivery.phase = 'settling'
    delivery.leavesQueue = ending.kind !== 'release'
    try {
      await delivery.settle(ending)
      return 'settled'
    } catch (error) {
      if (!this.#mayTryAgain(error)) return this.#failed(delivery, error)
      this.#tellFailure(delivery, error, false)
    }
    this.#retrying++
    const settled = await this.#tryAgain(delivery, ending)
    this.#retrying--
    if (this.#retrying === 0) this.#pauseMs = firstPauseMs
    return settled
  }

  async #tryAgain(delivery: Delivery, ending: Ending): Promise<Settled> {
    for (;;) {
      await this.#nextRound()
      try {
        await delivery.settle(ending)
        return 'settled'
      } catch (error) {
        if (!this.#mayTryAgain(error)) return this.#failed(delivery, error)
      }
    }
  }

  /** All pending settlements are retried at the same time, so that they share one call. */
  #nextRound(): Promise<void> {
    this.#round ??= sleep(this.#clock, this.#pauseMs, this.#giveUp.signal).then(() => {
      this.#round = undefined
      this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
    })
    return this.#round
  }

  /** Ends all retries: the worker is stopped for good. */
  stop(): void {
    this.#giveUp.abort()
  }

  #mayTryAgain(error: unknown): boolean {
    return isTidingsError(error) && error.retryable && error.details.final !== true && !this.#giveUp.signal.aborted
  }

  #failed(delivery: Delivery, error: unknown): Settled {
    if (isTidingsError(error, 'LEASE_LOST')) return 'lost'
    if (isUnknown(error)) return 'unknown'
    this.#tellFailure(delivery, error, true)
    return 'failed'
  }

  #tellFailure(delivery: Delivery, error: unknown, final: boolean): void {
    this.#journal.tell({ type: 'settleFailed', queue: this.#queue, message: delivery.message, error, final })
  }
}
