import type { Clock, Timer } from './clock.ts'
import { nextTurn as turn } from './turns.ts'

/** A clock for tests that moves only by `advance`. */
export class FakeClock implements Clock {
  #now: number
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void; isRef: boolean }>()

  /** @param startAt milliseconds since 1970; default 2026-01-01T00:00:00Z */
  constructor(startAt = Date.UTC(2026, 0, 1)) {
    this.#now = startAt
  }

  now(): number {
    return this.#now
  }

  steady(): number {
    return this.#now
  }

  after(milliseconds: number, callback: () => void): Timer {
    const timer = { at: this.#now + Math.max(0, milliseconds), callback, isRef: true }
    this.#timers.add(timer)
    return {
      cancel: () => void this.#timers.delete(timer),
      unref: () => {
        timer.isRef = false
      },
    }
  }

  /** How many timers are pending that would keep a process alive. */
  get pending(): number {
    return [...this.#timers].filter(({ isRef }) => isRef).length
  }

  /**
   * Advances the time and calls the timers that come due, each at its own time and in order, also timers that are set
   * meanwhile. Promises that wait for a timer continue before the next timer.
   * @param milliseconds 0 calls the timers that are due now
   * @example await clock.advance(3_600_000)
   */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds
    await turn()
    for (let timer = this.#next(end); timer !== undefined; timer = this.#next(end)) {
      this.#timers.delete(timer)
      this.#now = Math.max(this.#now, timer.at)
      timer.callback()
      await turn()
    }
    this.#now = Math.max(this.#now, end)
  }

  #next(end: number) {
    const due = [...this.#timers].filter((timer) => timer.at <= end)
    // The sort is stable: of two timers at the same time, the first one set comes first.
    return due.sort((a, b) => a.at - b.at)[0]
  }
}
