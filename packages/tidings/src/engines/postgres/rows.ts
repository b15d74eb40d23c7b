import { show, TidingsError } from '../../core/errors.ts'
import type { JsonObject, JsonValue } from '../../core/json.ts'
import type {
  CorrelationState,
  Lease,
  NewMessage,
  Peeked,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  Replace,
  RoutedMessage,
  SendResult,
  Settlement,
  StoredMessage,
} from '../../port/engine.ts'
import { type ProcessInfo, readDescription } from '../../port/processes.ts'
import type { SubscriptionState, TopicInfo, TopicMessage } from '../../port/topic-store.ts'
import type { Row } from './driver.ts'

/** Headers that carry what PGMQ's tables have no column for. The first is PGMQ's own. */
const header = {
  orderingKey: 'x-pgmq-group',
  group: 'x-tidings-group',
  priority: 'x-tidings-priority',
  firstRead: 'x-tidings-first-read',
  meta: 'x-tidings-meta',
  tracked: 'x-tidings-tracked',
  cancel: 'x-tidings-cancel',
} as const

/** A batch for tidings.send. `data` is JSON text already and goes in as it is. */
export function toBatch(messages: readonly NewMessage[]): string {
  return `[${messages.map((message) => `{${toParts(message).join(',')}}`).join(',')}]`
}

/** A batch for tidings.publish. */
export function toRoutedBatch(messages: readonly RoutedMessage[]): string {
  const toEntry = (message: RoutedMessage) =>
    `{${[`"r":${JSON.stringify(message.routingKey)}`, ...toParts(message)].join(',')}}`
  return `[${messages.map(toEntry).join(',')}]`
}

/** Plain messages for "send:{queue}": the bodies, and the headers if there are any. */
export function toColumns(messages: readonly NewMessage[]): [bodies: string, headers: string | null] {
  const headers = messages.map(toHeaders)
  const hasHeaders = headers.some((header) => header !== null)
  return [`[${messages.map(toBody).join(',')}]`, hasHeaders ? JSON.stringify(headers) : null]
}

const toBody = (message: NewMessage) =>
  message.bare ? message.data : `{"data":${message.data},"meta":${JSON.stringify(message.meta)}}`

function toParts(message: NewMessage): string[] {
  const parts = [`"m":${toBody(message)}`]
  const headers = toHeaders(message)
  if (headers) parts.push(`"h":${JSON.stringify(headers)}`)
  if (message.notBefore !== null) parts.push(`"t":${Math.round(message.notBefore)}`)
  else parts.push(`"d":${message.delayMs}`)
  if (message.dedup) parts.push(`"k":${JSON.stringify(message.dedup.id)},"w":${message.dedup.windowMs}`)
  if (message.dedup?.replace) parts.push(...toReplacing(message.dedup.replace))
  if (message.uniqueTarget !== null) parts.push(`"u":${JSON.stringify(message.uniqueTarget)}`)
  if (message.tracked)
    parts.push(
      `"c":${JSON.stringify(message.tracked.correlationId)},"q":${JSON.stringify(message.tracked.completionQueue)}`,
      ...(message.tracked.milestones ? [`"o":${JSON.stringify(message.tracked.milestones)}`] : []),
    )
  return parts
}

const toReplacing = ({ extend, atMostMs }: Replace) => ['"x":true', ...(extend ? [`"e":true,"a":${atMostMs}`] : [])]

/** Rows of tidings.send: `duplicate` is null for what replaced the data of another. */
export const toSendResult = (row: Row): SendResult => ({
  id: String(row.id),
  duplicate: row.duplicate === true,
  ...(row.duplicate === null ? { replaced: true } : {}),
})

/** Rows of tidings.publish, which are ordered by queue, then by topic, and then by message. */
export function toPublishedCopies(rows: readonly Row[], messages: number): PublishedCopy[][] {
  const copies: PublishedCopy[][] = Array.from({ length: messages }, () => [])
  for (const row of rows) {
    const { at, queue, topic, offset } = row
    copies[(at as number) - 1]?.push(
      queue === null
        ? { topic: topic as string, offset: offset as number | null, duplicate: row.duplicate === true }
        : { queue: queue as string, ...toSendResult(row) },
    )
  }
  return copies
}

function toHeaders(message: NewMessage): JsonObject | null {
  const { headers: given } = message
  if (!isSorted(message) && !message.bare && !message.tracked) return Object.keys(given).length > 0 ? given : null
  const own: Record<string, JsonValue> = {}
  if (message.orderingKey !== null) own[header.orderingKey] = message.orderingKey
  if ((message.group ?? null) !== null) own[header.group] = message.group as string
  if (message.priority !== 0) own[header.priority] = message.priority
  if (message.bare) own[header.meta] = message.meta
  if (message.tracked) own[header.tracked] = message.tracked.correlationId
  return { ...given, ...own }
}

/** Whether a message needs nothing but a row in the queue's table. */
export function isPlain(message: NewMessage): boolean {
  return (
    message.delayMs === 0 &&
    message.notBefore === null &&
    message.dedup === null &&
    message.uniqueTarget === null &&
    message.tracked === undefined &&
    !isSorted(message)
  )
}

/** Whether the order of reading is not simply that of sending. */
export function isSorted(message: NewMessage): boolean {
  return message.orderingKey !== null || message.priority !== 0 || (message.group ?? null) !== null
}

/** A row of tidings.message. */
export function toStoredMessage(row: Row, leased: boolean): StoredMessage {
  const { key, group, priority, firstRead, cancel, headers } = fromHeaders(row.headers)
  const readCount = row.read_ct as number
  const lastReadAt = row.last_read_at as number | null
  return {
    id: row.id as string,
    data: row.data as string,
    meta: typeof cancel === 'string' ? { cancel_requested_at: cancel, ...parse(row.meta) } : parse(row.meta),
    headers,
    priority: isPriority(priority) ? Number(priority) : 0,
    orderingKey: key === undefined || key === null ? null : typeof key === 'string' ? key : JSON.stringify(key),
    group: typeof group === 'string' && group !== '' ? group : null,
    sentAt: row.sent_at as number,
    visibleAt: row.visible_at as number,
    readCount,
    firstReadAt: typeof firstRead === 'number' ? firstRead : readCount > 0 ? lastReadAt : null,
    lastReadAt,
    archivedAt: (row.archived_at ?? null) as number | null,
    receipt: leased ? `${readCount}.${row.vt_us as string}` : null,
  }
}

/** As tidings.priority_expression has it: what else another client puts there says nothing. */
const isPriority = (value: unknown) =>
  (typeof value === 'number' || typeof value === 'string') && /^-?\d{1,3}$/.test(String(value))

/** What the headers carry, and those that users know. */
function fromHeaders(text: unknown) {
  const {
    [header.orderingKey]: key,
    [header.group]: group,
    [header.priority]: priority,
    [header.firstRead]: firstRead,
    [header.meta]: _bareMeta,
    [header.tracked]: _tracked,
    [header.cancel]: cancel,
    ...headers
  } = parse(text)
  return { key, group, priority, firstRead, cancel, headers }
}

function parse(text: unknown): Record<string, JsonValue> {
  const value: unknown = typeof text === 'string' ? JSON.parse(text) : null
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, JsonValue>)
    : {}
}

/** Rows of tidings.correlation_state. */
export function toCorrelationState(rows: readonly Row[]): CorrelationState | null {
  if (rows.length === 0) return null
  return {
    startedAt: rows[0]?.started_at as number,
    completedAt: rows[0]?.completed_at as number | null,
    failedAt: rows[0]?.failed_at as number | null,
    doneAt: rows[0]?.done_at as number | null,
    queues: rows.map((row) => ({
      queue: row.queue as string,
      pending: row.pending as number,
      running: row.running as number,
      done: row.done as number,
      dead: row.dead as number,
      cancelled: row.cancelled as number,
    })),
  }
}

/** A row of tidings.read_topic. */
export function toTopicMessage(row: Row): TopicMessage {
  return {
    offset: row.offset as number,
    data: row.data as string,
    meta: parse(row.meta),
    headers: fromHeaders(row.headers).headers,
    publishedAt: row.published_at as number,
  }
}

/** A row of tidings.topics. */
export function toTopicInfo(row: Row): TopicInfo {
  return {
    topic: row.topic as string,
    description: row.description as string,
    retention: {
      maxAgeMs: row.max_age_ms as number | null,
      maxBytes: row.max_bytes as number | null,
      whenRead: row.when_read as boolean,
    },
    createdAt: row.created_at as number,
    firstOffset: row.first_offset as number,
    lastOffset: row.last_offset as number,
    bytes: row.bytes as number,
    subscriptions: row.subscriptions as number,
    patterns: JSON.parse(row.patterns as string) as string[],
    queues: JSON.parse(row.queues as string) as string[],
  }
}

/** A row of tidings.subscriptions. */
export function toSubscriptionState(row: Row): SubscriptionState {
  return {
    subscription: row.subscription as string,
    cursor: row.cursor as number,
    lag: row.lag as number,
    missed: row.missed as number,
    createdAt: row.created_at as number,
    movedAt: row.moved_at as number | null,
    consumer: row.consumer as string | null,
  }
}

/** The read count and the end of the lease, or null for what was never a receipt of ours. */
function parseReceipt(receipt: string): { readCount: number; hiddenUntil: string } | null {
  const match = /^(\d{1,9})\.(\d{1,18})$/.exec(receipt)
  return match ? { readCount: Number(match[1]), hiddenUntil: match[2] as string } : null
}

/** A receipt of a subscription, or '', which fits none, for what was never one. */
export const toProof = (receipt: string): string => (/^\d+\.\d+$/.test(receipt) ? receipt : '')

/** An entry for tidings.settle; one that cannot match anything for a receipt that is none. */
export function toSettleEntry(settlement: Settlement): Record<string, JsonValue> {
  const entry: Record<string, JsonValue> = { ...toLeaseEntry(settlement), k: settlement.kind }
  if (settlement.kind !== 'delete') entry.m = settlement.meta
  if (settlement.kind === 'release' || settlement.kind === 'move') entry.d = settlement.delayMs
  if (settlement.kind === 'release') {
    entry.u = settlement.uncount
    if (settlement.hold !== undefined) entry.o = settlement.hold
  }
  if (settlement.kind === 'move') entry.t = settlement.to
  return entry
}

export function toLeaseEntry({ id, receipt, cancelled }: Lease): Record<string, JsonValue> {
  const parsed = isId(id) ? parseReceipt(receipt) : null
  if (parsed === null) return { i: '-1', r: -1, v: '0' }
  return { i: id, r: parsed.readCount, v: parsed.hiddenUntil, ...(cancelled ? { c: true } : null) }
}

/** Leases for "settle:{queue}": ids, read counts and ends, as arrays of PostgreSQL. */
export function toLeaseColumns(leases: readonly { id: string; receipt: string }[]): [string, string, string] {
  const entries = leases.map(toLeaseEntry)
  const column = (name: string) => `{${entries.map((entry) => entry[name]).join(',')}}`
  return [column('i'), column('r'), column('v')]
}

const largestId = 2n ** 63n - 1n

/** Ids are those of a bigint column. */
export function isId(id: string): boolean {
  return /^\d{1,19}$/.test(id) && BigInt(id) <= largestId
}

/** @throws MESSAGE_ID_INVALID */
export function checkId(id: string): string {
  if (isId(id)) return id
  throw new TidingsError('MESSAGE_ID_INVALID', `${show(id)} is not an id of a message in PostgreSQL`)
}

export const toIdList = (ids: readonly string[]) => JSON.stringify(ids.map(checkId))

export const toQueueInfo = (row: Row): QueueInfo => ({
  queue: row.queue as string,
  createdAt: row.created_at as number,
  ...(row.settings === null ? {} : { settings: JSON.parse(row.settings as string) as JsonObject }),
  ...(row.is_partitioned === true ? { isPartitioned: true } : {}),
  ...(row.is_unlogged === true ? { isUnlogged: true } : {}),
})

/** None for what has not said properly who it is. */
export function toProcess({ id, about, since, queues }: Row): ProcessInfo[] {
  const description = readDescription(JSON.parse(about as string))
  if (description === null) return []
  return [
    { ...description, id: id as string, since: since as number, queues: JSON.parse(queues as string) as string[] },
  ]
}

export const toQueueStats = (queue: string, row: Row): QueueStats => ({
  queue,
  ...(row.is_estimate === true ? { isEstimate: true } : {}),
  ready: row.ready as number,
  heldBack: row.held_back as number,
  delayed: row.delayed as number,
  leased: row.leased as number,
  archived: row.archived as number,
  totalSent: row.total_sent as number,
  oldestReadyMs: row.oldest_ready_ms as number | null,
  nextDueMs: row.next_due_ms as number | null,
  newestMs: row.newest_ms as number | null,
  oldestMs: row.oldest_ms as number | null,
  createdAt: row.created_at as number,
})

/** A last row without data has nothing but the id to go on after. */
export function toPeeked(rows: readonly Row[]): Peeked {
  const end = rows.at(-1)?.data === null ? rows.at(-1) : undefined
  const found = rows.slice(0, end && -1).map((row) => toStoredMessage(row, false))
  return end ? Object.assign(found, { after: end.id as string }) : found
}
