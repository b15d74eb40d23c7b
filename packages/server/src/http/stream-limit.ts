import { TidingsError } from 'tidings/internal/core/errors'

/** How many streams of events there may be at once, so that they leave connections to those who work. */
export class StreamLimit {
  readonly #limit: number
  #taken = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** @returns what gives it back; twice is fine. @throws TOO_MANY_STREAMS */
  take(): () => void {
    if (this.#taken >= this.#limit)
      throw new TidingsError('TOO_MANY_STREAMS', `the server has its ${this.#limit} streams of events already`, {
        details: { limit: this.#limit },
      })
    this.#taken++
    let isTaken = true
    return () => {
      if (isTaken) this.#taken--
      isTaken = false
    }
  }
}
