import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { checkMessageId } from 'tidings/internal/messages/options'
import type { StoredMessage } from 'tidings/internal/port/engine'
import { messageText } from 'tidings/internal/protocol/messages'
import type { Call } from './route.ts'

const number = (doc: string) =>
  option.integer(doc, { default: null, min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER })
const flag = (doc: string) => option.boolean(doc, { default: false })
const text = (doc: string) => option.text(doc, { default: null })
const time = (doc: string) => ({ ...text(doc), jsonSchema: { type: 'string', format: 'date-time' } })
const nullable = <O extends { readonly jsonSchema?: option.JsonSchema }>(one: O) => ({
  ...one,
  jsonSchema: { anyOf: [one.jsonSchema ?? {}, { type: 'null' }] },
})
/** May be left out of an answer; any other field is always there. */
const optional = <O extends object>(one: O) => ({ ...one, required: false })
/** The name of an object's schema in OpenAPI, and so of a type in clients made from that. */
export const named = <O extends object>(schemaName: string, one: O) => ({ ...one, schemaName })
const anyMembers = (doc: string) => ({ ...option.json(doc), jsonSchema: { type: 'object' } })
const several = (doc: string, items: option.Option<unknown, unknown>) => ({
  ...option.list(doc, items, { default: [], min: 0, max: Number.MAX_SAFE_INTEGER }),
  jsonSchema: { type: 'array' },
})
const numericId = option.value<number | string, string>('The id of a message; a number where it can be one exactly.', {
  default: '',
  defaultText: 'none',
  typeText: 'whole number or text',
  jsonSchema: { type: ['integer', 'string'] },
  parse: parseId,
})

/** The makings of answers; requests are declared where they are handled. */
export const shape = { number, flag, text, time, nullable, optional, anyMembers, several, numericId } as const

/** The data of a message, in one of two forms. */
export const dataFields = {
  message: optional(option.json('The data. Left out with `Tidings-Data: text`.')),
  data: optional(text('With `Tidings-Data: text`: the data as JSON text, instead of `message`.')),
} as const

/** One message, as it is answered. */
export const messageFields = {
  msg_id: numericId,
  id: text('The id of the message.'),
  read_ct: number('How often it was read, this time included.'),
  enqueued_at: time('When it was sent.'),
  first_read_at: nullable(time('When it was read first.')),
  last_read_at: nullable(time('When it was read last.')),
  archived_at: nullable(time('When it was archived.')),
  vt: time('When it can be read, or read again.'),
  ...dataFields,
  headers: nullable(anyMembers("The application's own headers.")),
  meta: anyMembers('What the bus knows about it.'),
  priority: number('Higher is read first.'),
  ordering_key: nullable(text('Messages of one key are read one after the other.')),
  group: nullable(text('What it belongs to, for fairness and limits.')),
  receipt: nullable(text('Proves the lease.')),
} as const

export const messageList = {
  messages: several('The messages.', named('Message', option.object('', messageFields))),
} as const

/** What of a call decides how messages are answered. */
export type Showing = Pick<Call<'{queue}'>, 'exact' | 'redacted' | 'params'>

/** A message of the queue as it is answered. */
export const shownText = (message: StoredMessage, { params, redacted, exact }: Showing) =>
  messageText(redacted(params.queue, message), exact)

/** The messages as they are answered, with further fields beside them. */
export function messagesText(messages: readonly StoredMessage[], call: Showing, beside: object): string {
  return `{"messages":[${messages.map((one) => shownText(one, call)).join()}],${JSON.stringify(beside).slice(1)}`
}

export const afterId = option.text('Only messages after this id.', { default: null, check: checkMessageId })

/** What a client's process calls itself; must be random, since whoever knows it can speak for it by the same token. */
export const holder = {
  ...option.text('Names the process that asks: random, and told to nobody else.', {
    default: null,
    check: checkHolder,
  }),
  defaultText: 'nobody',
  jsonSchema: { type: 'string', pattern: '^[A-Za-z0-9_-]{22,128}$' },
}

function checkHolder(value: string, path: string): void {
  if (/^[\w-]{22,128}$/.test(value)) return
  throw new TidingsError('TYPE', `${path} is not 22 to 128 letters, digits, '_' and '-'`, { details: { field: path } })
}

/** @param fields those of the body that say nothing without a holder */
export function checkHasHolder(holder: string | null, fields: Readonly<Record<string, boolean>>): void {
  const [name] = Object.entries(fields).find(([, isGiven]) => isGiven) ?? []
  if (holder !== null || name === undefined) return
  throw new TidingsError('OPTION_CONFLICT', `${name} is given without holder`, {
    details: { field: name },
    hint: 'Name the process with `holder`, a random text.',
  })
}

/** Ids as clients send them: numbers are PGMQ's. */
export const idsOption = (doc: string, { min = 1 } = {}) =>
  option.list(doc, numericId, { default: null, min, max: 10_000, rangeCode: 'BATCH_SIZE' })
export const idList = option.required(idsOption('Ids of messages.'))

function parseId(value: unknown, path: string): string {
  const id = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
  checkMessageId(typeof id === 'bigint' ? String(id) : id, path)
  return String(id)
}
