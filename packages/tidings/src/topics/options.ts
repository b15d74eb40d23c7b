import { show, TidingsError } from '../core/errors.ts'
import { checkText } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import type { Serializer } from '../core/serializer.ts'
import {
  delayOption,
  limitOption,
  messageBytesOption,
  parseIsoTime,
  queueOptions,
  sendOptions,
  signalOption,
  txOption,
} from '../messages/options.ts'
import type { Position, Retention } from '../port/topic-store.ts'

export const retentionOptions = {
  maxAge: option.duration('Messages that are older are removed.', {
    default: null,
    defaultText: 'for ever',
    min: 1_000,
    max: 315_360_000_000,
  }),
  maxBytes: option.integer('The oldest messages are removed while the topic is larger.', {
    default: null,
    defaultText: 'any size',
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
  }),
  whenRead: option.boolean('What every subscription has read is removed.', { default: false }),
} as const
export type RetentionOptions = option.OptionsInput<typeof retentionOptions>

const maxDescription = 1_000

export const descriptionOption = {
  ...option.text('For people, at most 1,000 characters.', { default: null, check: checkDescription }),
  jsonSchema: { type: 'string', maxLength: maxDescription },
}

export const topicOptions = {
  schema: {
    ...queueOptions.schema,
    doc: 'A Standard Schema; data is checked when published and when read, and its type is inferred.',
  },
  serializer: queueOptions.serializer,
  create: option.boolean('Creates the topic when it is used and missing.', { default: true }),
  description: descriptionOption,
  retention: option.value<RetentionOptions, Retention | null>('What is removed, oldest first.', {
    default: null,
    defaultText: 'everything is kept',
    typeText: '{ maxAge, maxBytes, whenRead }',
    parse: parseRetention,
  }),
  maxMessageBytes: messageBytesOption,
} as const
export type TopicOptions = option.OptionsInput<typeof topicOptions>
/** From the schema the type of the data is inferred. */
export interface TopicOptionsWithSchema<S extends StandardSchemaV1> extends TopicOptions {
  readonly schema: S
}
/** From the serializer the type of the data is inferred. */
export interface TopicOptionsWithSerializer<T> extends TopicOptions {
  readonly serializer: Serializer<T>
}

/** Delay, priority, ordering key, target and tracking apply to the copies in linked queues. */
export const topicPublishOptions = {
  ...sendOptions,
  delay: delayOption,
  dedupId: { ...sendOptions.dedupId, doc: 'A second message with this id is not stored within the window.' },
  ...txOption,
} as const
export type TopicPublishOptions = option.OptionsInput<typeof topicPublishOptions>

/** A position in a topic: the offset of the next message to read, a time, or an end. */
export type PositionInput = number | 'earliest' | 'latest' | Date | string

export const fromOption = option.value<PositionInput, Position>(
  'Where the subscription begins if it is made now: the first message that is there, only new ones, the message of an offset, or a time.',
  {
    default: 'latest',
    defaultText: 'latest',
    typeText: "'earliest', 'latest', offset, Date or ISO 8601 text",
    parse: parsePosition,
  },
)

export const createSubscriptionOptions = { from: fromOption } as const
export type CreateSubscriptionOptions = option.OptionsInput<typeof createSubscriptionOptions>

export const topicReadOptions = {
  after: option.integer('Only messages after this offset.', { default: 0, min: 0, max: Number.MAX_SAFE_INTEGER }),
  limit: limitOption(10),
} as const
export type TopicReadOptions = option.OptionsInput<typeof topicReadOptions>

export const fetchOptions = {
  limit: limitOption(1),
  wait: option.duration('Waits this long for the first message.', { default: 0, min: 0, max: 3_600_000 }),
  signal: signalOption,
} as const
export type FetchOptions = option.OptionsInput<typeof fetchOptions>

export const seekOptions = {
  subscription: { ...option.text('Only this subscription.', { default: null }), defaultText: 'all' },
} as const
export type SeekOptions = option.OptionsInput<typeof seekOptions>

/** @throws TYPE, RANGE */
export function parsePosition(value: unknown, path: string): Position {
  if (value === 'earliest' || value === 'latest') return value
  if (typeof value === 'number') return { offset: checkOffset(value, path) }
  const time = value instanceof Date ? value.getTime() : typeof value === 'string' ? parseIsoTime(value) : Number.NaN
  if (Number.isFinite(time)) return { time }
  throw option.typeError(path, value, "'earliest', 'latest', an offset, a Date or an ISO 8601 text")
}

/** @throws TYPE, RANGE */
export function checkOffset(value: unknown, path: string): number {
  if (typeof value !== 'number') throw option.typeError(path, value, 'an offset')
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new TidingsError('RANGE', `${path} is ${show(value)}; it must be a whole number, 0 or more`, {
    details: { field: path, value },
  })
}

function checkDescription(value: string, path: string): void {
  checkText(value, path)
  const { length } = [...value]
  if (length <= maxDescription) return
  throw new TidingsError('RANGE', `${path} has ${length} characters; at most ${maxDescription}`, {
    details: { field: path, max: maxDescription },
    hint: 'Shorten it.',
  })
}

function parseRetention(value: unknown, path: string): Retention {
  const { maxAge, maxBytes, whenRead } = option.parseOptions(retentionOptions, value ?? null, path)
  return { maxAgeMs: maxAge, maxBytes, whenRead }
}
