import type { Clock } from './clock.ts'
import type { Engine, Watch } from './engine.ts'

export interface Attempt<T> {
  /** Null if there was nothing. */
  readonly found: T | null
  /** When it is worth looking again, in milliseconds; null if nothing is known to come. */
  readonly nextDueMs: number | null
}

export interface WaitOptions {
  readonly engine: Engine
  readonly clock: Clock
  readonly queue: string
  /** The slow poll underneath, in milliseconds. */
  readonly pollMs: number
  /** Gives up after this, in milliseconds; Infinity for never. */
  readonly waitMs: number
  readonly signal?: AbortSignal
}

/**
 * Repeats an attempt until it finds something, and sleeps in between: until a send, until the next message is due,
 * until a slow poll. Looks again after the watch is in force, so that nothing slips in between.
 * @returns null when the time is over or the signal was aborted
 */
export async function waitFor<T>(options: WaitOptions, attempt: () => Promise<Attempt<T>>): Promise<T | null> {
  const first = await attempt()
  if (first.found !== null || options.waitMs <= 0 || options.signal?.aborted) return first.found

  const deadline = options.clock.now() + options.waitMs
  const bell = new Bell(options.clock, options.signal)
  let watch: Watch | undefined
  try {
    watch = await options.engine.watch(options.queue, (dueMs) => bell.ring(dueMs))
    for (;;) {
      bell.reset()
      const { found, nextDueMs } = await attempt()
      const leftMs = deadline - options.clock.now()
      if (found !== null || leftMs <= 0 || options.signal?.aborted) return found
      await bell.wait(Math.min(options.pollMs, leftMs, nextDueMs ?? Number.POSITIVE_INFINITY))
    }
  } finally {
    watch?.close()
  }
}

/** One sleeper that can be woken early. What rings before the sleep is not lost. */
class Bell {
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #wakeUp: (() => void) | undefined

  constructor(clock: Clock, signal: AbortSignal | undefined) {
    this.#clock = clock
    this.#signal = signal
  }

  reset(): void {
    this.#dueAt = Number.POSITIVE_INFINITY
  }

  /** Shortens the sleep to end in `dueMs`. */
  ring(dueMs: number): void {
    this.#dueAt = Math.min(this.#dueAt, this.#clock.now() + dueMs)
    this.#wakeUp?.()
  }

  async wait(milliseconds: number): Promise<void> {
    const until = this.#clock.now() + milliseconds
    let slept = false
    while (!slept && !this.#signal?.aborted) {
      // Never longer than asked for, and over when the timer says so: the clock may be set back meanwhile.
      const leftMs = Math.min(milliseconds, Math.min(until, this.#dueAt) - this.#clock.now())
      if (leftMs <= 0) return
      slept = await this.#sleep(leftMs)
    }
  }

  /** @returns true if the time is over, false if it was woken */
  #sleep(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (slept: boolean) => {
        timer.cancel()
        this.#signal?.removeEventListener('abort', woken)
        this.#wakeUp = undefined
        resolve(slept)
      }
      const woken = () => end(false)
      const timer = this.#clock.after(milliseconds, () => end(true))
      this.#wakeUp = woken
      this.#signal?.addEventListener('abort', woken, { once: true })
    })
  }
}
