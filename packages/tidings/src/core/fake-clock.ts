import { setImmediate as turn } from 'node:timers/promises'
import type { Clock, Timer } from './clock.ts'

/** A clock that moves only when told to, for tests of what time does. */
export class FakeClock implements Clock {
  #now: number
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>()

  /** @param startAt milliseconds since 1970; default 2026-01-01T00:00:00Z */
  constructor(startAt = Date.UTC(2026, 0, 1)) {
    this.#now = startAt
  }

  now(): number {
    return this.#now
  }

  after(milliseconds: number, callback: () => void): Timer {
    const timer = { at: this.#now + Math.max(0, milliseconds), callback }
    this.#timers.add(timer)
    return { cancel: () => void this.#timers.delete(timer) }
  }

  /** How many timers wait for their time. */
  get pending(): number {
    return this.#timers.size
  }

  /**
   * Moves the time on and calls the timers that come due, each at its own time and in order, also those that are set
   * meanwhile. After each it lets the promises go on that wait for it.
   * @param milliseconds 0 calls what is due now
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
    // The sort is stable: of two at the same time, the one that was set first.
    return due.sort((a, b) => a.at - b.at)[0]
  }
}
