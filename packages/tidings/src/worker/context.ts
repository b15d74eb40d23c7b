import { TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Transaction } from '../port/engine.ts'
import type { HandlerContext, HandlerTransaction } from './handler.ts'

/** A message of the call. */
interface Held {
  readonly message: { readonly readCount: number }
  readonly lost: boolean
  context: CallContext | null
}

/** One call of a handler. The AbortController is made when the handler asks for its signal: most do not. */
export class CallContext implements HandlerContext {
  readonly queue: string
  readonly attempt: number
  readonly maxAttempts: number
  readonly logger: Logger
  readonly #deliveries: readonly Held[]
  #controller: AbortController | undefined
  #aborted = false
  #tx: HandlerTransaction | undefined
  #reason: unknown

  constructor(queue: string, maxAttempts: number, logger: Logger, deliveries: readonly Held[]) {
    this.queue = queue
    this.attempt = deliveries[0]?.message.readCount ?? 0
    this.maxAttempts = maxAttempts
    this.logger = logger
    this.#deliveries = deliveries
    for (const delivery of deliveries) delivery.context = this
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#aborted) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  get tx(): HandlerTransaction {
    if (this.#tx) return this.#tx
    throw new TidingsError('UNSUPPORTED', 'context.tx is only there in a transactional worker', {
      hint: 'Start the worker with { transactional: true }.',
    })
  }

  // Static, so that handlers do not see these on their context.

  static begin(context: CallContext, transaction: Transaction): void {
    context.#tx = {
      query: <R>(text: string, values: readonly unknown[] = []) =>
        transaction.query(text, values) as Promise<{ rows: R[] }>,
    }
  }

  /** Rejects with the reason when the call is aborted; pending until then. */
  static untilAborted({ signal }: CallContext): Promise<never> {
    return new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  static abort(context: CallContext, reason: unknown): void {
    if (context.#aborted) return
    context.#aborted = true
    context.#reason = reason
    context.#controller?.abort(reason)
  }

  static abortIfAllLost(context: CallContext, reason: unknown): void {
    if (context.#deliveries.every((delivery) => delivery.lost)) CallContext.abort(context, reason)
  }

  static isAborted(context: CallContext): boolean {
    return context.#aborted
  }
}
