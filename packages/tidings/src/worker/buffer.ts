import type { Clock, Timer } from '../core/clock.ts'
import type { Delivery } from './delivery.ts'

/** Messages that were claimed and wait for a handler, oldest first; hands them out in batches. */
export class Buffer {
  readonly #clock: Clock
  readonly #batchSize: number
  readonly #batchWaitMs: number
  readonly #full: () => void
  #waiting: Delivery[] = []
  #timer: Timer | undefined
  #waitedEnough = false

  /** @param full is called when a smaller batch has waited long enough for more messages */
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
   * @param limit how many may be started
   * @param hurry takes a smaller batch without waiting for more
   * @returns nothing while the batch waits to become fuller
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

  /** Takes out what is beyond `keep`, the newest. */
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
