import type { Logger } from '../core/logger.ts'
import { describeError } from '../core/message-error.ts'
import type { TopicMessage } from '../port/topic-store.ts'

interface OfSubscription {
  readonly topic: string
  readonly subscription: string
}

interface OfMessage {
  readonly message: TopicMessage
}

type Happening =
  /** This consumer is the one that is active, from after the cursor on. So many went away without leaving there before. */
  | { readonly type: 'held'; readonly cursor: number; readonly vanished: number }
  /** Another consumer has the subscription; this one waits to take over. */
  | { readonly type: 'standingBy' }
  /** Another consumer may have the subscription now. */
  | { readonly type: 'holdLost' }
  /** The subscription was moved by `seek` or `rollBack`. */
  | { readonly type: 'moved' }
  /** So many messages before this offset were removed before they were read. */
  | { readonly type: 'missed'; readonly count: number; readonly before: number }
  /** The handler is called with this message. */
  | (OfMessage & { readonly type: 'started'; readonly attempt: number; readonly redelivered: boolean })
  | (OfMessage & { readonly type: 'succeeded'; readonly durationMs: number })
  /** An attempt failed; `retryMs` is null where there is no other. */
  | (OfMessage & {
      readonly type: 'failed'
      readonly attempt: number
      readonly durationMs: number
      readonly error: unknown
      readonly retryMs: number | null
    })
  /** `id` is that of the message in the dead-letter queue. */
  | (OfMessage & {
      readonly type: 'deadLettered'
      readonly error: unknown
      readonly queue: string
      readonly id: string
    })
  | (OfMessage & { readonly type: 'snoozed'; readonly delayMs: number })
  /** The subscription has read up to this offset, and the storage knows. */
  | { readonly type: 'acked'; readonly offset: number }
  /** There is nothing to read; the consumer sleeps. */
  | { readonly type: 'idle' }
  /** Told once, at the first failure of the storage; the consumer tries again until `resumed`. */
  | { readonly type: 'interrupted'; readonly error: unknown }
  | { readonly type: 'resumed' }
  | { readonly type: 'drained' }
  /** `error` is what it stopped for by itself; null where it was asked to. */
  | { readonly type: 'stopped'; readonly error: unknown }

/** What happens in a consumer of a subscription. Durations are in milliseconds. */
export type SubscriptionEvent = OfSubscription & Happening

export interface SubscriberCounts {
  started: number
  succeeded: number
  failed: number
  deadLettered: number
  holdLost: number
}

/** Keeps the counts, logs what people should know of and passes everything on to the user's observer. */
export class Journal {
  readonly counts: SubscriberCounts = { started: 0, succeeded: 0, failed: 0, deadLettered: 0, holdLost: 0 }
  readonly #of: OfSubscription
  readonly #logger: Logger
  readonly #observe: ((event: SubscriptionEvent) => void) | null

  constructor(of: OfSubscription, logger: Logger, observe: ((event: SubscriptionEvent) => void) | null) {
    this.#of = of
    this.#logger = logger
    this.#observe = observe
  }

  /** Never throws, whatever the user's logger and observer do. */
  tell(happening: Happening): void {
    const { type } = happening
    if (Object.hasOwn(this.counts, type)) this.counts[type as keyof SubscriberCounts]++
    try {
      const line = logLine(happening)
      if (line) this.#logger[line.level]({ ...this.#of, ...line.details }, line.text)
      this.#observe?.({ ...this.#of, ...happening })
    } catch (error) {
      this.warn(error, `the observer or the logger threw at '${type}'`)
    }
  }

  /** For what is wrong but no event: an unusable answer of the user's backoff function. */
  warn(error: unknown, text: string): void {
    try {
      this.#logger.warn({ ...this.#of, ...inShort(error) }, text)
    } catch {
      // There is nobody left to tell.
    }
  }
}

interface LogLine {
  readonly level: keyof Logger
  readonly text: string
  readonly details?: object
}

function logLine(event: Happening): LogLine | null {
  switch (event.type) {
    case 'held': {
      const { cursor, vanished } = event
      if (vanished === 0) return null
      return { level: 'warn', text: 'the consumer before went away without leaving', details: { cursor, vanished } }
    }
    case 'holdLost':
      return { level: 'warn', text: 'the hold of the subscription was lost' }
    case 'missed': {
      const { count, before } = event
      return { level: 'warn', text: 'messages were removed before they were read', details: { count, before } }
    }
    case 'failed': {
      const next = event.retryMs === null ? 'it was the last attempt' : `again in ${event.retryMs} ms`
      return { level: 'warn', text: `a message failed; ${next}`, details: { ...about(event), attempt: event.attempt } }
    }
    case 'deadLettered':
      return { level: 'error', text: 'a message was dead-lettered', details: { ...about(event), queue: event.queue } }
    case 'interrupted':
      return { level: 'error', text: 'the storage fails; trying again', details: inShort(event.error) }
    case 'resumed':
      return { level: 'info', text: 'the storage works again' }
    case 'stopped':
      return event.error === null ? null : { level: 'error', text: 'stopped by itself', details: inShort(event.error) }
    default:
      return null
  }
}

const about = ({ message, error }: { message: TopicMessage; error: unknown }) => ({
  offset: message.offset,
  ...inShort(error),
})

/** What was thrown may be of any size and kind. */
const inShort = (error: unknown) => ({ error: describeError(error).message })
