import { systemClock, type Timer } from '../../core/clock.ts'
import { soon } from '../../core/turns.ts'

/** A timer that comes so much later than it should says that this process was busy, and had no time to read. */
const busyMs = 500
/** In a process that is always busy, so many such times in a row count as one that was not. */
const mostTimes = 3

/** Calls back when nothing was heard for so long; time in which this process was busy itself does not count. */
export class Patience {
  readonly #milliseconds: number
  readonly #over: () => void
  #heardAt = performance.now()
  #busyTimes = 0
  #isOver = false
  #timer: Timer

  constructor(milliseconds: number, over: () => void) {
    this.#milliseconds = milliseconds
    this.#over = over
    this.#timer = this.#wait(milliseconds)
  }

  heard(): void {
    this.#heardAt = performance.now()
    this.#busyTimes = 0
  }

  cancel(): void {
    this.#isOver = true
    this.#timer.cancel()
  }

  #wait(milliseconds: number): Timer {
    const dueAt = performance.now() + milliseconds
    return systemClock.after(milliseconds, () => this.#look(dueAt))
  }

  #look(dueAt: number): void {
    const now = performance.now()
    if (now - dueAt > busyMs && this.#busyTimes++ < mostTimes) this.#heardAt = now
    // Timers are told before what came meanwhile is read.
    if (this.#leftMs <= 0) soon(() => this.#judge())
    else this.#timer = this.#wait(this.#leftMs)
  }

  #judge(): void {
    if (this.#isOver) return
    if (this.#leftMs <= 0) this.#over()
    else this.#timer = this.#wait(this.#leftMs)
  }

  get #leftMs(): number {
    return this.#heardAt + this.#milliseconds - performance.now()
  }
}
