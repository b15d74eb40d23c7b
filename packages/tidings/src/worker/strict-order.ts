import { type Clock, sleep } from '../core/clock.ts'
import type { Claimer } from './claimer.ts'
import type { Delivery } from './delivery.ts'

const firstPauseMs = 20
const longestPauseMs = 1_000
/** How often to look whether an earlier worker's leases have ended. */
const leftBehindMs = 100
/** How many delayed messages are looked through at the start for one that was read before. */
const lookThrough = 1_000

/**
 * The head of the queue, for strict order: messages that are to be tried again before anything else is claimed.
 *
 * Between attempts such a message is back in the storage, with its attempts, its error and the time of the next try,
 * and not kept under a lease here: only so are all of them right after a crash, and only so does a short lease not
 * have to be renewed for minutes. Order comes from claiming nothing else until this message was claimed again, by id.
 */
export class Head {
  readonly #claimer: Claimer
  readonly #clock: Clock
  readonly #leaseMs: number
  #ids: readonly string[] = []
  #delayMs = 0

  constructor(claimer: Claimer, clock: Clock, leaseMs: number) {
    this.#claimer = claimer
    this.#clock = clock
    this.#leaseMs = leaseMs
  }

  get isSet(): boolean {
    return this.#ids.length > 0
  }

  set(ids: readonly string[], delayMs: number): void {
    this.#ids = [...this.#ids, ...ids]
    this.#delayMs = delayMs
  }

  /** At the start: waits for what an earlier worker left behind, in backoff or under leases that nobody renews. */
  async adopt(signal: AbortSignal): Promise<void> {
    for (let waitedMs = 0; waitedMs < this.#leaseMs && !signal.aborted; waitedMs += leftBehindMs) {
      const [leased] = await this.#claimer.look('leased', 1, null, signal)
      if (leased === undefined) break
      await sleep(this.#clock, leftBehindMs, signal)
    }
    const delayed = await this.#claimer.look('delayed', lookThrough, null, signal)
    // A snoozed one has no attempts to show.
    const returning = delayed.find((message) => message.readCount > 0 || message.lastReadAt !== null)
    if (returning) this.set([returning.id], 0)
  }

  /**
   * Waits until the time has come and claims.
   * @returns nothing if the messages are gone, or for too long in the hands of another reader
   */
  async claim(signal: AbortSignal): Promise<Delivery[]> {
    const delayMs = this.#delayMs
    this.#delayMs = 0
    await sleep(this.#clock, delayMs, signal)
    let patienceMs = this.#leaseMs
    for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const ids = this.#ids
      // Several are claimed when all are ready, so that they stay in their order.
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
    const delayed = await this.#claimer.look('delayed', 1, ids, signal)
    if (delayed.length > 0 || !patient) return delayed.length > 0
    const leased = await this.#claimer.look('leased', 1, ids, signal)
    return leased.length > 0
  }
}
