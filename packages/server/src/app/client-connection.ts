import { systemClock, type Timer } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import { clientLeft } from '../http/holders.ts'
import type { Access } from '../http/route.ts'
import type { AppContext } from './context.ts'

/** Whether the client of a request is still there, and may be answered. */
export class ClientConnection {
  readonly #gone = new AbortController()
  readonly #outgoing: AppContext['env']['outgoing'] | undefined
  /** Tells of the client where it is another server that holds the connection. */
  readonly #request: AbortSignal | undefined
  readonly #stopping: AbortSignal | undefined
  readonly #withdrawn: AbortSignal | null
  readonly #expiry: Timer | undefined
  #refusal: TidingsError | null = null

  constructor(context: AppContext, { expires, withdrawn }: Access, stopping: AbortSignal | undefined) {
    this.#outgoing = context.env?.outgoing
    this.#request = this.#outgoing === undefined ? context.req.raw.signal : undefined
    this.#stopping = stopping
    this.#outgoing?.once('close', this.leave)
    this.#request?.addEventListener('abort', this.leave, { once: true })
    stopping?.addEventListener('abort', this.#stop, { once: true })
    this.#withdrawn = withdrawn
    withdrawn?.addEventListener('abort', this.#refuse, { once: true })
    if (withdrawn?.aborted) this.#refuse()
    if (Number.isFinite(expires)) this.#expiry = systemClock.after(expires - systemClock.now(), this.#refuse)
    if (stopping?.aborted) this.#stop()
    if (this.#outgoing?.destroyed || this.#request?.aborted) this.leave()
  }

  /** Aborted when the client has gone, with the reason `clientLeft`, may not go on, or the server stops. */
  get signal(): AbortSignal {
    return this.#gone.signal
  }

  /** Why the caller may not go on; null if he may. */
  get refusal(): TidingsError | null {
    return this.#refusal
  }

  readonly #refuse = (): void => {
    this.#refusal = new TidingsError('UNAUTHORIZED', 'the token has expired or was withdrawn')
    this.#gone.abort(this.#refusal)
  }

  readonly #stop = (): void => this.#gone.abort()

  /** Nobody takes any more of the answer. */
  readonly leave = (): void => this.#gone.abort(clientLeft)

  /** Nobody waits for it any more. */
  readonly end = (): void => {
    this.#outgoing?.removeListener('close', this.leave)
    this.#withdrawn?.removeEventListener('abort', this.#refuse)
    this.#expiry?.cancel()
    this.#request?.removeEventListener('abort', this.leave)
    this.#stopping?.removeEventListener('abort', this.#stop)
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
