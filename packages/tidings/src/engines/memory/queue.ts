import type { NewMessage, PeekRequest, Place, PruneRequest, QueueStats, StoredMessage } from '../../port/engine.ts'
import { placeOf, textOf } from './stored.ts'

/** Maps keep the order of insertion, and ids only grow: to walk a map is to walk it by id. */
export interface MemoryQueue {
  readonly name: string
  readonly createdAt: number
  lastId: number
  /** Everything that is not archived. `receipt` is that of the newest reader, also when its lease has run out. */
  readonly live: Map<string, StoredMessage>
  /** Fills in the order of settling. */
  readonly archive: Map<string, StoredMessage>
  readonly dedup: Map<string, { readonly firstId: string; readonly until: number }>
  /** The message last sent for a target; it holds the target for as long as it is live. */
  readonly targets: Map<string, string>
}

export function newQueue(name: string, now: number): MemoryQueue {
  return {
    name,
    createdAt: now,
    lastId: 0,
    live: new Map(),
    archive: new Map(),
    dedup: new Map(),
    targets: new Map(),
  }
}

export function statsOf(queue: MemoryQueue, now: number): QueueStats {
  const live = [...queue.live.values()]
  const inPlace = (place: Place) => live.filter((message) => placeOf(message, now) === place)
  const ready = inPlace('ready')
  const ages = live.map((message) => now - message.sentAt)
  return {
    queue: queue.name,
    ready: ready.length,
    delayed: inPlace('delayed').length,
    leased: inPlace('leased').length,
    archived: queue.archive.size,
    totalSent: queue.lastId,
    oldestReadyMs: greatest(ready.map((message) => now - message.visibleAt)),
    newestMs: least(ages),
    oldestMs: greatest(ages),
    createdAt: queue.createdAt,
  }
}

type Unique = Pick<NewMessage, 'dedup' | 'uniqueTarget'>

/** The message that this one is a duplicate of. */
export function firstOf(queue: MemoryQueue, { dedup, uniqueTarget }: Unique, now: number): string | undefined {
  const first = dedup === null ? undefined : queue.dedup.get(dedup.id)
  if (first !== undefined && now < first.until) return first.firstId
  const holder = uniqueTarget === null ? undefined : queue.targets.get(uniqueTarget)
  return holder !== undefined && queue.live.has(holder) ? holder : undefined
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
export function claimable(
  queue: MemoryQueue,
  ids: readonly string[] | null,
  limit: number,
  now: number,
): StoredMessage[] {
  const keys = new Set<string>()
  const ready: StoredMessage[] = []
  for (const message of queue.live.values()) {
    const waits = message.orderingKey !== null && keys.has(message.orderingKey)
    if (message.orderingKey !== null) keys.add(message.orderingKey)
    if (!waits && placeOf(message, now) === 'ready' && (ids?.includes(message.id) ?? true)) ready.push(message)
  }
  return ready.sort((a, b) => b.priority - a.priority).slice(0, limit)
}

export function nextDueMs({ live }: MemoryQueue, now: number): number | null {
  const waits = [...live.values()].map((message) => message.visibleAt - now)
  return least(waits.filter((wait) => wait > 0))
}

export function lookInto(
  { live, archive }: MemoryQueue,
  { place, limit, afterId, ids, meta = {} }: PeekRequest,
  now: number,
): StoredMessage[] {
  const candidates = place === 'archived' ? byId(archive) : [...live.values()]
  return candidates
    .filter((message) => place === null || placeOf(message, now) === place)
    .filter((message) => afterId === null || Number(message.id) > Number(afterId))
    .filter((message) => ids?.includes(message.id) ?? true)
    .filter((message) => Object.entries(meta).every(([field, text]) => textOf(message.meta, field) === text))
    .slice(0, limit)
    .map((message) => structuredClone({ ...message, receipt: null }))
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
