import { fromJson, type JsonObject, type JsonValue } from '../core/json.ts'
import { fromWireMeta, type MessageMeta } from '../port/meta.ts'

interface OfQueue {
  readonly queue: string
  readonly namespace: string
  /** Further facts, unchanged. */
  readonly metadata: JsonObject
}

interface Ready extends OfQueue {
  readonly readyAt: Date
  /** Whole seconds from sending until the message could be read. */
  readonly delaySeconds: number
}

/** An event of a queue. The message belongs to nobody until it is claimed: `queue.readById(event.id)`. */
export type QueueEvent =
  | (OfQueue & { readonly type: 'queue_created'; readonly createdAt: Date })
  /** A message whose event would be too large with its data. */
  | (Ready & { readonly type: 'message_ready'; readonly id: string })
  /** A message with its data and meta. The event is no lease: claim the message before working on it. */
  | (Ready & {
      readonly type: 'message_with_payload'
      readonly id: string
      readonly data: unknown
      readonly meta: MessageMeta
    })
  /** Messages that were sent together. `ids` is null if they did not fit (`truncated`). */
  | (Ready & {
      readonly type: 'batch_ready'
      readonly count: number
      readonly ids: readonly string[] | null
      readonly truncated: boolean
    })

/**
 * Reads an event from its text.
 * @throws Error with the reason
 */
export function parseEvent(text: string): QueueEvent {
  const fields = new Fields(fromJson(text))
  const type = fields.text('event_type')
  const ofQueue = {
    queue: fields.text('queue_name'),
    namespace: fields.text('namespace'),
    metadata: fields.object('metadata'),
  }
  if (type === 'queue_created') return { type, ...ofQueue, createdAt: fields.date('created_at') }
  const ready = { ...ofQueue, readyAt: fields.date('ready_at'), delaySeconds: fields.count('delay_seconds', 0) }
  switch (type) {
    case 'message_ready':
      return { type, ...ready, id: fields.id('msg_id') }
    case 'message_with_payload':
      return { type, ...ready, id: fields.id('msg_id'), ...openEnvelope(fields.value('message')) }
    case 'batch_ready': {
      const ids = fields.ids('msg_ids')
      return { type, ...ready, count: fields.count('message_count', ids?.length), ids, truncated: ids === null }
    }
    default:
      throw new Error(`event_type is '${type}', which is not known`)
  }
}

/** A body is {"data": …, "meta": {…}} and nothing else, or bare data. */
function openEnvelope(message: JsonValue): { data: unknown; meta: MessageMeta } {
  if (isObject(message) && 'data' in message && isObject(message.meta) && Object.keys(message).length === 2)
    return { data: message.data, meta: fromWireMeta(message.meta) }
  return { data: message, meta: {} }
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The fields of an event, each checked on access. */
class Fields {
  readonly #fields: JsonObject

  constructor(value: unknown) {
    if (!isObject(value)) throw new Error('it is not a JSON object')
    this.#fields = value
  }

  value(name: string): JsonValue {
    const value = this.#fields[name]
    if (value === undefined) throw new Error(`${name} is missing`)
    return value
  }

  text(name: string): string {
    const value = this.value(name)
    if (typeof value !== 'string') throw new Error(`${name} is not a text`)
    return value
  }

  /** A missing field is an empty object. */
  object(name: string): JsonObject {
    const value = this.#fields[name] ?? {}
    if (!isObject(value)) throw new Error(`${name} is not an object`)
    return value
  }

  count(name: string, otherwise: number | undefined): number {
    const value = this.#fields[name] ?? otherwise
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
      throw new Error(`${name} is not a count`)
    return value
  }

  date(name: string): Date {
    const date = new Date(this.text(name))
    if (Number.isNaN(date.getTime())) throw new Error(`${name} is not a time`)
    return date
  }

  id(name: string): string {
    return toId(this.value(name), name)
  }

  /** Null without ids. */
  ids(name: string): string[] | null {
    const value = this.#fields[name]
    if (value === undefined || value === null) return null
    if (!Array.isArray(value)) throw new Error(`${name} is not a list`)
    return value.map((one) => toId(one, name))
  }
}

/** Ids are numbers on the wire; `fromJson` gives large ones as bigint. */
function toId(value: unknown, name: string): string {
  const text = String(value)
  if (!/^\d{1,19}$/.test(text)) throw new Error(`${name} is not an id`)
  return text
}
