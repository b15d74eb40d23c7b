import type { Message } from '../message.ts'
import type { Logger } from '../queue-access.ts'

/** What a batch handler gets beside its messages. */
export interface BatchContext {
  readonly queue: string
  readonly maxAttempts: number
  /**
   * Aborted when nothing that the handler still does will count: the leases of all its messages were lost
   * (LEASE_LOST), or the worker's deadline for stopping is over (STOPPED).
   */
  readonly signal: AbortSignal
  readonly logger: Logger
}

/** What a handler gets beside its message. */
export interface HandlerContext extends BatchContext {
  /** 1 for the first. */
  readonly attempt: number
}

/**
 * Handles one message. When it returns, the message is done, unless it returns an outcome: `retry()`, `snooze()`,
 * `deadLetter()`, `done()` or `archive()`. When it throws, the message is tried again after the backoff, and
 * dead-lettered with the error at `maxAttempts`. What it does to the message itself (`message.delete()`) stands.
 */
export type Handler<T> = (message: Message<T>, context: HandlerContext) => unknown

/**
 * Handles several messages at once. When it returns, all are done, unless it returns an array with one entry for each
 * message, where an outcome decides. When it throws, all are tried again.
 */
export type BatchHandler<T> = (messages: Message<T>[], context: BatchContext) => unknown
