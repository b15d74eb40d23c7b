/** The source of time. Tests pass a clock of their own; all other code uses `systemClock`. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Milliseconds since some moment; never goes back, but may stand still while the machine sleeps. */
  steady(): number
  /** Calls `callback` once after `milliseconds`. */
  after(milliseconds: number, callback: () => void): Timer
}

export interface Timer {
  cancel(): void
  /** From now on the process may end before. */
  unref?(): void
}

/** The maximum of setTimeout; a longer wait is cut into pieces. */
const longestTimeout = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  steady: () => performance.now(),
  after(milliseconds, callback) {
    let handle: NodeJS.Timeout
    const arm = (left: number) => {
      const piece = Math.min(left, longestTimeout)
      handle = setTimeout(() => (left > piece ? arm(left - piece) : callback()), piece)
    }
    arm(Math.max(0, milliseconds))
    return { cancel: () => clearTimeout(handle), unref: () => void handle.unref() }
  },
}

/** Resolves after the time, or at once when the signal is aborted; never rejects. */
export function sleep(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = () => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(milliseconds, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}

/** A moment by both clocks. */
export interface Moment {
  readonly now: number
  readonly steady: number
}

export const momentOf = (clock: Clock): Moment => ({ now: clock.now(), steady: clock.steady() })

/** How many milliseconds went by, at most: the one clock may have been put back, the other may have stood still. */
export const passedBetween = (from: Moment, to: Moment): number => Math.max(to.now - from.now, to.steady - from.steady)
