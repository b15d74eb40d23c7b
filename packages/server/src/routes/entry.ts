import { systemClock } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import { checkJson, type JsonObject, toJson, toJsonValue } from 'tidings/internal/core/json'
import { checkQueueName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import { type DedupNames, dedupOf } from 'tidings/internal/messages/dedup'
import { expiryMeta } from 'tidings/internal/messages/expiry'
import {
  checkKey,
  dedupOptions,
  orStored,
  parseIsoTime,
  sendOptions,
  unlessPast,
} from 'tidings/internal/messages/options'
import { type Composed, checkProperties, type FieldNames } from 'tidings/internal/messages/prepare'
import type { Tracked } from 'tidings/internal/port/engine'
import { toWireMeta } from 'tidings/internal/port/meta'
import { named, shape } from '../http/fields.ts'
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

/** Of a result. */
export const replaced = shape.optional(shape.flag('True if a message that nobody had read has these data now.'))

/** What stands beside the data of a message. */
const propertyFields = {
  meta: anyObject('What the bus should know about the message, by the names of the wire: `correlation_id`.'),
  headers: { ...sendOptions.headers, jsonSchema: { type: 'object' } },
  delay_ms: orStored(delayMs),
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
  group: sendOptions.group,
  dedup: named(
    'Dedup',
    option.object('What becomes of a second message with this id: it is not stored, or replaces the first.', {
      id: dedupOptions.id,
      window_ms: {
        ...option.integer(dedupOptions.for.doc, { default: null, min: 1, max: 2_592_000_000 }),
        defaultText: dedupOptions.for.defaultText,
      },
      replace: dedupOptions.replace,
      extend: dedupOptions.extend,
      at_most_ms: option.integer(dedupOptions.atMost.doc, { default: null, min: 0, max: longestDelayMs }),
      while_active: dedupOptions.whileActive,
    }),
  ),
  unique_target: option.text('Stores no second message for this target while the first is in the queue.', {
    default: null,
    check: checkKey,
  }),
  bare: option.boolean('Stores the data alone, with meta in a header, for readers that know no envelope.', {
    default: false,
  }),
  tracked: named(
    'Tracked',
    option.object('Counts the message as a task of a correlation.', {
      correlation_id: option.required(option.text('Its id.', { default: null, check: checkKey })),
      completion_queue: option.text('The queue that is told when the last task has ended.', {
        default: null,
        check: (value, path) => void checkQueueName(value, path),
      }),
      milestones: sendOptions.tell,
    }),
  ),
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
  const { not_before: notBefore, priority, group, tracked } = entry
  const delayMs = entry.delay_ms ?? 0
  const { dedup, orderingKey } = dedupIn(entry, context)
  const now = systemClock.now()
  // A client of ours has composed the message by itself, and meant what it says.
  if (!exact) checkProperties({ delayMs, notBefore, priority, orderingKey }, names, now)
  // The time goes before the delay.
  const times = { delayMs: notBefore === null ? delayMs : 0, notBefore: unlessPast(notBefore, now) }
  const message = {
    data: exact ? checkedText(entry, names.data, context) : writtenData(entry, names.data, context),
    meta: { ...metaOf(entry, context), ...expiryMeta(entry.ttl_ms, times, now, names.ttl) },
    headers: entry.headers,
    ...times,
    priority,
    orderingKey,
    ...(group === null ? {} : { group }),
    dedup,
    uniqueTarget: entry.unique_target,
    bare: entry.bare,
    ...(tracked === null ? {} : { tracked: toTracked(tracked, access) }),
  }
  // A client of ours has looked what is stored for the queue.
  return { message, names, isUntimed: !exact && entry.delay_ms === null && notBefore === null }
}

function dedupIn(entry: Entry, { path }: EntryContext) {
  const { dedup, ordering_key: orderingKey, priority, unique_target, tracked } = entry
  if (dedup === null) return { dedup, orderingKey }
  const { window_ms, at_most_ms, while_active, ...wish } = dedup
  const beside = { orderingKey, priority, uniqueTarget: unique_target !== null, track: tracked !== null }
  return dedupOf({ ...wish, for: window_ms, atMost: at_most_ms, whileActive: while_active }, beside, wireNames(path))
}

function wireNames(path: string): DedupNames {
  const within = (name: string) => (path ? `${path}.${name}` : name)
  return {
    for: within('dedup.window_ms'),
    replace: within('dedup.replace'),
    extend: within('dedup.extend'),
    atMost: within('dedup.at_most_ms'),
    whileActive: within('dedup.while_active'),
    uniqueTarget: within('unique_target'),
    track: within('tracked'),
    priority: within('priority'),
  }
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
  const { correlation_id: correlationId, completion_queue: completionQueue, milestones } = tracked
  if (completionQueue !== null && !access.allows('send', completionQueue))
    throw new TidingsError('FORBIDDEN', `the token is not good for sending to queue '${completionQueue}'`)
  return { correlationId, completionQueue, ...(milestones === null ? {} : { milestones }) }
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
export const pgmqDelay = option.value<number | string, { delayMs: number; notBefore: number | null } | null>(
  'Becomes ready after so many seconds, or at this time.',
  {
    default: null,
    defaultText: 'as stored for the queue, else now',
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
