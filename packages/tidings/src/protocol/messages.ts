import { type ErrorCode, errorTable, TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type {
  Binding,
  CorrelationState,
  Feature,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  Settlement,
  SettleResult,
  StoredMessage,
  Tracked,
} from '../port/engine.ts'
import type { Interest } from '../port/listening.ts'
import type { Pause, QueueFigures } from '../port/pause.ts'
import type { ProcessDescription, ProcessInfo } from '../port/processes.ts'
import type { Dedup, NewMessage } from '../port/types.ts'

/**
 * What travels between the HTTP server and the http engine, in the names of the wire (snake_case, times as ISO 8601
 * texts, durations in milliseconds). A message has the fields of PGMQ's HTTP server, and ours beside them.
 */

/** With this header, data travels as JSON text in `data`, and meta and headers as they are. */
/** What a client says of its process, as a word, with the request that names it. */
export const processHeader = 'Tidings-Process'

export const exactHeader = { name: 'Tidings-Data', value: 'text' } as const

export interface WireMessage {
  /** A number where it can be one exactly. */
  readonly msg_id: number | string
  readonly id: string
  readonly read_ct: number
  readonly enqueued_at: string
  readonly first_read_at: string | null
  readonly last_read_at: string | null
  readonly archived_at: string | null
  /** When the message can be read, or read again. */
  readonly vt: string
  readonly headers: JsonObject | null
  readonly meta: JsonObject
  readonly priority: number
  readonly ordering_key: string | null
  /** Left out by a server of an older version. */
  readonly group?: string | null
  readonly receipt: string | null
  /** The data… */
  readonly message?: unknown
  /** …or their JSON text. */
  readonly data?: string
}

const isoTime = (time: number) => new Date(time).toISOString()
const isoTimeOrNull = (time: number | null) => (time === null ? null : isoTime(time))
const timeOrNull = (text: string | null) => (text === null ? null : Date.parse(text))

/** The largest body of a request, unless the server is set up otherwise. */
export const defaultMaxBodyBytes = 4_194_304

/** @throws BODY_TOO_LARGE, on both sides, so that a client sends nothing that is refused */
export function checkBodySize(size: number, maxBytes: number, shown = `${size}`): void {
  if (size <= maxBytes) return
  throw new TidingsError('BODY_TOO_LARGE', `the body is ${shown} bytes; at most ${maxBytes}`, {
    details: { maxBytes },
    hint: 'Split the batch, or store the large part elsewhere and send a reference to it.',
  })
}

/** What a server says of itself. */
export interface WireServer {
  readonly supports: readonly Feature[]
  /** Left out by a server of an older version. */
  readonly max_body_bytes?: number
  /** Whether it knows of holders; left out by a server of an older version. */
  readonly holders?: boolean
}

/** How many channels of events one stream may bring. */
export const maxChannels = 100

/** An id as PGMQ's clients know it. */
export function toNumericId(id: string): number | string {
  const number = Number(id)
  return Number.isSafeInteger(number) && String(number) === id ? number : id
}

/** One message as JSON text: the data go into it as they are stored, so that no integer is rounded. */
export function messageText(message: StoredMessage, exact: boolean): string {
  const fields: WireMessage = {
    msg_id: toNumericId(message.id),
    id: message.id,
    read_ct: message.readCount,
    enqueued_at: isoTime(message.sentAt),
    first_read_at: isoTimeOrNull(message.firstReadAt),
    last_read_at: isoTimeOrNull(message.lastReadAt),
    archived_at: isoTimeOrNull(message.archivedAt),
    vt: isoTime(message.visibleAt),
    headers: Object.keys(message.headers).length > 0 ? message.headers : null,
    meta: message.meta,
    priority: message.priority,
    ordering_key: message.orderingKey,
    group: message.group,
    receipt: message.receipt,
    ...(exact ? { data: message.data } : {}),
  }
  return exact ? JSON.stringify(fields) : withData(fields, message.data)
}

/** The fields as a JSON object, with the data as one more of them. */
const withData = (fields: object, data: string) => `${JSON.stringify(fields).slice(0, -1)},"message":${data}}`

export function fromWireMessage(message: WireMessage): StoredMessage {
  return {
    id: message.id,
    data: message.data ?? JSON.stringify(message.message),
    meta: message.meta,
    headers: message.headers ?? {},
    priority: message.priority,
    orderingKey: message.ordering_key,
    group: message.group ?? null,
    sentAt: Date.parse(message.enqueued_at),
    visibleAt: Date.parse(message.vt),
    readCount: message.read_ct,
    firstReadAt: timeOrNull(message.first_read_at),
    lastReadAt: timeOrNull(message.last_read_at),
    archivedAt: timeOrNull(message.archived_at),
    receipt: message.receipt,
  }
}

const toWireTracked = ({ correlationId, completionQueue, milestones }: Tracked) => ({
  correlation_id: correlationId,
  completion_queue: completionQueue,
  ...(milestones ? { milestones } : {}),
})

const toWireDedup = ({ id, windowMs, replace }: Dedup) => ({
  id,
  ...(windowMs === null ? {} : { window_ms: windowMs }),
  ...(replace && { replace: true }),
  ...(replace?.extend && { extend: true }),
  ...((replace?.atMostMs ?? null) !== null && { at_most_ms: replace?.atMostMs }),
})

/** A message to be stored; what is not said is left out. */
export function toWireEntry(message: NewMessage): object {
  const { dedup, tracked } = message
  return {
    data: message.data,
    meta: message.meta,
    headers: message.headers,
    ...(message.delayMs === 0 ? {} : { delay_ms: message.delayMs }),
    ...(message.notBefore === null ? {} : { not_before: isoTime(message.notBefore) }),
    ...(message.priority === 0 ? {} : { priority: message.priority }),
    ...(message.orderingKey === null ? {} : { ordering_key: message.orderingKey }),
    ...((message.group ?? null) === null ? {} : { group: message.group }),
    ...(dedup === null ? {} : { dedup: toWireDedup(dedup) }),
    ...(message.uniqueTarget === null ? {} : { unique_target: message.uniqueTarget }),
    ...(message.bare ? { bare: true } : {}),
    ...(tracked === undefined ? {} : { tracked: toWireTracked(tracked) }),
  }
}

export function toWireSettlement(settlement: Settlement): object {
  const { id, receipt, kind } = settlement
  switch (settlement.kind) {
    case 'delete':
      return { id, receipt, kind }
    case 'archive':
      return { id, receipt, kind, meta: settlement.meta }
    case 'release':
      return {
        ...{ id, receipt, kind, meta: settlement.meta, delay_ms: settlement.delayMs, uncount: settlement.uncount },
        ...(settlement.hold === undefined ? {} : { hold: settlement.hold }),
      }
    case 'move':
      return { id, receipt, kind, meta: settlement.meta, delay_ms: settlement.delayMs, to: settlement.to }
  }
}

export interface WireSettleResult {
  readonly settled: boolean
  readonly new_id: string | null
}
export const toWireSettleResult = ({ settled, newId }: SettleResult): WireSettleResult => ({ settled, new_id: newId })
export const fromWireSettleResult = (one: WireSettleResult): SettleResult => ({
  settled: one.settled,
  newId: one.new_id,
})

export interface WireQueue {
  readonly queue_name: string
  readonly is_partitioned: boolean
  readonly is_unlogged: boolean
  readonly created_at: string
  /** Not there but where they have something to say: the rest is what PGMQ's HTTP server answers. */
  readonly settings?: JsonObject
  readonly unusable?: string
}
export const toWireQueue = (info: QueueInfo): WireQueue => ({
  queue_name: info.queue,
  is_partitioned: info.isPartitioned ?? false,
  is_unlogged: info.isUnlogged ?? false,
  created_at: isoTime(info.createdAt),
  ...(info.settings === undefined ? {} : { settings: info.settings }),
  ...(info.unusable === undefined ? {} : { unusable: info.unusable }),
})
export const fromWireQueue = (one: WireQueue): QueueInfo => ({
  queue: one.queue_name,
  createdAt: Date.parse(one.created_at),
  ...(one.settings === undefined ? {} : { settings: one.settings }),
  ...(one.is_partitioned ? { isPartitioned: true } : {}),
  ...(one.is_unlogged ? { isUnlogged: true } : {}),
})

export interface WireStats {
  readonly queue_name: string
  /** Left out where all messages were looked at. */
  readonly is_estimate?: true
  readonly queue_length: number
  readonly queue_visible_length: number
  readonly newest_msg_age_sec: number | null
  readonly oldest_msg_age_sec: number | null
  readonly total_messages: number
  readonly scrape_time: string
  readonly ready: number
  /** Left out by a server of an older version. */
  readonly held_back?: number
  readonly delayed: number
  readonly leased: number
  readonly archived: number
  readonly oldest_ready_ms: number | null
  readonly next_due_ms: number | null
  readonly newest_ms: number | null
  readonly oldest_ms: number | null
  readonly created_at: string
  readonly pause: Pause | null
}

export const toWireStats = (stats: QueueFigures, now: number): WireStats => ({
  queue_name: stats.queue,
  ...(stats.isEstimate ? { is_estimate: true } : {}),
  queue_length: stats.ready + stats.delayed + stats.leased,
  queue_visible_length: stats.ready,
  newest_msg_age_sec: wholeSeconds(stats.newestMs),
  oldest_msg_age_sec: wholeSeconds(stats.oldestMs),
  total_messages: stats.totalSent,
  scrape_time: isoTime(now),
  ready: stats.ready,
  held_back: stats.heldBack,
  delayed: stats.delayed,
  leased: stats.leased,
  archived: stats.archived,
  oldest_ready_ms: stats.oldestReadyMs,
  next_due_ms: stats.nextDueMs,
  newest_ms: stats.newestMs,
  oldest_ms: stats.oldestMs,
  created_at: isoTime(stats.createdAt),
  pause: stats.pause,
})

const wholeSeconds = (ms: number | null) => (ms === null ? null : Math.floor(ms / 1_000))

export const fromWireStats = (one: WireStats): QueueStats => ({
  queue: one.queue_name,
  ...(one.is_estimate ? { isEstimate: true } : {}),
  ready: one.ready,
  heldBack: one.held_back ?? 0,
  delayed: one.delayed,
  leased: one.leased,
  archived: one.archived,
  totalSent: one.total_messages,
  oldestReadyMs: one.oldest_ready_ms,
  nextDueMs: one.next_due_ms,
  newestMs: one.newest_ms,
  oldestMs: one.oldest_ms,
  createdAt: Date.parse(one.created_at),
})

export interface WireBinding {
  readonly pattern: string
  readonly queue: string
  readonly bound_at: string
}
export const toWireBinding = ({ pattern, queue, boundAt }: Binding): WireBinding => ({
  pattern,
  queue,
  bound_at: isoTime(boundAt),
})
export const fromWireBinding = ({ pattern, queue, bound_at }: WireBinding): Binding => ({
  pattern,
  queue,
  boundAt: Date.parse(bound_at),
})

export interface WireProcess extends ProcessDescription {
  readonly id: string
  readonly since: string
  readonly queues: readonly string[] | null
  readonly token: string | null
}
export const toWireProcess = ({ since, token, ...process }: ProcessInfo): WireProcess => ({
  ...process,
  since: isoTime(since),
  token: token ?? null,
})
export const fromWireProcess = ({ since, token, ...process }: WireProcess): ProcessInfo => ({
  ...process,
  since: Date.parse(since),
  ...(token === null ? {} : { token }),
})

/** Their names are the same on both sides. */
export type WireCopy = PublishedCopy

export interface WireCorrelation {
  readonly started_at: string
  readonly completed_at: string | null
  readonly failed_at: string | null
  readonly done_at: string | null
  readonly queues: CorrelationState['queues']
}
export const toWireCorrelation = (one: CorrelationState): WireCorrelation => ({
  started_at: isoTime(one.startedAt),
  completed_at: isoTimeOrNull(one.completedAt),
  failed_at: isoTimeOrNull(one.failedAt),
  done_at: isoTimeOrNull(one.doneAt),
  queues: one.queues,
})
export const fromWireCorrelation = (one: WireCorrelation): CorrelationState => ({
  startedAt: Date.parse(one.started_at),
  completedAt: timeOrNull(one.completed_at),
  failedAt: timeOrNull(one.failed_at),
  doneAt: timeOrNull(one.done_at),
  queues: one.queues,
})

/** What is told to those who watch. */
export interface WireWake {
  readonly interest: Interest
  readonly due_ms?: number
  /** Settings of the queue were changed. */
  readonly changed?: true
}

/** What cannot be listened to. */
export interface WireRefusal extends WireError {
  readonly interest: Interest
}

export interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  readonly details: Readonly<Record<string, unknown>>
  /** As PGMQ's HTTP server names it. */
  readonly error: string
  readonly detail: string
}

export function wireError(error: TidingsError): WireError {
  const { code, message, hint, details } = error
  return { code, message, hint, details, error: code.toLowerCase(), detail: message }
}

/** @returns null for what is no error of ours: a proxy may have answered */
export function fromWireError(value: unknown): TidingsError | null {
  const { code, message, hint, details } = (value ?? {}) as Partial<Record<keyof WireError, unknown>>
  if (typeof code !== 'string' || !Object.hasOwn(errorTable, code) || typeof message !== 'string') return null
  return new TidingsError(code as ErrorCode, message, {
    ...(typeof hint === 'string' ? { hint } : {}),
    ...(typeof details === 'object' && details !== null ? { details: details as Record<string, unknown> } : {}),
  })
}
