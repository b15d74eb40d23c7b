import type { Clock } from '../core/clock.ts'
import type { Interest } from '../port/listening.ts'
import type { Wakeups, Watch } from '../port/wakeups.ts'

export interface Attempt<T> {
  /** Null if there was nothing. */
  readonly found: T | null
  /** Whether there may be more right now: as much was found as was asked for. */
  readonly full: boolean
  /** When it is worth looking again, in milliseconds; null if nothing is known to come. */
  readonly nextDueMs: number | null
}

export interface PollerDependencies {
  readonly wakeups: Pick<Wakeups, 'subscribe' | 'lookMs'>
  /** The queue or topic. */
  readonly interest: Interest
  readonly clock: Clock
  /** The slow poll underneath, in milliseconds; seldom where the storage itself looks at least as often. */
  readonly pollMs: number
  /** Settings of it were changed, or may have been. */
  readonly changed?: () => void
}

/** How often to look where the storage does so itself. */
const seldomMs = 3_600_000

export interface Patience {
  /** Gives up after this, in milliseconds; Infinity for never. */
  readonly waitMs: number
  readonly signal?: AbortSignal
  /** Called before the first sleep. */
  readonly resting?: () => void
}

/**
 * Looks into a queue until something is found, and sleeps in between: until a send, until the next message is due,
 * until a slow poll. It looks again once its watch is in force, so that nothing slips in between. The watch stays in
 * force from one call to the next while there is little to do, and then a message costs one look; while there is much
 * to do nobody has to be woken, and senders need not announce anything.
 */
export class Poller {
  readonly #dependencies: PollerDependencies
  readonly #waiter: Waiter
  #watch: Watch | undefined
  /** Until when there is nothing to be found unless the waiter is woken; null if that is not known. */
  #quietUntil: number | null = null

  constructor(dependencies: PollerDependencies) {
    this.#dependencies = dependencies
    this.#waiter = new Waiter(dependencies.clock)
  }

  /** @returns null when the time is over or the signal was aborted */
  async wait<T>(patience: Patience, attempt: () => Promise<Attempt<T>>): Promise<T | null> {
    try {
      return await this.#wait(patience, attempt)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** The next call looks at once. */
  forget(): void {
    this.#quietUntil = null
  }

  close(): void {
    this.#watch?.close()
    this.#watch = undefined
    this.#quietUntil = null
  }

  async #wait<T>({ waitMs, signal, resting }: Patience, attempt: () => Promise<Attempt<T>>): Promise<T | null> {
    const { clock, wakeups, interest, pollMs, changed } = this.#dependencies
    const restMs = () => {
      const lookMs = wakeups.lookMs(interest)
      if (lookMs === Number.POSITIVE_INFINITY) return lookMs
      return lookMs !== null && lookMs <= pollMs ? seldomMs : pollMs
    }
    const deadline = clock.now() + waitMs
    let rested = false
    for (;;) {
      if (this.#quietUntil !== null) {
        if (!rested) resting?.()
        rested = true
        const quietMs = this.#quietUntil - clock.now()
        await this.#waiter.wait(Math.min(restMs(), quietMs, deadline - clock.now()), signal)
        this.#quietUntil = null
      }
      const watching = this.#watch !== undefined
      this.#waiter.reset()
      const { found, full, nextDueMs } = await attempt()
      if (full) this.close()
      // A look that was broken off has seen nothing.
      else if (watching && !signal?.aborted)
        this.#quietUntil = clock.now() + Math.min(restMs(), nextDueMs ?? Number.POSITIVE_INFINITY)
      if (found !== null) return found
      if (signal?.aborted || clock.now() >= deadline) {
        this.#quietUntil = null
        return null
      }
      this.#watch ??= await wakeups.subscribe({
        interests: [interest],
        woken: (dueMs) => this.#waiter.wake(dueMs),
        ...(changed ? { changed } : {}),
        // From now on the slow poll has to do.
        interrupted: () => this.#waiter.wake(pollMs),
      })
    }
  }
}

/** One sleeper that can be woken early. A call of `wake` before the sleep is not lost. */
class Waiter {
  readonly #clock: Clock
  #dueAt = Number.POSITIVE_INFINITY
  #wakeUp: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  reset(): void {
    this.#dueAt = Number.POSITIVE_INFINITY
  }

  /** Shortens the sleep to end in `dueMs`. */
  wake(dueMs: number): void {
    this.#dueAt = Math.min(this.#dueAt, this.#clock.now() + dueMs)
    this.#wakeUp?.()
  }

  async wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
    const until = this.#clock.now() + milliseconds
    let slept = false
    while (!slept && !signal?.aborted) {
      // Never longer than asked for, and over when the timer says so: the clock may be set back meanwhile.
      const leftMs = Math.min(milliseconds, Math.min(until, this.#dueAt) - this.#clock.now())
      if (leftMs <= 0) return
      slept = await this.#sleep(leftMs, signal)
    }
  }

  /** @returns true if the time is over, false if it was woken */
  #sleep(milliseconds: number, signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (slept: boolean) => {
        timer.cancel()
        signal?.removeEventListener('abort', woken)
        this.#wakeUp = undefined
        resolve(slept)
      }
      const woken = () => end(false)
      const timer = this.#clock.after(milliseconds, () => end(true))
      this.#wakeUp = woken
      signal?.addEventListener('abort', woken, { once: true })
    })
  }
}
