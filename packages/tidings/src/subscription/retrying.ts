import { sleep } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Position } from '../port/topic-store.ts'
import type { SubscriptionAccess } from './access.ts'
import type { Journal } from './events.ts'

const firstPauseMs = 100
const longestPauseMs = 1_000

/** Repeats calls until they succeed, while the storage fails. */
export class Retrying {
  readonly #access: SubscriptionAccess<unknown>
  readonly #from: Position
  readonly #pollMs: number
  readonly #journal: Journal
  #ensured = false
  #failing = false

  constructor(
    access: SubscriptionAccess<unknown>,
    { from, pollInterval }: { from: Position; pollInterval: number },
    journal: Journal,
  ) {
    this.#access = access
    this.#from = from
    this.#pollMs = pollInterval
    this.#journal = journal
  }

  /**
   * Creates the subscription first if it is missing, also if it was removed meanwhile.
   * @returns null if the signal was aborted before the call succeeded
   * @throws only CLOSED
   */
  onSubscription<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T | null> {
    return this.run(signal, async () => {
      if (!this.#ensured) await this.#access.ensure(this.#from)
      this.#ensured = true
      try {
        return await call()
      } catch (error) {
        if (isMissing(error)) this.#ensured = false
        throw error
      }
    })
  }

  /** @returns null if the signal was aborted before the call succeeded @throws only CLOSED */
  async run<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T | null> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        const result = await call()
        this.succeeded()
        return result
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) throw error
        const firstTime = !this.#failing
        this.failed(error)
        if (!isMissing(error)) await sleep(this.#access.clock, pauseMs, signal)
        else if (!firstTime) await sleep(this.#access.clock, this.#pollMs, signal)
      }
      if (signal.aborted) return null
    }
  }

  failed(error: unknown): void {
    if (!this.#failing) this.#journal.tell({ type: 'interrupted', error })
    this.#failing = true
  }

  succeeded(): void {
    if (this.#failing) this.#journal.tell({ type: 'resumed' })
    this.#failing = false
  }
}

export const isMissing = (error: unknown) =>
  isTidingsError(error, 'TOPIC_NOT_FOUND') || isTidingsError(error, 'SUBSCRIPTION_NOT_FOUND')
