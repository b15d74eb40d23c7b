import { standFor } from '../adapters/recognise.ts'
import type { Duration } from '../core/duration.ts'
import { TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { QueueAccess } from '../messages/access.ts'
import { attemptOf } from '../messages/lease.ts'
import type { Engine, StoredMessage, Transaction } from '../port/engine.ts'
import { noLimits } from '../port/refusals.ts'
import type { HandlerContext, HandlerTransaction } from './handler.ts'
import { LateAbort } from './late-abort.ts'
import { type HoldBackOptions, holdBack, type Outcome } from './outcome.ts'

/** A message of the call. */
interface Held {
  readonly message: StoredMessage
  readonly lost: boolean
  readonly cancelled: boolean
  context: CallContext | null
}

/** One call of a handler. */
export class CallContext implements HandlerContext {
  readonly queue: string
  readonly attempt: number
  readonly maxAttempts: number
  readonly logger: Logger
  readonly #engine: Engine
  readonly #deliveries: readonly Held[]
  readonly #abort = new LateAbort()
  #tx: HandlerTransaction | undefined

  constructor({ name, engine, logger }: QueueAccess<unknown>, maxAttempts: number, deliveries: readonly Held[]) {
    this.queue = name
    this.#engine = engine
    this.attempt = deliveries[0] === undefined ? 0 : attemptOf(deliveries[0].message)
    this.maxAttempts = maxAttempts
    this.logger = logger
    this.#deliveries = deliveries
    for (const delivery of deliveries) delivery.context = this
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  holdBack(delay: Duration, options?: HoldBackOptions): Outcome {
    if (!this.#engine.supports.has('limits')) throw noLimits(this.#engine.name, 'holdBack')
    return holdBack(delay, options)
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
    standFor(context.#tx, transaction)
  }

  /** Rejects with the reason when the call is aborted; pending until then. */
  static untilAborted({ signal }: CallContext): Promise<never> {
    return new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason)
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  static abort(context: CallContext, reason: unknown): void {
    context.#abort.abort(reason)
  }

  /** Where no message of the call is worth going on. */
  static abortIfAllLost(context: CallContext, reason: unknown): void {
    if (context.#deliveries.every(({ lost, cancelled }) => lost || cancelled)) CallContext.abort(context, reason)
  }

  static isAborted(context: CallContext): boolean {
    return context.#abort.aborted
  }
}
