import type { Duration } from '../core/duration.ts'
import type { Logger } from '../core/logger.ts'
import type { Message } from '../messages/message.ts'
import type { HoldBackOptions, Outcome } from './outcome.ts'

/** The second argument of a batch handler. */
export interface BatchContext {
  readonly queue: string
  readonly maxAttempts: number
  /**
   * Aborted when the handler's result no longer counts: the leases of all its messages were lost (LEASE_LOST), or the
   * worker's deadline for stopping is over (STOPPED).
   */
  readonly signal: AbortSignal
  readonly logger: Logger
  /**
   * To be returned where an upstream asks for a pause, as with status 429: gives the message back without counting an
   * attempt, and for this time no process is given a message of the queue, or of the group of the message. A message without
   * a group holds back only itself then. What others have in hand goes on.
   * @throws DURATION, DELAY_RANGE; UNSUPPORTED where the storage has no limits
   * @example hires.work((_, context) => context.holdBack('30s', { group: true }))
   */
  holdBack(delay: Duration, options?: HoldBackOptions): Outcome
  /**
   * The handler's transaction, for its own statements and as `{ tx }` for its sends. It commits when the messages are
   * settled. Only with `transactional: true`; UNSUPPORTED otherwise.
   */
  readonly tx: HandlerTransaction
}

/** A transaction on one of the storage's connections. One statement runs at a time. */
export interface HandlerTransaction {
  query<R = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<{ rows: R[] }>
}

/** The second argument of a handler. */
export interface HandlerContext extends BatchContext {
  /** 1 for the first. */
  readonly attempt: number
}

/**
 * Handles one message. When it returns, the message is done, unless it returns an outcome: `retry()`, `snooze()`,
 * `deadLetter()`, `done()` or `archive()`. When it throws, the message is tried again after the backoff, and
 * dead-lettered with the error at `maxAttempts`. A settlement by the handler itself (`message.delete()`) stands.
 *
 * With `transactional: true` it runs in a transaction, `context.tx`, that commits when the message is done, and only
 * then: an error, `retry()`, `snooze()` and `deadLetter()` roll back its writes and sends.
 */
export type Handler<T> = (message: Message<T>, context: HandlerContext) => unknown

/**
 * Handles several messages at once. When it returns, all are done, unless it returns an array with one entry for each
 * message, where an outcome decides. When it throws, all are tried again.
 *
 * With `transactional: true` there is one transaction for the call. It commits if all messages are done; otherwise the
 * messages that were done come back too, without a counted attempt.
 */
export type BatchHandler<T> = (messages: Message<T>[], context: BatchContext) => unknown
