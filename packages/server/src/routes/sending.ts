import { TidingsError } from 'tidings/internal/core/errors'
import type { JsonObject } from 'tidings/internal/core/json'
import * as option from 'tidings/internal/core/options'
import type { SendResult, SendTerms } from 'tidings/internal/port/engine'
import { toNumericId } from 'tidings/internal/protocol/messages'
import { named, shape } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'
import { compose, type Entry, entryFields, pgmqDelay, replaced } from './entry.ts'

const tag = 'Sending'
const maxBatch = 10_000

const resultFields = {
  id: shape.text("The id of the message, or of the first one if this is a duplicate or replaced that one's data."),
  duplicate: shape.flag('Whether it was stored before, and not now.'),
  replaced,
} as const

/** On what terms a batch is stored. */
const termsFields = {
  max_length: option.integer('Stores nothing, 429, where the queue would hold more messages than this.', {
    default: null,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  }),
  durability: option.choice(
    "'fsync' stores nothing, 501, unless the storage has it on disk when it answers.",
    ['default', 'fsync'],
    { default: 'default' },
  ),
}
const toTerms = ({ max_length, durability }: option.OptionsOutput<typeof termsFields>): SendTerms => ({
  maxLength: max_length ?? undefined,
  durability: durability === 'fsync' ? durability : undefined,
})
const refusals = {
  429: { description: 'The queue would hold more than `max_length`; nothing was stored.' },
  501: { description: 'The storage cannot promise the `durability`; nothing was stored.' },
}

const batchOf = <I, O>(doc: string, items: option.Option<I, O>) =>
  option.list(doc, items, { default: null, min: 1, max: maxBatch, rangeCode: 'BATCH_SIZE' })

const headersOrNull: option.Option<JsonObject | null, JsonObject> = {
  ...entryFields.headers,
  jsonSchema: { type: ['object', 'null'] },
  parse: (value, path) => entryFields.headers.parse(value ?? {}, path),
}

export const entriesOption = batchOf(
  'The messages, with all that belongs to them.',
  option.required(named('NewMessage', option.object('', entryFields))),
)

export const sendingRoutes: readonly Route[] = [
  route({
    name: 'sendMessage',
    method: 'POST',
    path: '/v1/queues/{queue}/messages',
    tag,
    summary: 'Sends a message',
    scope: 'send',
    body: { ...entryFields, delay: pgmqDelay, ...termsFields },
    example: { message: { orderId: 7, total: '12.50' }, meta: { correlation_id: 'c-1' }, delay_ms: 500 },
    answers: {
      201: { description: 'It is stored for good.', fields: { msg_id: shape.numericId, ...resultFields } },
      ...refusals,
    },
    async handle({ bus, params: { queue }, body, access, exact, maxMessageBytes }) {
      const { delay, max_length, durability, ...entry } = body
      const context = { access, queue, routingKey: null, exact, maxMessageBytes, path: '' }
      const composed = compose(withDelay(entry, delay), context)
      const [result] = await bus.stored
        .queue(queue, { maxMessageBytes })
        .send([composed], toTerms({ max_length, durability }))
      return { status: 201, body: { msg_id: toNumericId(result!.id), ...result } }
    },
  }),

  route({
    name: 'sendMessages',
    method: 'POST',
    path: '/v1/queues/{queue}/messages/batch',
    tag,
    summary: 'Sends messages, all or none',
    description: 'Either `messages`, with `headers` and `delay` beside them, or `entries`.',
    scope: 'send',
    body: {
      messages: batchOf('The data of each.', option.json('')),
      headers: batchOf('The headers of each message, or null.', headersOrNull),
      delay: pgmqDelay,
      entries: entriesOption,
      ...termsFields,
    },
    example: {
      entries: [
        { message: { orderId: 7 }, ordering_key: 'customer-3' },
        { message: { orderId: 8 }, priority: 5 },
      ],
    },
    answers: {
      201: {
        description: 'They are stored for good, in their order.',
        fields: {
          msg_ids: shape.several('Their ids.', shape.numericId),
          results: shape.several(
            'The same with duplicates told apart.',
            named('SendResult', option.object('', resultFields)),
          ),
        },
      },
      ...refusals,
    },
    async handle({ bus, params: { queue }, body, access, exact, maxMessageBytes }) {
      const [field, entries] = entriesOf(body)
      const composed = entries.map((entry, index) =>
        compose(entry, {
          access,
          queue,
          routingKey: null,
          // In `messages` data are always themselves.
          exact: exact && field === 'entries',
          maxMessageBytes,
          path: `${field}[${index}]`,
        }),
      )
      const results = await bus.stored.queue(queue, { maxMessageBytes }).send(composed, toTerms(body))
      return { status: 201, body: toWireResults(results) }
    },
  }),
]

const toWireResults = (results: readonly SendResult[]) => ({
  msg_ids: results.map(({ id }) => toNumericId(id)),
  results,
})

interface Batch {
  readonly messages: readonly unknown[] | null
  readonly headers: readonly Entry['headers'][] | null
  readonly delay: Delay
  readonly entries: readonly Entry[] | null
}

type Delay = (typeof pgmqDelay)['defaultValue']

const isSet = ({ delayMs, notBefore }: NonNullable<Delay>) => delayMs > 0 || notBefore !== null

const emptyEntry = option.required(option.object('', entryFields)).parse({}, '')

function entriesOf({ messages, headers, delay, entries }: Batch): ['messages' | 'entries', readonly Entry[]] {
  if ((messages === null) === (entries === null))
    throw new TidingsError('OPTION_CONFLICT', `'messages' and 'entries' are ${messages ? 'both' : 'neither'} given`, {
      hint: 'Send one of the two.',
    })
  if (entries !== null) {
    if (headers !== null || (delay !== null && isSet(delay)))
      throw new TidingsError('OPTION_CONFLICT', "'headers' and 'delay' stand within 'entries'")
    return ['entries', entries]
  }
  if (headers !== null && headers.length !== messages!.length)
    throw new TidingsError('BATCH_SIZE', `there are ${messages!.length} messages and ${headers.length} headers`)
  const all = messages!.map((message, index) =>
    withDelay({ ...emptyEntry, message, headers: headers?.[index] ?? {} }, delay),
  )
  return ['messages', all]
}

function withDelay(entry: Entry, delay: Delay): Entry {
  if (delay === null) return entry
  const hasOwn = isSet({ delayMs: entry.delay_ms ?? 0, notBefore: entry.not_before })
  if (hasOwn && !isSet(delay)) return entry
  if (hasOwn) throw new TidingsError('OPTION_CONFLICT', "'delay' is given beside 'delay_ms' or 'not_before'")
  return { ...entry, delay_ms: delay.delayMs, not_before: delay.notBefore }
}
