/** For so long after a call of its own a process that sleeps looks after what others do. */
const awakeMs = 4_000

/** Whether a server is to be left alone while this process has nothing to do, and when that is. */
export class Wakefulness {
  /** Whether nothing is asked of an idle server. */
  readonly sleeps: boolean
  /** Called when this process has something to do. */
  readonly woken = new Set<() => void>()
  #usedAt = Number.NEGATIVE_INFINITY
  /** Since the last upkeep. */
  #wasUsed = true

  constructor(sleeps: boolean) {
    this.sleeps = sleeps
  }

  /** A member of the port is called. */
  use(): void {
    if (!this.sleeps) return
    this.#wasUsed = true
    this.#usedAt = performance.now()
    for (const tell of this.woken) tell()
  }

  /** Upkeep has been done. */
  rest(): void {
    this.#wasUsed = false
  }

  get mayLook(): boolean {
    return !this.sleeps || performance.now() - this.#usedAt < awakeMs
  }

  get needsUpkeep(): boolean {
    return !this.sleeps || this.#wasUsed
  }
}
