import { settlesWithin } from '../../core/awake.ts'
import { systemClock, type Timer } from '../../core/clock.ts'

/** From then on it is tried whether the server can still be reached, again and again. */
const lateMs = 1_000
const againMs = 1_000
/** A slow line may still be busy with carrying the request. */
const bytesPerMs = 64
const answerWithinMs = 2_500

/** No answer, and none to a question on a new connection. */
export class Silent extends Error {}

/**
 * Finds out that nothing comes from a server any more. A server that only takes long still answers a short question on a
 * new connection; one that refuses the connection may be about to end, and answers first.
 */
export class Silence {
  readonly #ask: (signal: AbortSignal) => Promise<unknown>
  #asking: Promise<boolean> | undefined

  /** @param ask a short question on a new connection; whatever comes of it is an answer */
  constructor(ask: (signal: AbortSignal) => Promise<unknown>) {
    this.#ask = ask
  }

  /** Calls `found` when the server is silent. The caller says when bytes come, and cancels when the answer is there. */
  watch(bytes: number, found: () => void): Timer & { heard(): void } {
    let isOver = false
    let heardAt = Number.NEGATIVE_INFINITY
    const isHeard = () => performance.now() - heardAt < againMs
    const look = async () => {
      const isSilent = !isHeard() && (await this.#isSilent())
      if (isOver) return
      if (isSilent && !isHeard()) found()
      else timer = systemClock.after(againMs, () => void look())
    }
    let timer = systemClock.after(lateMs + bytes / bytesPerMs, () => void look())
    return {
      heard() {
        heardAt = performance.now()
      },
      cancel() {
        isOver = true
        timer.cancel()
      },
    }
  }

  /** One question for all that wait. */
  #isSilent(): Promise<boolean> {
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #askOnce(): Promise<boolean> {
    const over = new AbortController()
    const isAnswered = await settlesWithin(this.#ask(over.signal), answerWithinMs)
    over.abort()
    return !isAnswered
  }
}
