import type { AppContext } from './app.ts'

/** Whether there is still somebody to be answered. */
export class Presence {
  readonly #gone = new AbortController()
  readonly #outgoing: AppContext['env']['outgoing'] | undefined
  /** Tells of the client where it is another server that holds the connection. */
  readonly #request: AbortSignal | undefined
  readonly #stopping: AbortSignal | undefined

  constructor(context: AppContext, stopping: AbortSignal | undefined) {
    this.#outgoing = context.env?.outgoing
    this.#request = this.#outgoing === undefined ? context.req.raw.signal : undefined
    this.#stopping = stopping
    this.#outgoing?.once('close', this.leave)
    for (const signal of this.#signals) signal.addEventListener('abort', this.leave, { once: true })
    if (this.#outgoing?.destroyed || this.#signals.some(({ aborted }) => aborted)) this.leave()
  }

  get #signals(): AbortSignal[] {
    return [this.#request, this.#stopping].filter((signal) => signal !== undefined)
  }

  /** Aborted when the client has gone or the server stops. */
  get signal(): AbortSignal {
    return this.#gone.signal
  }

  /** Nobody takes any more of the answer. */
  readonly leave = (): void => this.#gone.abort()

  /** Nobody waits for it any more. */
  readonly end = (): void => {
    this.#outgoing?.removeListener('close', this.leave)
    for (const signal of this.#signals) signal.removeEventListener('abort', this.leave)
  }

  /**
   * Calls back once if the client goes before it has the whole answer; where another server gives the answer, if it has
   * gone by now.
   */
  onLoss(callback: () => Promise<void>): void {
    this.end()
    const outgoing = this.#outgoing
    const judge = () => {
      // Its leases run out in any case.
      if (this.#request?.aborted || outgoing?.writableFinished === false) void callback().catch(() => {})
    }
    if (outgoing === undefined || outgoing.destroyed) judge()
    else outgoing.once('close', judge)
  }
}
