import { type AnyTransaction, parseTransaction } from '../adapters/recognise.ts'
import { type ErrorCode, show, TidingsError } from '../core/errors.ts'
import { type JsonObject, type JsonValue, toJsonValue } from '../core/json.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { parseSchema, type StandardSchemaV1 } from '../core/schema.ts'
import { type Serializer, serializerOption } from '../core/serializer.ts'
import { type Milestone, milestones } from '../port/correlation.ts'
import type { Place, Transaction } from '../port/engine.ts'
import type { SentMeta } from '../port/meta.ts'
import { parseMetaWhere, type Wanted, type Where } from './filter.ts'
import { leaseOption } from './message.ts'

const tenYearsMs = 315_360_000_000

/** An option that leaves it to what is stored for the queue where it is not given; null then. */
export const orStored = <I, O>(one: option.Option<I, O>): option.Option<I, O | null> => ({
  ...one,
  defaultValue: null,
  defaultText: `as stored for the queue, else ${one.defaultText}`,
})

const ttl = (doc: string, defaultText: string) =>
  option.duration(doc, { default: null, defaultText, min: 1, max: tenYearsMs })

export const attemptsOption = option.integer('After this many failed attempts a message is dead-lettered.', {
  default: 5,
  min: 1,
  max: 10_000,
})

export const messageBytesOption = option.integer('The largest data, in bytes of JSON.', {
  default: 1_048_576,
  min: 1,
  max: 268_435_456,
})

export const delayOption = option.duration('Becomes ready after this time.', {
  default: 0,
  min: 0,
  max: tenYearsMs,
  rangeCode: 'DELAY_RANGE',
})

export const queueOptions = {
  schema: option.value<StandardSchemaV1, StandardSchemaV1 | null>(
    'A Standard Schema; data is checked when sent and when read, and its type is inferred.',
    { default: null, defaultText: 'none', typeText: 'Standard Schema', parse: parseSchema },
  ),
  serializer: serializerOption,
  create: option.boolean('Creates the queue when something is sent to it or works on it and it is missing.', {
    default: true,
  }),
  deadLetter: option.value<string | false, string | false | null>(
    'Where messages go that failed too often; false keeps them in the archive instead.',
    {
      default: null,
      defaultText: 'as stored for the queue, else <queue>_dlq',
      typeText: 'queue name or false',
      jsonSchema: { oneOf: [{ type: 'string' }, { const: false }] },
      parse: parseDeadLetter,
    },
  ),
  maxMessageBytes: {
    ...orStored(messageBytesOption),
    doc: 'The largest data, in bytes of JSON; no more than is stored for the queue.',
  },
  envelope: option.choice(
    "'none' stores the data alone, with meta in a header, for readers that know no envelope.",
    ['meta', 'none'],
    { default: 'meta' },
  ),
  durability: option.choice(
    "'fsync' refuses to send unless the storage has it on disk when it answers; 'default' leaves that to its settings.",
    ['default', 'fsync'],
    { default: 'default' },
  ),
  requireTransaction: option.boolean(
    'Refuses to send without `tx`, so that no message can be stored apart from what it tells of.',
    { default: false },
  ),
  maxLength: option.integer(
    'Refuses as QUEUE_FULL what would make the queue longer than this, or than is stored for the queue; archived messages do not count.',
    {
      default: null,
      defaultText: 'as stored for the queue, else none',
      min: 1,
      max: 1_000_000_000,
    },
  ),
  ttl: ttl(
    'How long messages are worth being handled, from when they are sent.',
    'as stored for the queue, else for ever',
  ),
  expired: option.choice(
    "What becomes of messages whose time to live is over: a 'deadLetter', or they are deleted and counted ('drop').",
    ['deadLetter', 'drop'],
    { default: 'deadLetter' },
  ),
} as const
export type QueueOptions = option.OptionsInput<typeof queueOptions>
/** From the schema the type of the data is inferred. */
export interface QueueOptionsWithSchema<S extends StandardSchemaV1> extends QueueOptions {
  readonly schema: S
}
/** From the serializer the type of the data is inferred. */
export interface QueueOptionsWithSerializer<T> extends QueueOptions {
  readonly serializer: Serializer<T>
}

const maxWindow = { min: 1, max: 2_592_000_000 } as const

export const dedupOptions = {
  id: option.required(
    option.text('What messages that count as one have in common.', { default: null, check: checkDedupId }),
  ),
  for: option.duration('How long the id is remembered.', {
    default: null,
    defaultText: '5m; with replace, until the message is read',
    ...maxWindow,
  }),
  replace: option.boolean(
    'While nobody has read the first message, it gets data, meta and headers of this one. Once it is read, this one is a new message.',
    { default: false },
  ),
  extend: option.boolean('With replace: the first becomes ready when this one would, and `for` begins anew.', {
    default: false,
  }),
  atMost: option.duration('With extend: the first becomes ready at the latest so long after it was sent.', {
    default: null,
    min: 0,
    max: tenYearsMs,
  }),
  whileActive: option.choice(
    "'keepLast': one message of the id at a time is in hand, and one waits, which has the newest data.",
    ['keepLast'],
    { default: null },
  ),
} as const
export type DedupOptions = option.OptionsInput<typeof dedupOptions>

export const sendOptions = {
  delay: orStored(delayOption),
  at: option.value<Date | string, number | null>(
    'Becomes ready at this time, a Date or an ISO 8601 text; one that has passed means now.',
    {
      default: null,
      defaultText: 'now',
      typeText: 'Date or ISO 8601 text',
      parse: parseTime,
    },
  ),
  meta: option.value<SentMeta, SentMeta>('What the bus should know about the message.', {
    default: {},
    defaultText: 'none',
    typeText: 'object',
    parse: parseMeta,
  }),
  headers: option.value<JsonObject, JsonObject>("The application's own headers.", {
    default: {},
    defaultText: 'none',
    typeText: 'object with JSON values',
    parse: parseHeaders,
  }),
  priority: option.integer('Higher is read first.', { default: 0, min: -100, max: 100 }),
  orderingKey: option.text('Messages of one key are handled one after the other, in the order of sending.', {
    default: null,
    check: checkKey,
  }),
  group: option.text(
    'What the message belongs to, such as a tenant: groups of a queue take turns, and limits may hold for each of them.',
    { default: null, check: checkKey },
  ),
  dedupId: option.text('A second message with this id is refused as DUPLICATE within the window.', {
    default: null,
    check: checkDedupId,
  }),
  dedupWindow: option.duration('How long a dedup id is remembered.', {
    default: null,
    defaultText: '5m',
    ...maxWindow,
  }),
  dedup: option.object('The same in full: what becomes of a second message with the id.', dedupOptions),
  uniqueTarget: option.boolean(
    'Refuses the message as DUPLICATE while another one with the same meta.targetId is waiting or being handled.',
    { default: false },
  ),
  ttl: ttl('How long the message is worth being handled, from when it is sent.', "the queue's"),
  track: option.boolean(
    'Counts the message as a task of meta.correlationId; when the last task has ended, meta.correlationQueue is told.',
    { default: false },
  ),
  tell: option.list<Milestone, Milestone, null>(
    'Of what meta.correlationQueue is told, by a message each, with `track`: that a task failed for good, that all were done, that the last has ended.',
    option.choice('', milestones, { default: 'allEnded' }),
    { default: null, defaultText: "['allEnded']", min: 1, max: 3 },
  ),
} as const

export const txOption = {
  tx: option.value<AnyTransaction, Transaction | null>(
    "The application's open transaction, of pg, postgres.js, Drizzle, Kysely, Knex, TypeORM or Prisma, or any object with query(text, values).",
    { default: null, defaultText: 'none', typeText: 'transaction', parse: parseTransaction },
  ),
} as const

export type TxOptions = option.OptionsInput<typeof txOption>

export const sendOptionsWithTx = { ...sendOptions, ...txOption } as const
export type SendOptions = option.OptionsInput<typeof sendOptionsWithTx>
export const publishBatchOptions = {
  ...txOption,
  mandatory: option.boolean(
    'Refuses with NO_ROUTE what no queue or topic is bound for, instead of storing it nowhere.',
    {
      default: false,
    },
  ),
} as const
export type PublishBatchOptions = option.OptionsInput<typeof publishBatchOptions>
export const publishOptions = { ...sendOptions, delay: delayOption, ...publishBatchOptions } as const
export type PublishOptions = option.OptionsInput<typeof publishOptions>
/** The options of one of several messages. */
export type EntryOptions = option.OptionsInput<typeof sendOptions>
export interface SendEntry<In> extends EntryOptions {
  readonly data: In
}

export const limitOption = (defaultLimit: number, max = 1_000) =>
  option.integer('The largest number of messages to return.', {
    default: defaultLimit,
    min: 1,
    max,
    rangeCode: 'LIMIT_RANGE',
  })
const waitOption = option.duration('Waits this long for the first message.', { default: 0, min: 0, max: 3_600_000 })
export const signalOption = option.value<AbortSignal, AbortSignal | null>('Ends the waiting early.', {
  default: null,
  defaultText: 'none',
  typeText: 'AbortSignal',
  parse: parseSignal,
})

const readLease = leaseOption(30_000)
/** Where nobody says for how long a reader has a message. */
export const defaultLeaseMs = readLease.defaultValue

export const readOptions = {
  limit: limitOption(1),
  lease: orStored(readLease),
  wait: waitOption,
  signal: signalOption,
} as const
export type ReadOptions = option.OptionsInput<typeof readOptions>

export const readByIdOptions = { lease: orStored(readLease) } as const
export type ReadByIdOptions = option.OptionsInput<typeof readByIdOptions>
export const popOptions = { limit: limitOption(1), wait: waitOption, signal: signalOption } as const
export type PopOptions = option.OptionsInput<typeof popOptions>

export const peekOptions = {
  limit: limitOption(10),
  place: option.value<Place, Place | null>(
    'Only messages in this state; archived ones are shown only when asked for.',
    {
      default: null,
      defaultText: 'all but archived',
      typeText: "'ready', 'delayed', 'leased' or 'archived'",
      parse: parsePlace,
    },
  ),
  after: option.text('Only messages after this id.', { default: null, check: checkMessageId }),
  meta: option.value<Where['meta'], Wanted | null>('Only messages whose meta has these fields; null: lacks them.', {
    default: null,
    defaultText: 'any',
    typeText: 'object',
    parse: parseMetaWhere,
  }),
  newest: option.boolean('The newest messages, newest first, instead of the oldest. Reads all of them through.', {
    default: false,
  }),
} as const
export type PeekOptions = option.OptionsInput<typeof peekOptions>

function parseDeadLetter(value: unknown, path: string): string | false {
  return value === false ? false : checkQueueName(value, path)
}

function parseTime(value: unknown, path: string): number {
  const time = value instanceof Date ? value.getTime() : typeof value === 'string' ? parseIsoTime(value) : Number.NaN
  if (Number.isFinite(time)) return time
  throw new TidingsError('DELAY_RANGE', `${path} is ${show(value)}, which is not a time`, { details: { field: path } })
}

/**
 * Date.parse alone takes 'foo 2030' for a time, and February 30 for March 2. A space is as good as the T before the
 * hours, and +02 as good as +02:00: Python and databases write them.
 * @returns NaN for what is no time
 */
export function parseIsoTime(text: string): number {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)(?:[T ]|$)/.exec(text) ?? []
  const dayOfMonth = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate()
  if (dayOfMonth !== Number(day)) return Number.NaN
  return Date.parse(text.replace(' ', 'T').replace(/(:[\d.]+[+-]\d\d)$/, '$1:00'))
}

/** A time, parsed to milliseconds since 1970. */
export const moment = (doc: string, defaultText: string) => ({
  ...option.value<Date | string, number | null>(doc, {
    default: null,
    defaultText,
    typeText: 'Date or ISO 8601 text',
    parse: parseMoment,
  }),
  jsonSchema: { type: 'string', format: 'date-time' },
})

function parseMoment(value: unknown, path: string): number {
  const time = value instanceof Date ? value.getTime() : typeof value === 'string' ? parseIsoTime(value) : Number.NaN
  if (!Number.isFinite(time)) throw option.typeError(path, value, 'a Date or an ISO 8601 text')
  return time
}

/** A time that has passed means now, whatever the clock of the storage says. */
export const unlessPast = (time: number | null, now: number) => (time !== null && time > now ? time : null)

/** @throws DELAY_RANGE */
export function checkTime(time: number, now: number, path: string): void {
  if (time <= now + tenYearsMs) return
  const text = `${path} is ${new Date(time).toISOString()}; it must be within ten years from now`
  throw new TidingsError('DELAY_RANGE', text, { details: { field: path } })
}

/** No Date, Map or other instance: most of what these are would be lost. */
function isPlainObject(value: unknown): value is Record<string, JsonValue | undefined> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function parseMeta(value: unknown, path: string): SentMeta {
  if (!isPlainObject(value)) throw option.typeError(path, value, 'a plain object')
  return value
}

function parseHeaders(value: unknown, path: string): JsonObject {
  const headers = isPlainObject(value) ? toJsonValue(value, path) : value
  if (!isPlainObject(headers))
    throw new TidingsError('HEADERS_INVALID', `${path} is ${show(value)}; it must be a plain object`, {
      details: { field: path },
    })
  const reserved = Object.keys(headers).find((key) => /^x-(tidings|pgmq)-/i.test(key))
  if (reserved)
    throw new TidingsError(
      'HEADERS_INVALID',
      `${path} has ${show(reserved)}; 'x-tidings-' and 'x-pgmq-' are reserved`,
      {
        details: { field: path },
      },
    )
  return headers as JsonObject
}

function parseSignal(value: unknown, path: string): AbortSignal {
  if (!(value instanceof AbortSignal)) throw option.typeError(path, value, 'an AbortSignal')
  return value
}

function parsePlace(value: unknown, path: string): Place {
  const places: readonly unknown[] = ['ready', 'delayed', 'leased', 'archived']
  if (!places.includes(value)) throw option.typeError(path, value, "'ready', 'delayed', 'leased' or 'archived'")
  return value as Place
}

export function checkMessageId(value: unknown, path: string): asserts value is string {
  if (typeof value !== 'string' || !/^[\w-]{1,64}$/.test(value))
    throw new TidingsError('MESSAGE_ID_INVALID', `${path} is ${show(value)}, which is not an id of a message`, {
      details: { field: path },
    })
}

export function checkDedupId(value: string, path: string): void {
  checkKey(value, path, 'DEDUP_ID_INVALID')
}

/** What storages can index and tell apart. */
export function checkKey(value: string, path: string, code: ErrorCode = 'RANGE'): void {
  const bytes = Buffer.byteLength(value)
  if (bytes > 0 && bytes <= 255 && !value.includes('\u0000') && value.isWellFormed()) return
  const text = bytes === 0 ? 'empty' : `${show(value)}, ${bytes} bytes`
  const rule = 'it must have 1 to 255 bytes, without NUL characters and lone surrogates'
  throw new TidingsError(code, `${path} is ${text}; ${rule}`, { details: { field: path } })
}
