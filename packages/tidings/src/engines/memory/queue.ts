import type { JsonObject } from '../../core/json.ts'
import type {
  NewMessage,
  Peeked,
  PeekRequest,
  Place,
  PruneRequest,
  QueueInfo,
  QueueStats,
  StoredMessage,
} from '../../port/engine.ts'
import { countHeldBack, newSharing, type Sharing } from './sharing.ts'
import { placeOf, textOf } from './stored.ts'

/** Maps keep the order of insertion, and ids only grow: to walk a map is to walk it by id. */
export interface MemoryQueue {
  readonly name: string
  readonly createdAt: number
  lastId: number
  settings: JsonObject
  readonly sharing: Sharing
  /** Everything that is not archived. `receipt` is that of the newest reader, also when its lease has run out. */
  readonly live: Map<string, StoredMessage>
  /** Fills in the order of settling. */
  readonly archive: Map<string, StoredMessage>
  /** Ids of messages in transactions that are open. */
  readonly pending: Set<string>
  /** `until` is Infinity for an id that is held as long as nobody has read its message. */
  readonly dedup: Map<string, { readonly firstId: string; readonly until: number }>
  /** The message last sent for a target; it holds the target for as long as it is live. */
  readonly targets: Map<string, string>
  /** The process with which the lease of a message ends: the listening that looks after it. */
  readonly holdings: Map<string, { readonly holder: object; readonly isAhead: boolean }>
}

export function newQueue(name: string, now: number): MemoryQueue {
  return {
    name,
    createdAt: now,
    lastId: 0,
    settings: {},
    sharing: newSharing(),
    live: new Map(),
    archive: new Map(),
    pending: new Set(),
    dedup: new Map(),
    targets: new Map(),
    holdings: new Map(),
  }
}

export const infoOf = ({ name, createdAt, settings }: MemoryQueue): QueueInfo => ({
  queue: name,
  createdAt,
  ...(Object.keys(settings).length > 0 ? { settings: structuredClone(settings) } : {}),
})

export function statsOf(queue: MemoryQueue, now: number): QueueStats {
  const live = [...queue.live.values()]
  const inPlace = (place: Place) => live.filter((message) => placeOf(message, now) === place)
  const ready = inPlace('ready')
  const ages = live.map((message) => now - message.sentAt)
  return {
    queue: queue.name,
    ready: ready.length,
    heldBack: countHeldBack(queue, ready, now),
    delayed: inPlace('delayed').length,
    leased: inPlace('leased').length,
    archived: queue.archive.size,
    totalSent: queue.lastId,
    oldestReadyMs: greatest(ready.map((message) => now - message.visibleAt)),
    nextDueMs: least(live.filter(({ visibleAt }) => visibleAt > now).map(({ visibleAt }) => visibleAt - now)),
    newestMs: least(ages),
    oldestMs: greatest(ages),
    createdAt: queue.createdAt,
  }
}

type Unique = Pick<NewMessage, 'dedup' | 'uniqueTarget'>

/** The message that this one is a duplicate of, or takes the place of. */
export function firstOf(queue: MemoryQueue, { dedup, uniqueTarget }: Unique, now: number): string | undefined {
  const first = dedup === null ? undefined : queue.dedup.get(dedup.id)
  const endsByRead = dedup?.replace !== undefined || first?.until === Number.POSITIVE_INFINITY
  const isHeld = !endsByRead || isUnread(queue, first?.firstId ?? '')
  if (first !== undefined && now < first.until && isHeld) return first.firstId
  const holder = uniqueTarget === null ? undefined : queue.targets.get(uniqueTarget)
  return holder !== undefined && (queue.live.has(holder) || queue.pending.has(holder)) ? holder : undefined
}

const sentWith = (queue: MemoryQueue, dedupId: string, now: number) =>
  firstOf(queue, { dedup: { id: dedupId, windowMs: null }, uniqueTarget: null }, now)

/** Nobody can have read what no transaction has committed. */
const isUnread = ({ live, pending }: MemoryQueue, id: string) => pending.has(id) || live.get(id)?.readCount === 0

/** @returns what gives the dedup id and the target of a message back to those who have them now */
export function keysBefore({ dedup: ids, targets }: MemoryQueue, { dedup, uniqueTarget }: Unique): () => void {
  const firstOfId = dedup === null ? undefined : ids.get(dedup.id)
  const firstOfTarget = uniqueTarget === null ? undefined : targets.get(uniqueTarget)
  return () => {
    if (dedup !== null) restore(ids, dedup.id, firstOfId)
    if (uniqueTarget !== null) restore(targets, uniqueTarget, firstOfTarget)
  }
}

const restore = <T>(map: Map<string, T>, key: string, value: T | undefined) =>
  value === undefined ? map.delete(key) : map.set(key, value)

/** What was given its id in a transaction may come after later ones. */
export function putInOrder({ live, pending, lastId }: MemoryQueue, message: StoredMessage): void {
  pending.delete(message.id)
  const isNewest = Number(message.id) === lastId
  const later = isNewest ? [] : [...live.values()].filter(({ id }) => Number(id) > Number(message.id))
  live.set(message.id, message)
  for (const one of later) live.delete(one.id)
  for (const one of later) live.set(one.id, one)
}

/** Forgets dedup ids and targets that nothing holds any more. */
export function forgetUnused({ dedup, targets, live }: MemoryQueue, now: number): void {
  for (const [id, { until, firstId }] of dedup)
    if (until <= now || (until === Number.POSITIVE_INFINITY && !live.has(firstId))) dedup.delete(id)
  for (const [target, id] of targets) if (!live.has(id)) targets.delete(target)
}

/** How many messages of a batch are no duplicates, also not of each other. */
export function countFresh(queue: MemoryQueue, messages: readonly Unique[], now: number): number {
  const ids = new Set<string>()
  const targets = new Set<string>()
  const fresh = messages.filter((message) => {
    const { dedup, uniqueTarget } = message
    const isRepeated = (dedup !== null && ids.has(dedup.id)) || (uniqueTarget !== null && targets.has(uniqueTarget))
    if (isRepeated || firstOf(queue, message, now) !== undefined) return false
    if (dedup !== null) ids.add(dedup.id)
    if (uniqueTarget !== null) targets.add(uniqueTarget)
    return true
  })
  return fresh.length
}

/** What is ready and does not wait behind an earlier message of its key, by priority, then by id. */
export function claimable(queue: MemoryQueue, ids: readonly string[] | null, now: number): StoredMessage[] {
  if (pausedUntil(queue, now) !== null) return []
  const keys = new Set<string>()
  const ready: StoredMessage[] = []
  for (const message of queue.live.values()) {
    const waits = message.orderingKey !== null && keys.has(message.orderingKey)
    if (message.orderingKey !== null) keys.add(message.orderingKey)
    if (!waits && placeOf(message, now) === 'ready' && (ids?.includes(message.id) ?? true)) ready.push(message)
  }
  return ready.sort((a, b) => b.priority - a.priority)
}

export function isLeased(queue: MemoryQueue | undefined, id: string, now: number): boolean {
  const message = queue?.live.get(id)
  return message !== undefined && placeOf(message, now) === 'leased'
}

/** Infinity: until somebody resumes it; null: it is not paused. */
function pausedUntil({ settings }: MemoryQueue, now: number): number | null {
  const { pause } = settings as { pause?: { until: string | null } }
  const until = pause?.until == null ? Number.POSITIVE_INFINITY : Date.parse(pause.until)
  return pause && until > now ? until : null
}

/** @param opensAt when something that is held back can be claimed */
export function nextDueMs(queue: MemoryQueue, opensAt: number | null, now: number): number | null {
  const until = pausedUntil(queue, now)
  if (until !== null) return Number.isFinite(until) ? until - now : null
  const waits = [...queue.live.values()].map((message) => message.visibleAt - now)
  if (opensAt !== null) waits.push(opensAt - now)
  return least(waits.filter((wait) => wait > 0))
}

export function lookInto(queue: MemoryQueue, request: PeekRequest, now: number): Peeked {
  const { live, archive } = queue
  const { place, limit, afterId, dedupId, meta = {}, scan = Number.POSITIVE_INFINITY } = request
  const ids = dedupId === undefined ? request.ids : [sentWith(queue, dedupId, now)]
  const candidates = place === 'archived' ? byId(archive) : [...live.values()]
  const ahead = candidates.filter((message) => afterId === null || Number(message.id) > Number(afterId))
  const found = ahead
    .slice(0, scan)
    .filter((message) => place === null || placeOf(message, now) === place)
    .filter((message) => ids?.includes(message.id) ?? true)
    .filter((message) => Object.entries(meta).every(([field, text]) => textOf(message.meta, field) === text))
    .slice(0, limit)
    .map((message) => structuredClone({ ...message, receipt: null }))
  const isCut = ahead.length > scan && found.length < limit
  return isCut ? Object.assign(found, { after: ahead[scan - 1]!.id }) : found
}

/** @returns how many it removed */
export function pruneArchive(
  { archive }: MemoryQueue,
  { archivedForMs, keep, limit }: PruneRequest,
  now: number,
): number {
  const since = now - (archivedForMs ?? Number.POSITIVE_INFINITY)
  const surplus = archive.size - (keep ?? archive.size)
  const old = [...archive.values()].filter(({ archivedAt }, index) => index < surplus || archivedAt! < since)
  const removed = old.slice(0, limit)
  for (const { id } of removed) archive.delete(id)
  return removed.length
}

function byId(messages: ReadonlyMap<string, StoredMessage>): StoredMessage[] {
  return [...messages.values()].sort((a, b) => Number(a.id) - Number(b.id))
}

const least = (numbers: number[]) => (numbers.length === 0 ? null : numbers.reduce((a, b) => Math.min(a, b)))
const greatest = (numbers: number[]) => (numbers.length === 0 ? null : numbers.reduce((a, b) => Math.max(a, b)))
