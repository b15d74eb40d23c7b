import { type JsonObject, type JsonValue, toJsonValue } from '../core/json.ts'
import { typeError } from '../core/options.ts'
import { checkRoutingKey } from '../core/pattern.ts'

/**
 * What the bus knows about a message beside its data. Fields of the application's own are kept as they are.
 * On the wire the names are in snake_case, as PGMQ-based buses in other languages write them.
 */
export interface MessageMeta {
  /** The queue that the message was sent to. Set by Tidings. */
  readonly queueName?: string
  /** The event that this message is one of the consequences of; tells when all of them are done. */
  readonly correlationId?: string
  /** The queue that wants to know when all of them are done. */
  readonly correlationQueue?: string
  /** The object that is acted on; for tracing it across queues. */
  readonly targetId?: string
  /** The version of the message's format. */
  readonly version?: string
  readonly sourceSystem?: string
  /** 'add', 'update', 'remove', 'lock' or another verb. */
  readonly actionType?: string
  readonly businessReason?: string
  readonly associatedPeriod?: string
  readonly eventKey?: string
  /** The routing key under which the message was published. Set by Tidings. */
  readonly routingKey?: string
  /** 'base64': the data is bytes, for the serializer of the queue. Set by Tidings. */
  readonly dataEncoding?: string
  /** For how long after `sentAt` it is worth being handled, in milliseconds. Set by Tidings, by the option `ttl`. */
  readonly ttlMs?: number
  /** The schedule that sent it, and the occurrence for which it did, as an ISO 8601 text. Set by Tidings. */
  readonly schedule?: string
  readonly scheduledFor?: string
  /** The error of the last attempt that failed. Set by Tidings, like all that follow. */
  readonly errorMessage?: string
  readonly stackTrace?: string
  /** The process that had the message in hand went away at this time; and had it read ahead, so that most probably no handler saw it. */
  readonly processLostAt?: string
  readonly readAheadLost?: boolean
  /** In a dead-letter queue: where the message comes from, its id there, how often it was tried, and when it ended. */
  readonly originQueue?: string
  readonly originId?: string
  /** The same where the message comes from a subscription of a topic. */
  readonly originTopic?: string
  readonly originSubscription?: string
  readonly originOffset?: number
  readonly attempts?: number
  readonly deadLetteredAt?: string
  /** In a replayed copy: the queue whose archive it is from, and its id there. */
  readonly replayedFromQueue?: string
  readonly replayedFromId?: string
  readonly [custom: string]: JsonValue | undefined
}

/** The same where it is sent: the id of a correlation may be a number, which is stored as text. */
export type SentMeta = {
  readonly [Field in keyof MessageMeta]: Field extends 'correlationId' ? string | number : MessageMeta[Field]
}

const wireNames = {
  queueName: 'queue_name',
  correlationId: 'correlation_id',
  correlationQueue: 'correlation_queue',
  targetId: 'target_id',
  version: 'version',
  sourceSystem: 'source_system',
  actionType: 'action_type',
  businessReason: 'business_reason',
  associatedPeriod: 'associated_period',
  eventKey: 'event_key',
  routingKey: 'routing_key',
  dataEncoding: 'data_encoding',
  ttlMs: 'ttl_ms',
  schedule: 'schedule',
  scheduledFor: 'scheduled_for',
  errorMessage: 'error_message',
  stackTrace: 'stack_trace',
  processLostAt: 'process_lost_at',
  readAheadLost: 'read_ahead_lost',
  originQueue: 'origin_queue',
  originId: 'origin_id',
  originTopic: 'origin_topic',
  originSubscription: 'origin_subscription',
  originOffset: 'origin_offset',
  attempts: 'attempts',
  deadLetteredAt: 'dead_lettered_at',
  replayedFromQueue: 'replayed_from_queue',
  replayedFromId: 'replayed_from_id',
} as const satisfies Record<string, string>

const namesByWireName = new Map<string, string>(Object.entries(wireNames).map(([name, wire]) => [wire, name]))

/** Fields that a user may set, which must be text. The CLI makes a flag of each. */
export const metaFields = [
  'correlationId',
  'correlationQueue',
  'targetId',
  'version',
  'sourceSystem',
  'actionType',
  'businessReason',
  'associatedPeriod',
  'eventKey',
] as const satisfies readonly (keyof typeof wireNames)[]

/** The same by their names on the wire. */
const textFields: ReadonlySet<string> = new Set(metaFields.map((name) => wireNames[name]))

/** What Tidings alone says of a message, anew for each that is sent. */
const ownFields: ReadonlySet<string> = new Set([
  'queue_name',
  'data_encoding',
  'ttl_ms',
  'schedule',
  'scheduled_for',
  'process_lost_at',
  'read_ahead_lost',
])

export const toWireName = (name: string): string =>
  Object.hasOwn(wireNames, name) ? wireNames[name as keyof typeof wireNames] : name
export const fromWireName = (wire: string): string => namesByWireName.get(wire) ?? wire
/** Whether a known field, by its name on the wire, is text. */
export const isTextField = (wire: string): boolean => textFields.has(wire)

/**
 * Meta as it is stored: names of the wire format, nothing undefined or null. Known fields may be given by either name.
 * What Tidings alone says is left out where it was given, since the meta of a message that was read may be sent on. Its
 * routing key goes with it, unless it is published under another.
 * @throws TYPE for a known field that is not text, KEY_INVALID, BODY_NOT_JSON and the like for others
 */
export function toWireMeta(meta: SentMeta, queue: string | null, routingKey: string | null = null): JsonObject {
  const wire: Record<string, JsonValue> = {}
  if (queue !== null) wire.queue_name = queue
  const given = Object.entries(meta)
  for (const [name, value] of given) {
    const wireName = toWireName(name)
    if (value === undefined || value === null || ownFields.has(wireName)) continue
    // An older system numbers its correlations.
    const isNumbered = wireName === 'correlation_id' && Number.isSafeInteger(value)
    const text = isNumbered ? String(value) : value
    if (textFields.has(wireName) && typeof text !== 'string') throw typeError(`meta.${name}`, value, 'a string')
    define(wire, wireName, wireName === 'routing_key' ? checkRoutingKey(text, `meta.${name}`) : text)
  }
  if (routingKey !== null) wire.routing_key = routingKey
  return given.length === 0 ? wire : (toJsonValue(wire, 'meta') as JsonObject)
}

export function fromWireMeta(wire: JsonObject): MessageMeta {
  const meta: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(wire)) {
    if (value === null) continue
    // Other clients write ids and versions as numbers.
    const isNumber = typeof value === 'number' || typeof value === 'bigint'
    define(meta, fromWireName(name), isNumber && textFields.has(name) ? String(value) : value)
  }
  return meta
}

/** The same in the names of the wire format, for what passes it on: nothing is left out, and nothing checked. */
export function renamedMeta(meta: MessageMeta): JsonObject {
  const wire: Record<string, JsonValue> = {}
  for (const [name, value] of Object.entries(meta)) if (value !== undefined) define(wire, toWireName(name), value)
  return wire
}

/** Assignment would change the prototype for a key `__proto__`. */
function define(object: Record<string, JsonValue>, key: string, value: JsonValue): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
}
