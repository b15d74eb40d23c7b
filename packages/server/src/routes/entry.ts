import { systemClock } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import { checkJson, type JsonObject, toJson, toJsonValue } from 'tidings/internal/core/json'
import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { expiryMeta } from 'tidings/internal/messages/expiry'
import { toWireMeta } from 'tidings/internal/messages/message'
import { checkKey, parseIsoTime, sendOptions } from 'tidings/internal/messages/options'
import { type Composed, checkProperties, type FieldNames } from 'tidings/internal/messages/prepare'
import type { Tracked } from 'tidings/internal/port/engine'
import type { Access } from '../http/route.ts'

/** Twenty years: what clients may ask for ends at ten of them, by clocks of their own. */
const longestDelayMs = 631_152_000_000

/** An object with any JSON in it; null where none is given. */
export const anyObject = (doc: string) =>
  option.value<JsonObject, JsonObject | null>(doc, {
    default: null,
    defaultText: 'none',
    typeText: 'object',
    jsonSchema: { type: 'object' },
    parse: (value, path) => toJsonValue(sendOptions.meta.parse(value, path), path) as JsonObject,
  })

export const delayMs = option.integer('Becomes ready after so many milliseconds.', {
  default: 0,
  min: 0,
  max: longestDelayMs,
  rangeCode: 'DELAY_RANGE',
})

/** What stands beside the data of a message. */
const propertyFields = {
  meta: anyObject('What the bus should know about the message, by the names of the wire: `correlation_id`.'),
  headers: { ...sendOptions.headers, jsonSchema: { type: 'object' } },
  delay_ms: delayMs,
  not_before: option.value<string, number | null>('Becomes ready at this time.', {
    default: null,
    defaultText: 'now',
    typeText: 'ISO 8601 text',
    jsonSchema: { type: 'string', format: 'date-time' },
    parse: parseTime,
  }),
  ttl_ms: option.integer('Expires so many milliseconds after it was sent, if nobody has handled it by then.', {
    default: null,
    min: 1,
    max: longestDelayMs,
  }),
  priority: sendOptions.priority,
  ordering_key: sendOptions.orderingKey,
  dedup: option.object('Stores no second message of this id within the window.', {
    id: option.required(sendOptions.dedupId),
    window_ms: option.integer('How long the id is remembered.', {
      default: sendOptions.dedupWindow.defaultValue,
      min: 1,
      max: 2_592_000_000,
    }),
  }),
  unique_target: option.text('Stores no second message for this target while the first is in the queue.', {
    default: null,
    check: checkKey,
  }),
  bare: option.boolean('Stores the data alone, with meta in a header, for readers that know no envelope.', {
    default: false,
  }),
  tracked: option.object('Counts the message as a task of a correlation.', {
    correlation_id: option.required(option.text('Its id.', { default: null, check: checkKey })),
    completion_queue: option.text('The queue that is told when the last task has ended.', {
      default: null,
      check: (value, path) => void checkQueueName(value, path),
    }),
  }),
} as const

/** A message to be stored. */
export const entryFields = {
  message: option.json('The data.'),
  data: option.text(
    'The data as JSON text; only with the header `Tidings-Data: text`, and then instead of `message`.',
    {
      default: null,
    },
  ),
  ...propertyFields,
} as const
export type Entry = option.OptionsOutput<typeof entryFields>

/** What else of a request its messages depend on. */
export interface EntryContext {
  readonly access: Access
  /** Null for what goes to many. */
  readonly queue: string | null
  readonly routingKey: string | null
  readonly exact: boolean
  /** Of the data, as JSON. */
  readonly maxMessageBytes: number
  /** The start of the path in errors: 'entries[3]'. Empty: the body itself. */
  readonly path: string
}

/**
 * @throws TYPE where data are missing or come in the other form; FORBIDDEN for a completion queue that the token may not
 *   send to; BODY_TOO_LARGE and what else toJson and the meta throw; OPTION_CONFLICT
 */
export function compose(entry: Entry, context: EntryContext): Composed {
  const { access, exact } = context
  const names = namesIn(context)
  const times = { delayMs: entry.delay_ms, notBefore: entry.not_before }
  const { priority, ordering_key: orderingKey, dedup, tracked } = entry
  const now = systemClock.now()
  // A client of ours has composed the message by itself, and meant what it says.
  if (!exact) checkProperties({ ...times, priority, orderingKey }, names, now)
  const message = {
    data: exact ? checkedText(entry, names.data, context) : writtenData(entry, names.data, context),
    meta: { ...metaOf(entry, context), ...expiryMeta(entry.ttl_ms, times, now, names.ttl) },
    headers: entry.headers,
    ...times,
    priority,
    orderingKey,
    dedup: dedup === null ? null : { id: dedup.id, windowMs: dedup.window_ms },
    uniqueTarget: entry.unique_target,
    bare: entry.bare,
    ...(tracked === null ? {} : { tracked: toTracked(tracked, access) }),
  }
  return { message, names }
}

function namesIn({ exact, path }: EntryContext): FieldNames {
  const within = (name: string) => (path ? `${path}.${name}` : name)
  return {
    data: within(exact ? 'data' : 'message'),
    delay: within('delay_ms'),
    at: within('not_before'),
    orderingKey: within('ordering_key'),
    priority: within('priority'),
    ttl: within('ttl_ms'),
  }
}

function metaOf({ meta }: Entry, { exact, queue, routingKey }: EntryContext): JsonObject {
  return exact ? (meta ?? {}) : toWireMeta(meta ?? {}, queue, routingKey)
}

function toTracked(tracked: NonNullable<Entry['tracked']>, access: Access): Tracked {
  const { correlation_id: correlationId, completion_queue: completionQueue } = tracked
  if (completionQueue !== null && !access.allows('send', completionQueue))
    throw new TidingsError('FORBIDDEN', `the token is not good for sending to queue '${completionQueue}'`)
  return { correlationId, completionQueue }
}

function writtenData({ message, data }: Entry, field: string, { maxMessageBytes }: EntryContext): string {
  if (message === undefined || data !== null) throw option.typeError(field, message, 'any JSON, and without `data`')
  return toJson(message, field, maxMessageBytes)
}

/** The text as it came: every engine can store what it says. */
function checkedText({ message, data }: Entry, field: string, { maxMessageBytes }: EntryContext): string {
  if (data === null || message !== undefined) throw option.typeError(field, data, 'JSON text, and without `message`')
  checkJson(data, field, maxMessageBytes)
  return data
}

function parseTime(value: unknown, path: string): number {
  const time = typeof value === 'string' ? parseIsoTime(value) : Number.NaN
  if (Math.abs(time) <= 253_402_300_800_000) return time
  throw new TidingsError('DELAY_RANGE', `${path} is not an ISO 8601 time`, { details: { field: path } })
}

/** As PGMQ's clients say it: seconds, or a time. */
export const pgmqDelay = option.value<number | string, { delayMs: number; notBefore: number | null }>(
  'Becomes ready after so many seconds, or at this time.',
  {
    default: { delayMs: 0, notBefore: null },
    defaultText: 'now',
    typeText: 'seconds, or ISO 8601 text',
    jsonSchema: {
      oneOf: [
        { type: 'number', minimum: 0 },
        { type: 'string', format: 'date-time' },
      ],
    },
    parse: (value, path) =>
      typeof value === 'number'
        ? { delayMs: delayMs.parse(Math.round(value * 1_000), path), notBefore: null }
        : { delayMs: 0, notBefore: parseTime(value, path) },
  },
)
