/** For so long a client asks again for an answer that was lost. */
const keptMs = 60_000
const maxKept = 10_000

interface Kept<T> {
  readonly outcome: Promise<T>
  readonly until: number
}

/** Outcomes of numbered requests that must not be carried out twice, for clients whose answer was lost. */
export class Repeats<T> {
  readonly #kept = new Map<string, Kept<T>>()

  /** Carries it out, or waits for the one that was begun before. One that failed is carried out again. */
  once(holder: string, number: number, carryOut: () => Promise<T>): Promise<T> {
    const key = `${holder}/${number}`
    const before = this.#kept.get(key)
    if (before) return before.outcome
    const outcome = carryOut()
    outcome.catch(() => this.#kept.delete(key))
    const now = performance.now()
    this.#kept.set(key, { outcome, until: now + keptMs })
    for (const [oldest, { until }] of this.#kept) {
      if (until > now && this.#kept.size <= maxKept) break
      this.#kept.delete(oldest)
    }
    return outcome
  }
}
