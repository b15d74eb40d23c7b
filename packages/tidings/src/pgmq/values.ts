import { show, TidingsError } from '../core/errors.ts'
import { type JsonObject, toJson } from '../core/json.ts'
import * as option from '../core/options.ts'

/** The number of a message: a bigint where a number cannot hold it. A decimal text is accepted, too. */
export type MsgId = number | bigint

/** A parameter of a statement. */
export type Parameter = string | null

export type Row = { readonly [column: string]: unknown }

const maxInteger = 2_147_483_647
const maxId = 2n ** 63n - 1n

/** Names are PGMQ's, which takes more than Tidings: upper case, spaces, other letters. @throws TYPE, QUEUE_NAME_INVALID */
export function queueName(name: unknown): string {
  if (typeof name !== 'string') throw option.typeError('queue name', name, 'a string')
  const bad = /\$|;|--|'|\0/.exec(name)?.[0]
  const length = [...name].length
  const why = bad !== undefined ? `contains ${show(bad)}` : length > 47 ? `is ${length} characters long` : undefined
  if (why === undefined) return name
  throw new TidingsError('QUEUE_NAME_INVALID', `queue name ${show(name)} ${why}`, {
    details: { field: 'queue name' },
    hint: "PGMQ takes at most 47 characters, without '$', ';', '--' and quotes.",
  })
}

/** @throws TYPE */
export function text(value: unknown, path: string): string {
  if (typeof value !== 'string') throw option.typeError(path, value, 'a string')
  return value
}

/** @throws TYPE, RANGE */
export function integer(value: unknown, path: string, min = 0): string {
  return String(option.integer('', { default: null, min, max: maxInteger }).parse(value, path))
}

/** For how long from now: a negative number is in the past, as PGMQ has it. @throws TYPE, RANGE */
export const seconds = (value: unknown, path: string) => integer(value, path, -maxInteger)

/** Seconds from now, and the time instead of them: one of the two is null. @throws TYPE, RANGE */
export function delay(value: unknown, path = 'delay'): [inSeconds: Parameter, at: Parameter] {
  return value instanceof Date ? [null, time(value, path)] : [seconds(value, path), null]
}

/** @throws RANGE for a time that PostgreSQL cannot read */
export function time(value: Date, path: string): string {
  const year = value.getUTCFullYear()
  if (year >= 0 && year <= 9999) return value.toISOString()
  throw new TidingsError('RANGE', `${path} is ${show(value)}; it must be a valid date of the years 0 to 9999`, {
    details: { field: path },
  })
}

/** @throws MESSAGE_ID_INVALID */
export function msgId(value: unknown, path = 'msgId'): string {
  const isWhole = typeof value === 'bigint' || Number.isSafeInteger(value)
  if (isWhole || (typeof value === 'string' && /^-?\d{1,19}$/.test(value))) {
    const id = BigInt(value as MsgId | string)
    if (id >= -maxId && id <= maxId) return String(id)
  }
  throw new TidingsError('MESSAGE_ID_INVALID', `${path} is ${show(value)}, which is no id`, {
    details: { field: path },
    hint: 'Pass the id as it was returned: a whole number, a bigint, or its digits as text.',
  })
}

/** @throws TYPE, MESSAGE_ID_INVALID */
export const msgIds = (values: unknown) => arrayOf(list(values, 'msgIds').map((id, at) => msgId(id, `msgIds[${at}]`)))

/** @throws BODY_NOT_JSON and the like */
export const message = (value: unknown, path = 'msg') => toJson(value, path)

/** @throws TYPE, BODY_NOT_JSON and the like */
export const messages = (values: unknown) =>
  arrayOf(filled(values, 'msgs').map((value, at) => quoted(message(value, `msgs[${at}]`))))

/** @throws HEADERS_INVALID, BODY_NOT_JSON */
export function headers(value: unknown, path = 'headers'): Parameter {
  if (value === null || value === undefined) return null
  if (typeof value !== 'object' || Array.isArray(value))
    throw new TidingsError('HEADERS_INVALID', `${path} is ${show(value)}; it must be a plain object`, {
      details: { field: path },
    })
  return toJson(value, path)
}

/** One for each message. @throws TYPE, BATCH_SIZE, HEADERS_INVALID, BODY_NOT_JSON */
export function headersOfBatch(values: unknown, count: number): Parameter {
  if (values === null || values === undefined) return null
  const all = list(values, 'headers')
  if (all.length !== count)
    throw new TidingsError('BATCH_SIZE', `headers are ${all.length} for ${count} messages`, {
      hint: 'Pass one for each message, null for none.',
    })
  return arrayOf(all.map((value, at) => quoted(headers(value, `headers[${at}]`))))
}

/** @throws TYPE */
function list(values: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(values)) throw option.typeError(path, values, 'an array')
  return values
}

/** @throws TYPE, BATCH_SIZE */
function filled(values: unknown, path: string): readonly unknown[] {
  const all = list(values, path)
  if (all.length > 0) return all
  throw new TidingsError('BATCH_SIZE', `${path} are none`, { hint: 'Send at least one.' })
}

/** PostgreSQL's text of an array. */
const arrayOf = (items: readonly string[]) => `{${items.join()}}`
const quoted = (item: Parameter) => (item === null ? 'NULL' : `"${item.replaceAll(/["\\]/g, '\\$&')}"`)

/** The farthest that a Date reaches, for PostgreSQL's infinity. */
const endOfTime = 8_640_000_000_000_000
const infinities: Readonly<Record<string, number>> = { infinity: endOfTime, '-infinity': -endOfTime }

/** To the millisecond. */
export const date = (value: unknown) => new Date(infinities[String(value)] ?? String(value))
export const dateOrNull = (value: unknown) => (value === null || value === undefined ? null : date(value))

/** A message as PGMQ gives it. */
export interface PgmqMessage<T> {
  readonly msgId: MsgId
  /** How often it was read. */
  readonly readCount: number
  readonly enqueuedAt: Date
  /** null before the first read, and on PGMQ before 1.10. */
  readonly lastReadAt: Date | null
  /** Until when it is hidden. */
  readonly vt: Date
  readonly message: T
  readonly headers: JsonObject | null
}

export const toMessage = <T>(row: Row): PgmqMessage<T> => ({
  msgId: row.msg_id as MsgId,
  readCount: row.read_ct as number,
  enqueuedAt: date(row.enqueued_at),
  lastReadAt: dateOrNull(row.last_read_at),
  vt: date(row.vt),
  message: row.message as T,
  headers: (row.headers ?? null) as JsonObject | null,
})
