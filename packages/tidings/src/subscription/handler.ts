import type { Logger } from '../core/logger.ts'
import type { ReceivedMessage } from '../topics/message.ts'

/** The second argument of a handler. */
export interface SubscriptionContext {
  readonly topic: string
  readonly subscription: string
  /** 1 for the first. Consumers that died while this message was the next count, too. */
  readonly attempt: number
  readonly maxAttempts: number
  /**
   * Aborted when the handler's result no longer counts: another consumer may have the subscription (LEASE_LOST), or the
   * deadline for stopping is over (STOPPED).
   */
  readonly signal: AbortSignal
  readonly logger: Logger
}

/**
 * Handles one message; the next one comes when this one is done. When it returns, the message is done, unless it returns
 * an outcome: `retry()`, `snooze()` or `deadLetter()`. When it throws, it is called again after the backoff, and the
 * message is dead-lettered with the error at `maxAttempts`; everything behind it waits.
 */
export type SubscriptionHandler<T> = (message: ReceivedMessage<T>, context: SubscriptionContext) => unknown
