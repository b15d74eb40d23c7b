import type {
  CorrelationState,
  NewMessage,
  PublishedCopy,
  RoutedMessage,
  Settlement,
  StoredMessage,
} from '../../engine.ts'
import type { JsonObject, JsonValue } from '../../json.ts'
import type { Row } from './driver.ts'

/** Headers that carry what PGMQ's tables have no column for. The first is PGMQ's own. */
const header = {
  orderingKey: 'x-pgmq-group',
  priority: 'x-tidings-priority',
  firstRead: 'x-tidings-first-read',
  meta: 'x-tidings-meta',
  tracked: 'x-tidings-tracked',
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

function toParts(message: NewMessage): string[] {
  const meta = JSON.stringify(message.meta)
  const body = message.bare ? message.data : `{"data":${message.data},"meta":${meta}}`
  const parts = [`"m":${body}`]
  const headers = toHeaders(message)
  if (headers) parts.push(`"h":${JSON.stringify(headers)}`)
  if (message.notBefore !== null) parts.push(`"t":${Math.round(message.notBefore)}`)
  else parts.push(`"d":${message.delayMs}`)
  if (message.dedup) parts.push(`"k":${JSON.stringify(message.dedup.id)},"w":${message.dedup.windowMs}`)
  if (message.uniqueTarget !== null) parts.push(`"u":${JSON.stringify(message.uniqueTarget)}`)
  if (message.tracked)
    parts.push(
      `"c":${JSON.stringify(message.tracked.correlationId)},"q":${JSON.stringify(message.tracked.completionQueue)}`,
    )
  return parts
}

/** Rows of tidings.publish, which are ordered by queue and then by message. */
export function toPublishedCopies(rows: readonly Row[], messages: number): PublishedCopy[][] {
  const copies: PublishedCopy[][] = Array.from({ length: messages }, () => [])
  for (const row of rows)
    copies[(row.at as number) - 1]?.push({
      queue: row.queue as string,
      id: row.id as string,
      duplicate: row.duplicate === true,
    })
  return copies
}

function toHeaders(message: NewMessage): JsonObject | null {
  const own: Record<string, JsonValue> = {}
  if (message.orderingKey !== null) own[header.orderingKey] = message.orderingKey
  if (message.priority !== 0) own[header.priority] = message.priority
  if (message.bare) own[header.meta] = message.meta
  if (message.tracked) own[header.tracked] = message.tracked.correlationId
  const headers = { ...message.headers, ...own }
  return Object.keys(headers).length > 0 ? headers : null
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
  return message.orderingKey !== null || message.priority !== 0
}

/** A row of tidings.message. */
export function toStoredMessage(row: Row, leased: boolean): StoredMessage {
  const {
    [header.orderingKey]: key,
    [header.priority]: priority,
    [header.firstRead]: firstRead,
    ...rest
  } = parse(row.headers)
  const { [header.meta]: _bareMeta, [header.tracked]: _tracked, ...headers } = rest
  const readCount = row.read_ct as number
  const lastReadAt = row.last_read_at as number | null
  return {
    id: row.id as string,
    data: row.data as string,
    meta: parse(row.meta),
    headers,
    priority: typeof priority === 'number' ? priority : 0,
    orderingKey: typeof key === 'string' ? key : null,
    sentAt: row.sent_at as number,
    visibleAt: row.visible_at as number,
    readCount,
    firstReadAt: typeof firstRead === 'number' ? firstRead : readCount > 0 ? lastReadAt : null,
    lastReadAt,
    archivedAt: row.archived_at as number | null,
    receipt: leased ? `${readCount}.${row.vt_us as string}` : null,
  }
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

/** The read count and the end of the lease, or null for what was never a receipt of ours. */
function parseReceipt(receipt: string): { readCount: number; hiddenUntil: string } | null {
  const match = /^(\d{1,9})\.(\d{1,18})$/.exec(receipt)
  return match ? { readCount: Number(match[1]), hiddenUntil: match[2] as string } : null
}

/** An entry for tidings.settle; one that cannot match anything for a receipt that is none. */
export function toSettleEntry(settlement: Settlement): Record<string, JsonValue> {
  const entry: Record<string, JsonValue> = { ...toLeaseEntry(settlement), k: settlement.kind }
  if (settlement.kind !== 'delete') entry.m = settlement.meta
  if (settlement.kind === 'release' || settlement.kind === 'move') entry.d = settlement.delayMs
  if (settlement.kind === 'release') entry.u = settlement.uncount
  if (settlement.kind === 'move') entry.t = settlement.to
  return entry
}

export function toLeaseEntry({ id, receipt }: { id: string; receipt: string }): Record<string, JsonValue> {
  const parsed = isId(id) ? parseReceipt(receipt) : null
  return parsed ? { i: id, r: parsed.readCount, v: parsed.hiddenUntil } : { i: '-1', r: -1, v: '0' }
}

const largestId = 2n ** 63n - 1n

/** Ids are those of a bigint column. */
export function isId(id: string): boolean {
  return /^\d{1,19}$/.test(id) && BigInt(id) <= largestId
}
