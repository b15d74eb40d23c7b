import { type Clock, sleep } from '../core/clock.ts'
import type { Claimer } from './claimer.ts'
import type { Delivery } from './delivery.ts'

const firstPauseMs = 20
const longestPauseMs = 1_000
/** How often to check whether an earlier worker's leases have ended. */
const leftBehindMs = 100
/** How many delayed messages are searched at the start for one that was read before. */
const lookThrough = 1_000

/**
 * The head of a queue in strict order: the messages that are retried before anything else is claimed.
 *
 * Between attempts these messages are released to the storage, with their attempts, error and next time. So they survive a
 * crash, and no short lease has to be renewed for minutes. The order holds because nothing else is claimed until these
 * messages were claimed again, by id.
 */
export class StrictOrderHead {
  readonly #claimer: Claimer
  readonly #clock: Clock
  readonly #options: { readonly lease: number }
  #ids: readonly string[] = []
  #delayMs = 0

  constructor(claimer: Claimer, clock: Clock, options: { readonly lease: number }) {
    this.#claimer = claimer
    this.#clock = clock
    this.#options = options
  }

  get isSet(): boolean {
    return this.#ids.length > 0
  }

  set(ids: readonly string[], delayMs: number): void {
    this.#ids = [...this.#ids, ...ids]
    this.#delayMs = delayMs
  }

  /** At the start: waits for what an earlier worker has in hand, under leases that perhaps nobody renews, or in backoff. */
  async adopt(signal: AbortSignal): Promise<void> {
    let leased = await this.#claimer.peek('leased', lookThrough, null, signal)
    let pauseMs = leftBehindMs
    for (
      let waitedMs = 0;
      leased.length > 0 && waitedMs < this.#options.lease && !signal.aborted;
      waitedMs += pauseMs
    ) {
      pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)
      await sleep(this.#clock, pauseMs, signal)
      const ids = leased.map(({ id }) => id)
      leased = await this.#claimer.peek('leased', lookThrough, ids, signal)
    }
    const delayed = await this.#claimer.peek('delayed', lookThrough, null, signal)
    // A snoozed message may have a read count of 0.
    const returning = delayed.find((message) => message.readCount > 0 || message.lastReadAt !== null)
    if (returning) this.set([returning.id], 0)
  }

  /**
   * Waits until the messages are due and claims them.
   * @returns nothing if the messages are gone, or leased by another reader for too long
   */
  async claim(signal: AbortSignal): Promise<Delivery[]> {
    const delayMs = this.#delayMs
    this.#delayMs = 0
    await sleep(this.#clock, delayMs, signal)
    let patienceMs = this.#options.lease
    for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const ids = this.#ids
      // Several messages are claimed together once all are ready, so that they keep their order.
      const found = ids.length === 1 ? await this.#claimer.claimIds(ids, signal) : []
      if (found.length > 0 || !(await this.#isToCome(ids, patienceMs > 0, signal))) {
        this.#ids = []
        return found.length > 0 ? found : this.#claimer.claimIds(ids, signal)
      }
      await sleep(this.#clock, pauseMs, signal)
      patienceMs -= pauseMs
    }
    return []
  }

  async #isToCome(ids: readonly string[], patient: boolean, signal: AbortSignal): Promise<boolean> {
    const delayed = await this.#claimer.peek('delayed', 1, ids, signal)
    if (delayed.length > 0 || !patient) return delayed.length > 0
    const leased = await this.#claimer.peek('leased', 1, ids, signal)
    return leased.length > 0
  }
}
