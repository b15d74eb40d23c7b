import { isTidingsError } from '../core/errors.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { parseMetaWhere, scan, type Wanted } from '../messages/filter.ts'
import type { StoredCopy } from '../messages/message.ts'
import type { Engine, Place } from '../port/engine.ts'

export const traceOptions = {
  queues: option.value<readonly string[], readonly string[] | null>('Only these queues.', {
    default: null,
    defaultText: 'all',
    typeText: 'array of queue names',
    parse: parseQueues,
  }),
  limit: option.integer('The largest number of events; the latest ones are kept.', {
    default: 1_000,
    min: 1,
    max: 100_000,
    rangeCode: 'LIMIT_RANGE',
  }),
} as const
export type TraceOptions = option.OptionsInput<typeof traceOptions>

/** One thing that happened to a target, or that is still to come. */
export interface TraceEvent {
  /** When. The time of `waiting` and `leased` is that at which the message can be read (again), past or to come. */
  readonly at: Date
  readonly kind: 'sent' | 'replayed' | 'read' | 'archived' | 'deadLettered' | 'waiting' | 'leased'
  readonly queue: string
  readonly id: string
  /** Where the message is now. */
  readonly state: Place
  /** How often the message was tried: in this queue so far, for `deadLettered` in the queue where it failed. */
  readonly attempts: number
  /** The error of the last attempt that failed, while there is one. */
  readonly errorMessage: string | null
  /** What was done to the target, if the sender said so. */
  readonly actionType: string | null
  /** For what was replayed or dead-lettered: the message that it comes from. */
  readonly from: { readonly queue: string; readonly id: string } | null
}

interface Found {
  readonly message: StoredCopy<unknown>
  readonly state: Place
}

/**
 * What is known of a target, in the order of time: from messages that are still in a queue, an archive or a dead-letter
 * queue. Deleted ones leave nothing. The queues are looked at one after the other, so a message that moves meanwhile
 * may be seen twice or not at all.
 */
export async function trace(engine: Engine, targetId: string, options?: TraceOptions): Promise<TraceEvent[]> {
  const { queues, limit } = option.parseOptions(traceOptions, options, 'trace')
  if (typeof targetId !== 'string') throw option.typeError('targetId', targetId, 'a string')
  const wanted = parseMetaWhere({ targetId }, 'trace')
  const events: TraceEvent[] = []
  for (const queue of queues ?? (await engine.describe(null)).map((info) => info.queue)) {
    const found = await unlessDropped(() => findIn(engine, queue, wanted, limit), queues === null)
    events.push(...found.flatMap(eventsOf))
    events.sort(byTime)
    events.splice(0, events.length - limit)
  }
  return events
}

async function unlessDropped(find: () => Promise<Found[]>, tolerant: boolean): Promise<Found[]> {
  try {
    return await find()
  } catch (error) {
    if (tolerant && isTidingsError(error, 'QUEUE_NOT_FOUND')) return []
    throw error
  }
}

async function findIn(engine: Engine, queue: string, wanted: Wanted, limit: number): Promise<Found[]> {
  const live = await newest(engine, queue, null, wanted, limit)
  const archived = await newest(engine, queue, 'archived', wanted, limit)
  const ids = live.map(({ id }) => id)
  const among = async (place: Place) => {
    if (ids.length === 0) return []
    return (await engine.peek(queue, { place, limit: ids.length, afterId: null, ids })).map(({ id }) => id)
  }
  const leased = new Set(await among('leased'))
  const delayed = new Set(await among('delayed'))
  const stateOf = (id: string) => (leased.has(id) ? 'leased' : delayed.has(id) ? 'delayed' : 'ready')
  return [
    ...archived.map((message) => ({ message, state: 'archived' }) as const),
    ...live.map((message) => ({ message, state: stateOf(message.id) }) as const),
  ]
}

async function newest(engine: Engine, queue: string, place: Place | null, wanted: Wanted, limit: number) {
  const found: StoredCopy<unknown>[] = []
  for await (const page of scan(engine, queue, place, wanted)) {
    found.push(...page)
    found.splice(0, found.length - limit)
  }
  return found
}

/** What is known of one message. */
export function eventsOf({ message, state }: Found): TraceEvent[] {
  const { id, queue, meta, sentAt, firstReadAt, lastReadAt, archivedAt, visibleAt, readCount } = message
  const plain = { queue, id, state, attempts: 0, errorMessage: null, actionType: meta.actionType ?? null, from: null }
  const events: TraceEvent[] = []
  const add = (at: Date | null, kind: TraceEvent['kind'], change: Partial<TraceEvent> = {}) => {
    if (at !== null) events.push({ ...plain, at, kind, ...change })
  }
  const origin = reference(meta.originQueue, meta.originId)
  const replayed = reference(meta.replayedFromQueue, meta.replayedFromId)
  const error = { errorMessage: meta.errorMessage ?? null }
  // A dead letter keeps the time at which it was sent to the queue that it comes from.
  const before = origin ?? { queue, id }
  add(sentAt, replayed ? 'replayed' : 'sent', { ...before, from: replayed })
  add(dateOf(meta.deadLetteredAt), 'deadLettered', { ...error, attempts: meta.attempts ?? readCount, from: origin })
  if (readCount > 0) add(firstReadAt, 'read', { attempts: 1 })
  if (readCount > 1) add(lastReadAt, 'read', { attempts: readCount })
  // What failed where there is no dead-letter queue went into the archive as a dead letter.
  const failedHere = origin?.queue === queue && origin.id === id
  if (state !== 'archived') add(visibleAt, state === 'leased' ? 'leased' : 'waiting', { ...error, attempts: readCount })
  else if (!failedHere) add(archivedAt, 'archived', { ...error, attempts: readCount })
  return events
}

/** Another program may have written anything. */
function dateOf(text: unknown): Date | null {
  const date = new Date(typeof text === 'string' ? text : Number.NaN)
  return Number.isNaN(date.getTime()) ? null : date
}

function reference(queue: string | undefined, id: string | undefined) {
  return queue === undefined || id === undefined ? null : { queue, id }
}

const rank: Readonly<Record<TraceEvent['kind'], number>> = {
  sent: 0,
  replayed: 0,
  read: 1,
  archived: 2,
  deadLettered: 2,
  leased: 3,
  waiting: 3,
}

/** What is of the same millisecond stands in the order in which it must have been. */
function byTime(a: TraceEvent, b: TraceEvent): number {
  return (
    a.at.getTime() - b.at.getTime() ||
    rank[a.kind] - rank[b.kind] ||
    (a.queue === b.queue ? a.id.length - b.id.length || compare(a.id, b.id) : compare(a.queue, b.queue))
  )
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

function parseQueues(value: unknown, path: string): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) throw option.typeError(path, value, 'an array of one name or more')
  return value.map((name, index) => checkQueueName(name, `${path}[${index}]`))
}
