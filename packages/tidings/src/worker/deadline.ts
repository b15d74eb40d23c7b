import type { Clock, Timer } from '../core/clock.ts'

/** A point in time that can be brought forward, but not put off. */
export class Deadline {
  readonly #clock: Clock
  readonly #resolve: () => void
  #at = Number.POSITIVE_INFINITY
  #timer: Timer | undefined

  /** Resolves at the deadline; never without one. */
  readonly over: Promise<void>

  constructor(clock: Clock) {
    this.#clock = clock
    let resolve = () => {}
    this.over = new Promise((done) => {
      resolve = done
    })
    this.#resolve = resolve
  }

  set(milliseconds: number): void {
    const at = this.#clock.now() + milliseconds
    if (at >= this.#at) return
    this.#at = at
    this.clear()
    this.#timer = this.#clock.after(milliseconds, this.#resolve)
  }

  /** Cancels the timer. */
  clear(): void {
    this.#timer?.cancel()
  }
}
