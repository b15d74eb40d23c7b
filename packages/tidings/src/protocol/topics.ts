import type { JsonObject } from '../core/json.ts'
import type { Hold, Position, SubscriptionState, TopicInfo, TopicMessage, TopicSettings } from '../port/topic-store.ts'

/** Topics in the names of the wire: see wire.ts. */

const isoTime = (time: number) => new Date(time).toISOString()

export interface WireTopicMessage {
  readonly offset: number
  readonly published_at: string
  readonly meta: JsonObject
  readonly headers: JsonObject
  readonly message?: unknown
  /** JSON text, in place of `message`. */
  readonly data?: string
}

/** One message as JSON text: the data go into it as they are stored. */
export function topicMessageText({ offset, publishedAt, meta, headers, data }: TopicMessage, exact: boolean): string {
  const fields = { offset, published_at: isoTime(publishedAt), meta, headers }
  if (exact) return JSON.stringify({ ...fields, data })
  return `${JSON.stringify(fields).slice(0, -1)},"message":${data}}`
}

export const fromWireTopicMessage = (one: WireTopicMessage): TopicMessage => ({
  offset: one.offset,
  data: one.data ?? JSON.stringify(one.message),
  meta: one.meta,
  headers: one.headers,
  publishedAt: Date.parse(one.published_at),
})

export interface WireTopic {
  readonly topic: string
  readonly description: string
  readonly retention: WireRetention
  readonly created_at: string
  readonly first_offset: number
  readonly last_offset: number
  readonly bytes: number
  readonly subscriptions: number
  readonly patterns: readonly string[]
  readonly queues: readonly string[]
}

export interface WireRetention {
  readonly max_age_ms: number | null
  readonly max_bytes: number | null
  readonly when_read: boolean
}

export const toWireTopic = (info: TopicInfo): WireTopic => ({
  topic: info.topic,
  description: info.description,
  retention: toWireRetention(info.retention),
  created_at: isoTime(info.createdAt),
  first_offset: info.firstOffset,
  last_offset: info.lastOffset,
  bytes: info.bytes,
  subscriptions: info.subscriptions,
  patterns: info.patterns,
  queues: info.queues,
})

export const fromWireTopic = (one: WireTopic): TopicInfo => ({
  topic: one.topic,
  description: one.description,
  retention: fromWireRetention(one.retention),
  createdAt: Date.parse(one.created_at),
  firstOffset: one.first_offset,
  lastOffset: one.last_offset,
  bytes: one.bytes,
  subscriptions: one.subscriptions,
  patterns: one.patterns,
  queues: one.queues,
})

export const toWireSettings = ({ description, retention }: TopicSettings): object => ({
  ...(description === undefined ? {} : { description }),
  ...(retention === undefined ? {} : { retention: toWireRetention(retention) }),
})

export const fromWireSettings = (one: {
  readonly description: string | null
  readonly retention: WireRetention | null
}): TopicSettings => ({
  ...(one.description === null ? {} : { description: one.description }),
  ...(one.retention === null ? {} : { retention: fromWireRetention(one.retention) }),
})

const toWireRetention = ({ maxAgeMs, maxBytes, whenRead }: TopicInfo['retention']): WireRetention => ({
  max_age_ms: maxAgeMs,
  max_bytes: maxBytes,
  when_read: whenRead,
})

const fromWireRetention = (one: WireRetention): TopicInfo['retention'] => ({
  maxAgeMs: one.max_age_ms,
  maxBytes: one.max_bytes,
  whenRead: one.when_read,
})

/** A time travels as a text. */
export type WirePosition =
  | 'earliest'
  | 'latest'
  | { readonly offset: number }
  | { readonly time: string }
  | { readonly back: number }

export const toWirePosition = (position: Position): WirePosition =>
  typeof position === 'object' && 'time' in position ? { time: isoTime(position.time) } : position

export interface WireSubscription {
  readonly subscription: string
  readonly cursor: number
  readonly lag: number
  readonly missed: number
  readonly created_at: string
  readonly moved_at: string | null
  readonly consumer: string | null
}

export const toWireSubscription = (state: SubscriptionState): WireSubscription => ({
  subscription: state.subscription,
  cursor: state.cursor,
  lag: state.lag,
  missed: state.missed,
  created_at: isoTime(state.createdAt),
  moved_at: state.movedAt === null ? null : isoTime(state.movedAt),
  consumer: state.consumer,
})

export const fromWireSubscription = (one: WireSubscription): SubscriptionState => ({
  subscription: one.subscription,
  cursor: one.cursor,
  lag: one.lag,
  missed: one.missed,
  createdAt: Date.parse(one.created_at),
  movedAt: one.moved_at === null ? null : Date.parse(one.moved_at),
  consumer: one.consumer,
})

export type WireHold =
  | { readonly held: true; readonly receipt: string; readonly cursor: number; readonly vanished: number }
  | { readonly held: false; readonly retry_ms: number }

export const toWireHold = (hold: Hold): WireHold => (hold.held ? hold : { held: false, retry_ms: hold.retryMs })
export const fromWireHold = (one: WireHold): Hold => (one.held ? one : { held: false, retryMs: one.retry_ms })
