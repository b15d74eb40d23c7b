import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import type { QueueAccess } from '../messages/access.ts'
import type { ExpiredPolicy } from '../messages/expiry.ts'
import { attemptOf } from '../messages/lease.ts'
import { StoredCopy } from '../messages/message.ts'
import type { StoredMessage } from '../port/engine.ts'

interface OfQueue {
  readonly queue: string
}

interface OfMessage<M> extends OfQueue {
  readonly message: M
}

/**
 * An event of a worker. Events about the end of a message come after the storage has its settlement.
 * Durations are in milliseconds.
 */
export type WorkerEvent<M = StoredCopy<unknown>> =
  /** Messages were taken from the queue. */
  | (OfQueue & { readonly type: 'claimed'; readonly count: number })
  /** The handler is called with this message. */
  | (OfMessage<M> & { readonly type: 'started' })
  | (OfMessage<M> & { readonly type: 'succeeded'; readonly durationMs: number })
  /** An attempt failed; `retryMs` is null after the last attempt. */
  | (OfMessage<M> & {
      readonly type: 'failed'
      readonly durationMs: number
      readonly error: unknown
      readonly retryMs: number | null
    })
  | (OfMessage<M> & { readonly type: 'deadLettered'; readonly error: unknown })
  /** The message's time to live was over, so no handler was called. `deadLettered` follows for a dead letter. */
  | (OfMessage<M> & { readonly type: 'expired'; readonly policy: ExpiredPolicy })
  | (OfMessage<M> & { readonly type: 'snoozed'; readonly delayMs: number })
  /** Somebody cancelled the message, and its handler did not succeed; it is in the archive. */
  | (OfMessage<M> & { readonly type: 'cancelled' })
  /** Another reader may have the message now; its outcome here does not count. */
  | (OfMessage<M> & { readonly type: 'leaseLost' })
  /**
   * The answer to a settlement was lost, and since then another reader may have had the message: it was settled, or it is
   * delivered again.
   */
  | (OfMessage<M> & { readonly type: 'outcomeUnknown' })
  /**
   * Nothing could run in this process for so long, while these messages were in handlers: a handler computed without a
   * pause, or the process was stopped. Told once, afterwards.
   */
  | (OfQueue & { readonly type: 'blocked'; readonly messages: readonly M[]; readonly durationMs: number })
  /** Told once, at the first failure; the worker tries again unless `final`. */
  | (OfMessage<M> & { readonly type: 'settleFailed'; readonly error: unknown; readonly final: boolean })
  /** Messages read ahead were given back. */
  | (OfQueue & { readonly type: 'returned'; readonly count: number })
  /** Strict order: nothing else is handled until these messages are tried again. */
  | (OfQueue & { readonly type: 'paused'; readonly ids: readonly string[]; readonly delayMs: number })
  /** The queue has no ready message; the worker sleeps. */
  | (OfQueue & { readonly type: 'idle' })
  /** Told once, at the first failure; the worker tries again until `fetchResumed`. */
  | (OfQueue & { readonly type: 'fetchFailed'; readonly error: unknown })
  | (OfQueue & { readonly type: 'fetchResumed' })
  | (OfQueue & { readonly type: 'drained' })
  | (OfQueue & { readonly type: 'stopped' })

/** The same with messages as they are stored. */
export type WorkerHappening = WorkerEvent<StoredMessage>

export interface Counts {
  started: number
  succeeded: number
  failed: number
  deadLettered: number
  /** Messages whose time to live was over; those that became dead letters count there too. */
  expired: number
  /** Messages that were cancelled, and archived. */
  cancelled: number
  leaseLost: number
  /** Messages of which it is not known whether they were settled. */
  outcomeUnknown: number
  /** How often nothing could run in this process for more than a second, while messages were in handlers. */
  blocked: number
}

export interface WorkerStats extends Counts {
  /** Messages in handlers now. */
  readonly running: number
  /** Messages read ahead. */
  readonly buffered: number
}

/** Keeps the counts, logs warnings and errors, and passes every event to the user's observer. */
export class Journal {
  readonly counts: Counts = {
    started: 0,
    succeeded: 0,
    failed: 0,
    deadLettered: 0,
    expired: 0,
    cancelled: 0,
    leaseLost: 0,
    outcomeUnknown: 0,
    blocked: 0,
  }
  readonly #logger: Logger
  readonly #observe: ((event: WorkerEvent) => void) | null
  readonly #show: (stored: StoredMessage) => unknown

  constructor(
    { logger, show }: Pick<QueueAccess<unknown>, 'logger' | 'show'>,
    observe: ((event: WorkerEvent) => void) | null,
  ) {
    this.#logger = logger
    this.#show = show
    this.#observe = observe
  }

  /** Never throws, even if the user's logger or observer does. */
  tell(event: WorkerHappening): void {
    this.#count(event)
    try {
      this.#log(event)
      this.#observe?.(this.#shown(event))
    } catch (error) {
      this.warn(event.queue, error, `the observer or the logger threw at '${event.type}'`)
    }
  }

  /** Logs a problem that is no event, such as an unusable answer of the user's backoff function. */
  warn(queue: string, error: unknown, message: string): void {
    try {
      this.#logger.warn({ queue, ...inShort(error) }, message)
    } catch {
      // The logger itself failed.
    }
  }

  /** Messages are made when they are looked at. */
  #shown(event: WorkerHappening): WorkerEvent {
    const toCopy = (stored: StoredMessage) => new StoredCopy(event.queue, stored, this.#show(stored))
    if ('messages' in event) return { ...event, messages: event.messages.map(toCopy) }
    if (!('message' in event)) return event
    let copy: StoredCopy<unknown> | undefined
    const message = { enumerable: true, get: () => (copy ??= toCopy(event.message)) }
    return Object.defineProperty({ ...event }, 'message', message) as object as WorkerEvent
  }

  #count({ type }: WorkerHappening): void {
    if (Object.hasOwn(this.counts, type)) this.counts[type as keyof Counts]++
  }

  #log(event: WorkerHappening): void {
    const line = logLine(event)
    if (line) this.#logger[line.level]({ queue: event.queue, ...line.details }, line.text)
  }
}

interface LogLine {
  readonly level: keyof Logger
  readonly text: string
  readonly details?: object
}

function logLine(event: WorkerHappening): LogLine | null {
  switch (event.type) {
    case 'failed': {
      const next = event.retryMs === null ? 'it was the last attempt' : `again in ${event.retryMs} ms`
      const details = { ...about(event), attempt: attemptOf(event.message) }
      return { level: 'warn', text: `a message failed; ${next}`, details }
    }
    case 'deadLettered':
      return { level: 'error', text: 'a message was dead-lettered', details: about(event) }
    case 'expired': {
      const { policy, message } = event
      const details = { id: message.id, ttlMs: message.meta.ttl_ms }
      return policy === 'drop' ? { level: 'info', text: 'a message expired and was dropped', details } : null
    }
    case 'cancelled':
      return { level: 'info', text: 'a message was cancelled', details: { id: event.message.id } }
    case 'leaseLost':
      return { level: 'warn', text: 'the lease of a message was lost', details: { id: event.message.id } }
    case 'outcomeUnknown':
      return { level: 'warn', text: 'it is not known whether a message was settled', details: { id: event.message.id } }
    case 'blocked': {
      const { messages, durationMs } = event
      const details = { durationMs, ids: messages.slice(0, 10).map(({ id }) => id), messages: messages.length }
      return { level: 'warn', text: 'nothing could run in this process while messages were in handlers', details }
    }
    case 'settleFailed': {
      const next = event.final ? 'it will be delivered again' : 'trying again'
      return { level: 'warn', text: `a message could not be settled; ${next}`, details: about(event) }
    }
    case 'fetchFailed':
      return { level: 'error', text: 'cannot read from the queue; trying again', details: inShort(event.error) }
    case 'fetchResumed':
      return { level: 'info', text: 'reading from the queue again' }
    default:
      return null
  }
}

const about = ({ message, error }: { message: StoredMessage; error: unknown }) => ({
  id: message.id,
  ...inShort(error),
})

/** A thrown value may have any size and type. */
const inShort = (error: unknown) => ({ err: loggable(error) })
