import type { Clock, Timer } from '../core/clock.ts'
import type { Delivery } from './delivery.ts'

/** Claimed messages that wait for a handler, oldest first. Hands them out in batches. */
export class Buffer {
  readonly #clock: Clock
  readonly #batchSize: number
  readonly #batchWaitMs: number
  readonly #full: () => void
  #waiting: Delivery[] = []
  #timer: Timer | undefined
  #waitedEnough = false

  /** @param full called when an incomplete batch has waited long enough */
  constructor(clock: Clock, batchSize: number, batchWaitMs: number, full: () => void) {
    this.#clock = clock
    this.#batchSize = batchSize
    this.#batchWaitMs = batchWaitMs
    this.#full = full
  }

  get size(): number {
    return this.#waiting.length
  }

  add(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#waiting.push(delivery)
  }

  /**
   * @param limit how many messages may be started
   * @param hurry takes an incomplete batch at once
   * @returns nothing while the batch waits for more messages
   */
  take(limit: number, hurry: boolean): Delivery[] {
    const size = Math.min(this.#batchSize, limit)
    if (this.size === 0 || size <= 0) return []
    if (this.size < size && this.#batchWaitMs > 0 && !hurry && !this.#waitedEnough) {
      this.#timer ??= this.#clock.after(this.#batchWaitMs, () => {
        this.#timer = undefined
        this.#waitedEnough = true
        this.#full()
      })
      return []
    }
    this.#waitAnew()
    return size === 1 ? [this.#waiting.shift() as Delivery] : this.#waiting.splice(0, size)
  }

  /** Removes and returns the newest messages beyond `keep`. */
  trim(keep: number): Delivery[] {
    if (keep === 0) this.#waitAnew()
    return this.size > keep ? this.#waiting.splice(keep) : []
  }

  remove(delivery: Delivery): void {
    this.#waiting = this.#waiting.filter((other) => other !== delivery)
  }

  #waitAnew(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#waitedEnough = false
  }
}
