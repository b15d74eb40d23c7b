/** What the HTTP API answers, in its own names. */

interface Pause {
  readonly since: string | null
  readonly until: string | null
  readonly reason: string | null
  readonly by: string | null
}

export interface QueueLimit {
  readonly per: 'queue' | 'group' | 'orderingKey'
  readonly concurrency?: number
  readonly rate?: { readonly count: number; readonly periodMs: number }
  readonly burst?: number
}

export interface QueueSettings {
  readonly limits?: readonly QueueLimit[]
  readonly weights?: Readonly<Record<string, number>>
  readonly pause?: Pause
}

export interface Queue {
  readonly queue_name: string
  readonly created_at: string
  readonly settings?: QueueSettings
  readonly unusable?: string
}

export interface QueueMetrics {
  readonly queue_name: string
  /** Only the first messages were looked at; what is behind them counts as ready. Left out: all were. */
  readonly is_estimate?: boolean
  readonly queue_length: number
  readonly total_messages: number
  readonly scrape_time: string
  readonly ready: number
  readonly held_back: number
  readonly delayed: number
  readonly leased: number
  readonly archived: number
  readonly oldest_ready_ms: number | null
  readonly next_due_ms: number | null
  readonly created_at: string
  readonly pause: Pause | null
}

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }
type Fields = { readonly [name: string]: Json }

export interface Message {
  readonly id: string
  readonly read_ct: number
  readonly enqueued_at: string
  readonly first_read_at: string | null
  readonly last_read_at: string | null
  readonly archived_at: string | null
  readonly vt: string
  readonly data: string
  readonly headers: Fields | null
  readonly meta: Fields
  readonly priority: number
  readonly ordering_key: string | null
  readonly group: string | null
}

export type MessageState = 'ready' | 'leased' | 'delayed' | 'archived'

export interface MessagePage {
  readonly messages: readonly Message[]
  readonly more: boolean
}

export interface Process {
  readonly id: string
  readonly host: string
  readonly pid: number
  readonly version: string
  readonly since: string
  /** Null: the storage does not know. */
  readonly queues: readonly string[] | null
  /** Null: it has none. */
  readonly token: string | null
}

export interface Finding {
  readonly level: 'ok' | 'warning' | 'problem'
  readonly check: string
  readonly message: string
  readonly remedy: string
}

export interface Schedule {
  readonly name: string
  readonly revision: string
  readonly enabled: boolean
  readonly declared_enabled: boolean
  readonly next_run_at: string | null
  readonly last_run_at: string | null
  readonly runs: number
  readonly cron: string | null
  readonly every_ms: number | null
  readonly at: string | null
  readonly timezone: string
  readonly queue: string | null
  readonly topic: string | null
  readonly routing_key: string | null
  readonly missed: string
  readonly overlap: string
  readonly owner: string | null
  readonly sends: { readonly data: string }
}

export interface Topic {
  readonly topic: string
  readonly description: string
  readonly retention: {
    readonly max_age_ms: number | null
    readonly max_bytes: number | null
    readonly when_read: boolean
  }
  readonly created_at: string
  readonly first_offset: number
  readonly last_offset: number
  readonly bytes: number
  readonly subscriptions: number
  readonly patterns: readonly string[]
  readonly queues: readonly string[]
}

export interface TopicMessage {
  readonly offset: number
  readonly published_at: string
  readonly data: string
  readonly meta: Fields
  readonly headers: Fields
}

export interface Subscription {
  readonly subscription: string
  readonly cursor: number
  readonly lag: number
  readonly missed: number
  readonly moved_at: string | null
  readonly consumer: string | null
}

export interface Binding {
  readonly pattern: string
  readonly queue: string
  readonly bound_at: string
}

export interface CorrelationQueue {
  readonly queue: string
  readonly pending: number
  readonly running: number
  readonly done: number
  readonly dead: number
  readonly cancelled: number
}

export interface Correlation {
  readonly started_at: string
  readonly completed_at: string | null
  readonly failed_at: string | null
  readonly done_at: string | null
  readonly queues: readonly CorrelationQueue[]
}

export interface Session {
  readonly who: string | null
  readonly readOnly: boolean
  readonly needsToken: boolean
  readonly version: string
  /** Not told to who has yet to sign in. */
  readonly storage?: { readonly engine: string }
  readonly timezone?: string
  /** What the caller may do; left out where the server does not tell. */
  readonly scopes?: readonly string[]
}

export interface HistoryPoint {
  readonly at: string
  readonly ready: number | null
  readonly leased: number | null
  readonly delayed: number | null
  readonly oldest_ready_ms: number | null
  readonly sent: number
  readonly done: number
  readonly failed: number
  readonly dead: number
}

export interface LatencyBucket {
  /** Null: no bound. */
  readonly up_to_ms: number | null
  readonly count: number
}

export interface History {
  readonly step_minutes: number
  readonly points: readonly HistoryPoint[]
  readonly latency: readonly LatencyBucket[]
}

/** A thing that happened to a message, or is to come. */
export interface MessageEvent {
  readonly at: string
  readonly kind: 'sent' | 'replayed' | 'read' | 'archived' | 'deadLettered' | 'waiting' | 'leased'
  readonly queue: string
  readonly id: string
  readonly state: MessageState
  readonly attempts: number
  readonly error: string | null
  readonly from: { readonly queue: string; readonly id: string } | null
}

export interface PlacedMessage extends Message {
  readonly state: MessageState
  readonly timeline: readonly MessageEvent[]
}

export interface LetterGroup {
  /** With '#' for what differs. */
  readonly error: string
  readonly count: number
  readonly first_at: string | null
  readonly last_at: string | null
  readonly example_id: string
}

export interface Overview {
  readonly queues: readonly QueueOverview[]
  readonly totals: {
    readonly queues: number
    readonly counted: number
    readonly problems: number
    readonly ready: number
    readonly delayed: number
    readonly leased: number
  }
  readonly after: number | null
}

export interface QueueOverview {
  readonly queue_name: string
  /** Null: not counted yet. */
  readonly metrics: QueueMetrics | null
  readonly dead: number | null
  readonly problems: readonly ('dead_letters' | 'waiting' | 'held_back' | 'paused')[]
}
