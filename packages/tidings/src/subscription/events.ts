import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import type { TopicMessage } from '../port/topic-store.ts'
import { type PublishedMessage, toPublished } from '../topics/message.ts'

interface OfSubscription {
  readonly topic: string
  readonly subscription: string
}

interface OfMessage<M> {
  readonly message: M
}

type Happening<M = TopicMessage> =
  /** This consumer is active, and reads after the cursor. `vanished`: how many consumers died at this position before. */
  | { readonly type: 'held'; readonly cursor: number; readonly vanished: number }
  /** Another consumer has the subscription; this one waits to take over. */
  | { readonly type: 'standingBy' }
  /** Another consumer may have the subscription now. */
  | { readonly type: 'holdLost' }
  /** The subscription was moved by `seek` or `rollBack`. */
  | { readonly type: 'moved' }
  /** `count` messages before this offset were removed before they were read. */
  | { readonly type: 'missed'; readonly count: number; readonly before: number }
  /** The handler is called with this message. */
  | (OfMessage<M> & { readonly type: 'started'; readonly attempt: number; readonly redelivered: boolean })
  | (OfMessage<M> & { readonly type: 'succeeded'; readonly durationMs: number })
  /** An attempt failed; `retryMs` is null after the last attempt. */
  | (OfMessage<M> & {
      readonly type: 'failed'
      readonly attempt: number
      readonly durationMs: number
      readonly error: unknown
      readonly retryMs: number | null
    })
  /** `id` is the message's id in the dead-letter queue. */
  | (OfMessage<M> & {
      readonly type: 'deadLettered'
      readonly error: unknown
      readonly queue: string
      readonly id: string
    })
  | (OfMessage<M> & { readonly type: 'snoozed'; readonly delayMs: number })
  /**
   * Nothing could run in this process for so long, while the message was in hand: what handles it computed without a pause,
   * or the process was stopped. Told once, afterwards.
   */
  | (OfMessage<M> & { readonly type: 'blocked'; readonly durationMs: number })
  /** The storage has recorded that the subscription read up to this offset. */
  | { readonly type: 'acked'; readonly offset: number }
  /** There is nothing to read; the consumer sleeps. */
  | { readonly type: 'idle' }
  /** Told once, at the first failure of the storage; the consumer tries again until `resumed`. */
  | { readonly type: 'interrupted'; readonly error: unknown }
  | { readonly type: 'resumed' }
  | { readonly type: 'drained' }
  /** `error` is the reason if the consumer stopped by itself; null if it was asked to stop. */
  | { readonly type: 'stopped'; readonly error: unknown }

/** An event of a subscription's consumer. Durations are in milliseconds. */
export type SubscriptionEvent = OfSubscription & Happening<PublishedMessage<unknown>>

export interface SubscriberCounts {
  started: number
  succeeded: number
  failed: number
  deadLettered: number
  holdLost: number
  /** How often nothing could run in this process for more than a second, while a message was in hand. */
  blocked: number
}

/** Keeps the counts, logs warnings and errors, and passes every event to the user's observer. */
export class Journal {
  readonly counts: SubscriberCounts = {
    started: 0,
    succeeded: 0,
    failed: 0,
    deadLettered: 0,
    holdLost: 0,
    blocked: 0,
  }
  readonly #of: OfSubscription
  readonly #logger: Logger
  readonly #observe: ((event: SubscriptionEvent) => void) | null

  constructor(of: OfSubscription, logger: Logger, observe: ((event: SubscriptionEvent) => void) | null) {
    this.#of = of
    this.#logger = logger
    this.#observe = observe
  }

  /** Never throws, even if the user's logger or observer does. */
  tell(happening: Happening): void {
    const { type } = happening
    if (Object.hasOwn(this.counts, type)) this.counts[type as keyof SubscriberCounts]++
    try {
      const line = logLine(happening)
      if (line) this.#logger[line.level]({ ...this.#of, ...line.details }, line.text)
      this.#observe?.(this.#shown(happening))
    } catch (error) {
      this.warn(error, `the observer or the logger threw at '${type}'`)
    }
  }

  /** A message is made when it is looked at. */
  #shown(happening: Happening): SubscriptionEvent {
    const event = { ...this.#of, ...happening }
    if (!('message' in happening)) return event as SubscriptionEvent
    let copy: PublishedMessage<unknown> | undefined
    const message = { enumerable: true, get: () => (copy ??= toPublished(this.#of.topic, happening.message)) }
    return Object.defineProperty(event, 'message', message) as object as SubscriptionEvent
  }

  /** Logs a problem that is no event, such as an unusable answer of the user's backoff function. */
  warn(error: unknown, text: string): void {
    try {
      this.#logger.warn({ ...this.#of, ...inShort(error) }, text)
    } catch {
      // The logger itself failed.
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
    case 'blocked': {
      const details = { durationMs: event.durationMs, offset: event.message.offset }
      return { level: 'warn', text: 'nothing could run in this process while a message was in hand', details }
    }
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

/** A thrown value may have any size and type. */
const inShort = (error: unknown) => ({ err: loggable(error) })
