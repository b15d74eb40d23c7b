import { show, TidingsError } from '../../core/errors.ts'
import type { JsonObject, JsonValue } from '../../core/json.ts'
import type {
  Dedup,
  NewMessage,
  PeekRequest,
  SendResult,
  Settlement,
  SettleResult,
  StoredMessage,
} from '../../port/engine.ts'

/** The options of a message in send.lua. Defaults are left out. */
export interface Options {
  readonly d?: number
  readonly n?: number
  readonly p?: number
  readonly k?: string
  readonly g?: string
  /** A window of 0: as long as nobody has read the first. mode: 1 replaces, 2 moves its time too, by at most so long. */
  readonly u?: readonly [id: string, windowMs: number, mode?: 1 | 2, atMostMs?: number]
  readonly t?: string
  readonly s?: number
  readonly m?: Readonly<Record<string, string>>
  readonly c?: string
  readonly w?: string
  readonly x?: 1
  readonly h?: number
}

/** A message for one queue: the stored text, and the options that scripts read. */
export type Encoded = readonly [body: string, options: string]

/** The first line is meta and headers. The rest is the data, unchanged. */
const bodyOf = (meta: string, headers: JsonObject, data: string) => `[${meta},${JSON.stringify(headers)}]\n${data}`

export function encode(message: NewMessage, task?: string): Encoded {
  return [bodyOf(JSON.stringify(message.meta), message.headers, message.data), toOptions(message, task)]
}

/** A message for several queues and topics: for queues its meta up to their name, for topics its own. */
export type Template = readonly [metaStart: string, meta: string, headers: string, data: string, options: string]

export function toTemplate(message: NewMessage, task?: string): Template {
  const { queue_name, ...meta } = message.meta
  const start = JSON.stringify(meta).slice(0, -1)
  const metaStart = `${start}${start === '{' ? '' : ','}"queue_name":"`
  const own = JSON.stringify(message.meta)
  return [metaStart, own, JSON.stringify(message.headers), message.data, toOptions(message, task)]
}

function toOptions(message: NewMessage, task?: string): string {
  const { delayMs, notBefore, priority, orderingKey, group = null, dedup, uniqueTarget, tracked, meta } = message
  const isReady = notBefore === null && delayMs <= 0 && priority === 0 && orderingKey === null
  if (isReady && group === null && dedup === null && uniqueTarget === null && tracked === undefined) return ''
  const options: Options = {
    ...(notBefore !== null ? { n: notBefore } : delayMs > 0 ? { d: delayMs } : {}),
    ...(priority !== 0 ? { p: priority } : {}),
    ...(orderingKey !== null ? { k: orderingKey } : {}),
    ...(group !== null ? { g: group } : {}),
    ...(dedup !== null ? { u: toUnique(dedup) } : {}),
    ...(uniqueTarget !== null ? { t: uniqueTarget } : {}),
    ...(tracked !== undefined && task !== undefined ? { c: tracked.correlationId, w: task } : {}),
    ...(tracked !== undefined && (meta.dead_lettered_at ?? null) !== null ? { x: 1 as const } : {}),
  }
  return toOptionsText(options)
}

function toUnique({ id, windowMs, replace }: Dedup): NonNullable<Options['u']> {
  if (replace === undefined) return [id, windowMs ?? 0]
  const { extend, atMostMs } = replace
  const mode = extend ? 2 : 1
  return atMostMs === null ? [id, windowMs ?? 0, mode] : [id, windowMs ?? 0, mode, atMostMs]
}

/** Every copy of a published message is a task of its own. @returns undefined where the message is none */
export function taskOf(options: string, queue: string): readonly [correlation: string, task: string] | undefined {
  const { c = '', w }: Options = options === '' ? {} : JSON.parse(options)
  return w === undefined ? undefined : [c, `${w}/${queue}`]
}

export const toOptionsText = (options: Options) => (Object.keys(options).length === 0 ? '' : JSON.stringify(options))

/** '+id' for a message that was stored, '=id' for the duplicate of another, '~id' for one that replaced another's data. */
export const toSendResult = (result: string): SendResult => ({
  id: result.slice(1),
  duplicate: result.startsWith('='),
  ...(result.startsWith('~') ? { replaced: true } : {}),
})

const idLength = 13

/** The ids of messages without options, which scripts return one after the other. */
export const plainIdsIn = (ids: string): string[] =>
  Array.from({ length: ids.length / idLength }, (_, at) => ids.slice(at * idLength, (at + 1) * idLength))

/** A message as scripts return it. */
export type Row = readonly [
  id: string,
  body: string,
  sentAt: number,
  visibleAt: number,
  readCount: number,
  firstReadAt: number | null,
  lastReadAt: number | null,
  archivedAt: number | null,
  priority: number,
  orderingKey: string | null,
  receipt: string | null,
  changes: readonly string[],
  group: string | null,
]

export function toStoredMessage(row: Row): StoredMessage {
  const [id, body, sentAt, visibleAt, readCount, firstReadAt, lastReadAt, archivedAt, ...rest] = row
  const [priority, orderingKey, receipt, changes, group] = rest
  const end = body.indexOf('\n')
  const [meta, headers] = JSON.parse(body.slice(0, end)) as [JsonObject, JsonObject]
  return {
    id,
    data: body.slice(end + 1),
    meta: changes.length > 0 ? merge(meta, changes) : meta,
    headers,
    priority,
    orderingKey,
    group,
    sentAt,
    visibleAt,
    readCount,
    firstReadAt,
    lastReadAt,
    archivedAt,
    receipt,
  }
}

/** A message without options that is read for the first time. */
export type FreshRow = readonly [id: string, body: string, receipt: string]

/** @param now when it was read */
export function toFreshMessage([id, body, receipt]: FreshRow, now: number, leaseMs: number): StoredMessage {
  const end = body.indexOf('\n')
  const [meta, headers] = JSON.parse(body.slice(0, end)) as [JsonObject, JsonObject]
  return {
    id,
    data: body.slice(end + 1),
    meta,
    headers,
    priority: 0,
    orderingKey: null,
    group: null,
    sentAt: Number.parseInt(id.slice(0, 9), 36),
    visibleAt: now + leaseMs,
    readCount: 1,
    firstReadAt: now,
    lastReadAt: now,
    archivedAt: null,
    receipt,
  }
}

/** Entries instead of assignments, so that a field `__proto__` stays plain data. */
function merge(meta: JsonObject, changes: readonly string[]): JsonObject {
  const fields = new Map(Object.entries(meta))
  for (let at = 0; at < changes.length; at += 2) {
    const value: JsonValue = JSON.parse(changes[at + 1]!)
    if (value === null) fields.delete(changes[at]!)
    else fields.set(changes[at]!, value)
  }
  return Object.fromEntries(fields)
}

const texts = (meta: JsonObject) =>
  Object.fromEntries(Object.entries(meta).map(([field, value]) => [field, JSON.stringify(value)]))

/** A text that cannot be a receipt becomes '', which no message has: some texts would break the JSON of a script. */
export const toReceipt = (receipt: unknown) =>
  typeof receipt === 'string' && /^[\w-]{1,40}$/.test(receipt) ? receipt : ''

/** @param keyNumberOf where the keys of the target of a move begin among those of the call, from 1; 0 if they are not there */
export function toSettlement(settlement: Settlement, keyNumberOf: (queue: string) => number): object {
  const { id: i, receipt, kind } = settlement
  const common = { i, r: toReceipt(receipt), e: kind }
  switch (settlement.kind) {
    case 'delete':
      return common
    case 'archive':
      return { ...common, m: texts(settlement.meta) }
    case 'release':
      return {
        ...common,
        m: texts(settlement.meta),
        d: settlement.delayMs,
        ...(settlement.uncount ? { u: 1 } : {}),
        ...(settlement.hold ? { b: settlement.hold } : {}),
      }
    case 'move': {
      const { meta, delayMs, to } = settlement
      return { ...common, m: texts(meta), d: delayMs, to, q: keyNumberOf(to) }
    }
  }
}

/** @param moved the ids of copies in other queues, by outbox entry */
export function toSettleResult(result: string, moved?: ReadonlyMap<string, string>): SettleResult {
  if (result === '') return { settled: false, newId: null }
  const rest = result.slice(1)
  return { settled: true, newId: result.startsWith('>') ? (moved?.get(rest) ?? null) : rest || null }
}

/** Looks whether meta has these texts in these fields. */
export function hasMeta({ meta }: StoredMessage, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([field, text]) => {
    const value = Object.hasOwn(meta, field) ? meta[field] : null
    return value !== undefined && value !== null && typeof value !== 'object' && String(value) === text
  })
}

/** Texts that the stored text of a message with this meta contains. */
export const needlesOf = (meta: PeekRequest['meta'] = {}) =>
  Object.values(meta).map((text) => JSON.stringify(text).slice(1, -1))

export function checkId(id: string): string {
  if (/^[0-9a-z]{13}$/.test(id)) return id
  throw new TidingsError('MESSAGE_ID_INVALID', `${show(id)} is not an id of a message in Redis`)
}
