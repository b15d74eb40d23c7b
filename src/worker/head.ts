import { type Clock, sleep } from '../clock.ts'
import type { Claimer } from './claimer.ts'
import type { Delivery } from './delivery.ts'

const firstPauseMs = 20
const longestPauseMs = 1_000
/** How many delayed messages are looked through at the start for one that failed before. */
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

  /** At the start: what an earlier worker has left behind, in backoff or under a lease that nobody renews any more. */
  async adopt(signal: AbortSignal): Promise<void> {
    const [leased] = await this.#claimer.look('leased', 1, null, signal)
    const delayed = await this.#claimer.look('delayed', lookThrough, null, signal)
    const failed = delayed.find((message) => message.readCount > 0)
    if (leased) this.set([leased.id], 0)
    if (failed) this.set([failed.id], 0)
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
      const found = await this.#claimer.claimIds(this.#ids, signal)
      const missing = this.#ids.filter((id) => !found.some((delivery) => delivery.message.id === id))
      this.#ids = await this.#stillToCome(missing, patienceMs > 0, signal)
      if (found.length > 0 || !this.isSet) return found
      await sleep(this.#clock, pauseMs, signal)
      patienceMs -= pauseMs
    }
    return []
  }

  async #stillToCome(ids: readonly string[], patient: boolean, signal: AbortSignal): Promise<string[]> {
    if (ids.length === 0) return []
    const delayed = await this.#claimer.look('delayed', ids.length, ids, signal)
    const leased = patient ? await this.#claimer.look('leased', ids.length, ids, signal) : []
    return [...delayed, ...leased].map((message) => message.id)
  }
}
