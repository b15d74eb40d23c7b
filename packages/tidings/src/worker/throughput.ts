/** How far to read ahead of the handlers. */
const horizonMs = 200
/** The weight of the newest duration in the average. */
const weight = 0.1
/** The assumed duration before the first measurement. */
const cautiousMs = 1_000

/** Estimates from the duration of handler calls how many messages they handle within the horizon. */
export class ThroughputEstimate {
  readonly #capacity: number
  #durationMs = cautiousMs
  #lastEnd = Number.NEGATIVE_INFINITY

  /** @param capacity messages handled at a time when all handlers are busy */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  ended(durationMs: number, now: number): void {
    this.#durationMs += weight * (durationMs - this.#durationMs)
    this.#lastEnd = now
  }

  /** How many messages are worth reading ahead; none for slow handlers. */
  ahead(now: number): number {
    // If no call has ended for a while, the handlers have become slower.
    const durationMs = Math.max(this.#durationMs, now - this.#lastEnd)
    return Math.floor((this.#capacity * horizonMs) / Math.max(durationMs, 0.01))
  }

  forget(): void {
    this.#durationMs = cautiousMs
  }
}
