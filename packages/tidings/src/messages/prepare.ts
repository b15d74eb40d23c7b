import { isTidingsError, show, TidingsError } from '../core/errors.ts'
import { checkSize, type JsonObject } from '../core/json.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { type StandardSchemaV1, validate } from '../core/schema.ts'
import { pack, type Serializer, unpack } from '../core/serializer.ts'
import type { Milestone } from '../port/correlation.ts'
import type { Engine, NewMessage, Tracked } from '../port/engine.ts'
import { sizeOf } from '../port/limits.ts'
import { toWireMeta } from '../port/meta.ts'
import { dedupOf } from './dedup.ts'
import { expiryMeta } from './expiry.ts'
import { checkKey, checkTime, type SendEntry, sendOptions, unlessPast } from './options.ts'

const maxBatch = 10_000
/** Of all data together: what travels in one step is one text, which may be twice as long with its escapes. */
const maxBatchBytes = 134_217_728
const preparedAtOnce = 100

/** What holds for the messages on their way to one queue, or to all that a routing key leads to. */
export interface Outgoing {
  /** Null for what is published: every copy in a queue is told its own. */
  readonly queue: string | null
  /** For error messages: "queue 'hires'". */
  readonly destination: string
  readonly routingKey: string | null
  readonly schema: StandardSchemaV1 | null
  readonly serializer: Serializer<unknown> | null
  readonly maxMessageBytes: number
  readonly bare: boolean
  /** For messages that are sent without a time to live; null: they have none. */
  readonly ttlMs: number | null
  /** For messages that are sent without a delay or a time. */
  readonly delayMs: number
  /** What holds in its place once the settings of the queue were read; left out: they were. */
  readonly pending?: Promise<Outgoing>
  /** The time at which they are sent. */
  now(): number
  /** Where they come from, see `NewMessage`. */
  origin(): object | undefined
}

/** How the sender of a message calls its fields, for error messages. */
export interface FieldNames {
  readonly data: string
  readonly delay: string
  readonly at: string
  readonly orderingKey: string
  readonly priority: string
  readonly ttl: string
}
export const ownNames: FieldNames = {
  data: 'data',
  delay: 'delay',
  at: 'at',
  orderingKey: 'orderingKey',
  priority: 'priority',
  ttl: 'ttl',
}

/** A message in the form of the storage that its queue or topic has still to admit. */
export interface Composed {
  readonly message: NewMessage
  readonly names: FieldNames
  /** Its sender left it to the queue when it becomes ready. */
  readonly isUntimed: boolean
}

/**
 * Checks what is to be sent and gives it the form that engines store.
 * @returns a promise only where the schema is asynchronous
 */
export function prepare(
  data: unknown,
  options: option.OptionsOutput<typeof sendOptions>,
  outgoing: Outgoing,
): NewMessage | Promise<NewMessage> {
  const { pending } = outgoing
  if (pending === undefined) return compose(data, options, outgoing)
  const isUntimed = options.delay === null && options.at === null
  try {
    // What is sent is what was given: it may be changed while the settings are read.
    const made = compose(data, options, outgoing)
    return Promise.all([made, pending]).then(([message, known]) =>
      admit({ message, names: ownNames, isUntimed }, { ...known, schema: null }),
    )
  } catch (error) {
    if (!isTidingsError(error, 'BODY_TOO_LARGE')) throw error
    return pending.then((known) => compose(data, options, known))
  }
}

type Made = { -readonly [Field in keyof NewMessage]: NewMessage[Field] }

function compose(
  data: unknown,
  options: option.OptionsOutput<typeof sendOptions>,
  outgoing: Outgoing,
): NewMessage | Promise<NewMessage> {
  const { delay, at, group, priority, uniqueTarget } = options
  const delayMs = delay ?? (at === null ? outgoing.delayMs : 0)
  const { dedup, orderingKey } = dedupIn(options)
  const now = outgoing.now()
  checkProperties({ delayMs, notBefore: at, orderingKey, priority }, ownNames, now)
  const times = { delayMs, notBefore: unlessPast(at, now) }
  const meta = toWireMeta(options.meta, outgoing.queue, outgoing.routingKey)
  const targetId = meta.target_id as string | undefined
  if (uniqueTarget) {
    if (targetId === undefined)
      throw new TidingsError('OPTION_CONFLICT', "'uniqueTarget' is set without meta.targetId", {
        hint: 'Set meta.targetId too.',
      })
    checkKey(targetId, 'meta.targetId')
  }
  const origin = outgoing.origin()
  const packed = pack(data, outgoing.serializer, outgoing.maxMessageBytes)
  if (!options.track && options.tell !== null)
    throw new TidingsError('OPTION_CONFLICT', "'tell' is set without 'track'", { hint: 'Set `track: true` too.' })
  // Field by field: with objects spread into it, making a message took longer than all the rest (Node 20).
  const message: Made = {
    data: packed.text,
    meta: Object.assign(meta, packed.meta, expiryMeta(options.ttl ?? outgoing.ttlMs, times, now)),
    headers: options.headers,
    delayMs,
    notBefore: times.notBefore,
    priority,
    orderingKey,
    dedup,
    uniqueTarget: uniqueTarget && targetId !== undefined ? targetId : null,
    bare: outgoing.bare,
  }
  if (group !== null) message.group = group
  if (options.track) message.tracked = trackedBy(meta, options.tell)
  if (origin) message.origin = origin
  return judged(message, packed.isSame ? { data } : null, ownNames, outgoing)
}

/** The short spelling and the full one. */
function dedupIn(options: option.OptionsOutput<typeof sendOptions>) {
  const { dedup, dedupId, dedupWindow } = options
  if (dedup === null && dedupId === null) return { dedup, orderingKey: options.orderingKey }
  if (dedup !== null && dedupId !== null) throw bothGiven('dedupId', 'dedup')
  if (dedup !== null && dedupWindow !== null) throw bothGiven('dedupWindow', 'dedup')
  return dedupOf(dedup ?? { ...short, id: dedupId!, for: dedupWindow }, options)
}

/** What the short spelling leaves out. */
const short = { replace: false, extend: false, atMost: null, whileActive: null } as const

/** Engines know what to do with contradictions; people did not mean them. @throws OPTION_CONFLICT, DELAY_RANGE */
export function checkProperties(
  { delayMs, notBefore, orderingKey, priority }: Pick<NewMessage, 'delayMs' | 'notBefore' | 'orderingKey' | 'priority'>,
  names: FieldNames,
  now: number,
): void {
  if (notBefore !== null && delayMs > 0) throw bothGiven(names.delay, names.at)
  if (orderingKey !== null && priority !== 0) throw bothGiven(names.orderingKey, names.priority)
  if (notBefore !== null) checkTime(notBefore, now, names.at)
}

const bothGiven = (one: string, other: string) =>
  new TidingsError('OPTION_CONFLICT', `'${one}' and '${other}' are both given`)

/**
 * What holds for every message of a queue or topic, whichever client composed the message.
 * @returns a promise only where the schema is asynchronous
 * @throws BODY_TOO_LARGE, BODY_INVALID; OPTION_CONFLICT if it would expire before it can be read
 */
export function admit({ message, names, isUntimed }: Composed, outgoing: Outgoing): NewMessage | Promise<NewMessage> {
  checkSize(message.data, names.data, outgoing.maxMessageBytes)
  const delayMs = isUntimed ? outgoing.delayMs : message.delayMs
  const times = { delayMs, notBefore: message.notBefore }
  const own = message.meta.ttl_ms ?? null
  const isJudged = own !== null && !isUntimed
  const expiry = isJudged ? {} : expiryMeta((own as number | null) ?? outgoing.ttlMs, times, outgoing.now(), names.ttl)
  const meta = { ...message.meta, ...expiry }
  const admitted = { ...message, ...times, meta, bare: message.bare || outgoing.bare }
  return judged(admitted, null, names, outgoing)
}

/**
 * The message, once the schema has judged what reading will find. Stored is what was given, so that reading can apply the schema
 * to it.
 * @param found the same data, where it is known without unpacking
 */
function judged(
  message: NewMessage,
  found: { readonly data: unknown } | null,
  names: FieldNames,
  { schema, serializer, destination }: Outgoing,
): NewMessage | Promise<NewMessage> {
  if (schema === null) return message
  const what = `${names.data} for ${destination}`
  const validated = validate(schema, found ? found.data : unpack(message, serializer, what), what)
  return validated instanceof Promise ? validated.then(() => message) : message
}

/** Names that could not be used when the last task ends are refused while there is somebody to tell. */
function trackedBy(
  { correlation_id: id, correlation_queue: queue }: JsonObject,
  milestones: readonly Milestone[] | null,
): Tracked {
  if (typeof id !== 'string')
    throw new TidingsError('OPTION_CONFLICT', "'track' is set without meta.correlationId", {
      hint: 'Set meta.correlationId too.',
    })
  checkKey(id, 'meta.correlationId')
  const completionQueue = queue === undefined ? null : checkQueueName(queue, 'meta.correlationQueue')
  if (milestones === null) return { correlationId: id, completionQueue }
  if (completionQueue === null)
    throw new TidingsError('OPTION_CONFLICT', "'tell' is set without meta.correlationQueue", {
      hint: 'Set meta.correlationQueue too.',
    })
  return { correlationId: id, completionQueue, milestones }
}

/** @param call the name of the user's call, for error messages */
export async function prepareBatch(
  entries: readonly SendEntry<unknown>[],
  call: string,
  outgoing: Outgoing,
): Promise<NewMessage[]> {
  if (!Array.isArray(entries)) throw option.typeError('the batch', entries, 'an array of { data, … }')
  if (entries.length === 0 || entries.length > maxBatch)
    throw new TidingsError('BATCH_SIZE', `the batch has ${entries.length} messages; it must have 1 to ${maxBatch}`)
  const messages: NewMessage[] = []
  const origin = outgoing.origin()
  const together = { ...outgoing, origin: () => origin }
  let bytes = 0
  // A few at a time: what is too large as a whole must not be made as a whole.
  for (let from = 0; from < entries.length; from += preparedAtOnce) {
    // Array.from does not pass over holes.
    const some = Array.from(entries.slice(from, from + preparedAtOnce), (entry, index) =>
      prepareEntry(entry, from + index, call, together),
    )
    const made = some.some((one) => one instanceof Promise) ? await Promise.all(some) : (some as NewMessage[])
    for (const message of made) {
      bytes += sizeOf(message)
      messages.push(message)
    }
    if (bytes > maxBatchBytes)
      throw new TidingsError('BATCH_SIZE', `the batch has ${bytes} bytes or more; at most ${maxBatchBytes}`, {
        details: { maxBytes: maxBatchBytes },
      })
  }
  return messages
}

/** A promise where the message has to be waited for, and where it is refused: others of the batch may be under way. */
function prepareEntry(
  entry: SendEntry<unknown>,
  position: number,
  call: string,
  outgoing: Outgoing,
): NewMessage | Promise<NewMessage> {
  if (typeof entry !== 'object' || entry === null)
    return Promise.reject(option.typeError(placeOf(position), entry, 'an object { data, … }'))
  try {
    const { data, ...rest } = entry
    const made = prepare(data, option.parseOptions(sendOptions, rest, call), outgoing)
    return made instanceof Promise ? made.catch((error: unknown) => refused(error, position)) : made
  } catch (error) {
    return refused(error, position)
  }
}

const placeOf = (position: number) => `entry ${position} of the batch`

const refused = (error: unknown, position: number): Promise<never> =>
  Promise.reject(error instanceof TidingsError ? error.within(placeOf(position)) : error)

/** @throws UNSUPPORTED for an engine that cannot join the application's transaction */
export function checkTransactions(engine: Engine): void {
  if (engine.supports.has('transactions')) return
  throw new TidingsError('UNSUPPORTED', `tx is given, but the ${engine.name} engine cannot join transactions`, {
    details: { feature: 'transactions' },
  })
}

/** For a message that was not stored, since the queue has its dedup id or its target already. */
export function duplicateError(queue: string, { dedup, uniqueTarget }: NewMessage, firstId: string): TidingsError {
  const what = dedup ? `dedup id ${show(dedup.id)}` : `target ${show(uniqueTarget)}`
  return new TidingsError('DUPLICATE', `queue '${queue}' already has message ${firstId} with ${what}`, {
    details: { queue, firstId },
  })
}
