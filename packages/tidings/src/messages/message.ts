import type { Duration } from '../core/duration.ts'
import { type JsonObject, type JsonValue, toJsonValue } from '../core/json.ts'
import * as option from '../core/options.ts'
import { checkRoutingKey } from '../core/pattern.ts'
import type { StoredMessage } from '../port/engine.ts'
import type { MessageLease } from './lease.ts'

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
    const wireName = Object.hasOwn(wireNames, name) ? wireNames[name as keyof typeof wireNames] : name
    if (value === undefined || value === null || ownFields.has(wireName)) continue
    // An older system numbers its correlations.
    const isNumbered = wireName === 'correlation_id' && Number.isSafeInteger(value)
    const text = isNumbered ? String(value) : value
    if (textFields.has(wireName) && typeof text !== 'string') throw option.typeError(`meta.${name}`, value, 'a string')
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
    define(meta, namesByWireName.get(name) ?? name, isNumber && textFields.has(name) ? String(value) : value)
  }
  return meta
}

/** Assignment would change the prototype for a key `__proto__`. */
function define(object: Record<string, JsonValue>, key: string, value: JsonValue): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
}

export const releaseOptions = {
  delay: option.duration('Keeps the message hidden for this long.', {
    default: 0,
    min: 0,
    max: 315_360_000_000,
    rangeCode: 'DELAY_RANGE',
  }),
} as const
export type ReleaseOptions = option.OptionsInput<typeof releaseOptions>

/** Nearly 116 days, which other queues take. */
export const maxLeaseMs = 9_999_999_000

export const leaseOption = <D extends number>(defaultMs: D) =>
  option.duration('How long the message stays hidden from other readers.', {
    default: defaultMs,
    min: 100,
    max: maxLeaseMs,
    rangeCode: 'LEASE_RANGE',
  })

/** A message as it is stored; what `peek` and `pop` return. `T` is the type of its data. */
export class StoredCopy<T> {
  readonly id: string
  readonly queue: string
  readonly data: T
  readonly meta: MessageMeta
  readonly headers: JsonObject
  readonly priority: number
  readonly orderingKey: string | null
  readonly group: string | null
  readonly sentAt: Date
  /** When the message can be read, or read again. */
  readonly visibleAt: Date
  /** How often it was read, this time included. */
  readonly readCount: number
  readonly firstReadAt: Date | null
  readonly lastReadAt: Date | null
  readonly archivedAt: Date | null

  constructor(queue: string, stored: StoredMessage, data: T) {
    this.id = stored.id
    this.queue = queue
    this.data = data
    this.meta = fromWireMeta(stored.meta)
    this.headers = stored.headers
    this.priority = stored.priority
    this.orderingKey = stored.orderingKey
    this.group = stored.group
    this.sentAt = new Date(stored.sentAt)
    this.visibleAt = new Date(stored.visibleAt)
    this.readCount = stored.readCount
    this.firstReadAt = toDate(stored.firstReadAt)
    this.lastReadAt = toDate(stored.lastReadAt)
    this.archivedAt = toDate(stored.archivedAt)
  }
}

const toDate = (time: number | null) => (time === null ? null : new Date(time))

/**
 * A message in the hands of a reader. Its lease ends by one of delete, archive, release or deadLetter, or by running
 * out. Each of them returns true when it was carried out and false when the message had been settled through this
 * object before; they throw LEASE_LOST when another reader has it meanwhile.
 */
export class Message<T> extends StoredCopy<T> {
  readonly #lease: MessageLease

  constructor(queue: string, stored: StoredMessage, data: T, lease: MessageLease) {
    super(queue, stored, data)
    this.#lease = lease
  }

  /**
   * The same message under the same lease with other data: for what converts them on their way to a handler.
   * @internal
   */
  withData<U>(data: U): Message<U> {
    return new Message(this.queue, this.#lease.message, data, this.#lease)
  }

  /** The receipt that proves the lease. Changes with every extension. */
  get receipt(): string {
    return this.#lease.receipt
  }

  /**
   * Ends the lease: the message is done and its row removed.
   * @example await message.delete()
   */
  delete(): Promise<boolean> {
    return this.#lease.settle({ kind: 'delete' })
  }

  /**
   * Ends the lease: the message is done and kept in the archive.
   * @example await message.archive()
   */
  archive(): Promise<boolean> {
    return this.#lease.settle({ kind: 'archive', meta: {} })
  }

  /**
   * Gives the message back; another reader gets it, after `delay` if one is given.
   * @example await message.release({ delay: '5m' })
   */
  async release(options?: ReleaseOptions): Promise<boolean> {
    const { delay } = option.parseOptions(releaseOptions, options, 'release')
    return this.#lease.settle({ kind: 'release', delayMs: delay, meta: {}, uncount: false })
  }

  /**
   * Moves the message to the dead-letter queue (or to the archive where there is none), with the reason.
   * @example await message.deadLetter('no such customer')
   */
  deadLetter(reason: unknown): Promise<boolean> {
    return this.#lease.deadLetter(reason)
  }

  /**
   * Makes the lease last this long from now.
   * @throws LEASE_LOST if it was lost or has run out
   * @example await message.extend('30s')
   */
  async extend(lease: Duration): Promise<void> {
    await this.#lease.extend(leaseOption(30_000).parse(lease, 'lease'))
  }
}
