/** How far ahead of the handlers to read. */
const horizonMs = 200
/** How much the newest duration counts. */
const weight = 0.1
/** Assumed until handlers have shown better. */
const cautiousMs = 1_000

/** Learns how long handler calls take, and so how many messages they get through in a moment. */
export class Pace {
  readonly #capacity: number
  #durationMs = cautiousMs
  #lastEnd = Number.NEGATIVE_INFINITY

  /** @param capacity how many messages are handled at a time when all handlers are busy */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  ended(durationMs: number, now: number): void {
    this.#durationMs += weight * (durationMs - this.#durationMs)
    this.#lastEnd = now
  }

  /** How many messages are worth reading ahead; none for slow handlers. */
  ahead(now: number): number {
    // If none has ended for a while, they have become slower than they were.
    const durationMs = Math.max(this.#durationMs, now - this.#lastEnd)
    return Math.floor((this.#capacity * horizonMs) / Math.max(durationMs, 0.01))
  }

  forget(): void {
    this.#durationMs = cautiousMs
  }
}
