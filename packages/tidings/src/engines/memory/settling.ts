import type { Settlement, SettleResult, StoredMessage } from '../../port/engine.ts'
import type { Correlations } from './correlations.ts'
import type { MemoryQueue } from './queue.ts'
import { hasSlots, hold } from './sharing.ts'
import { isDeadLetter, isKeptFromDeath, mergeMeta, outcomeOf } from './stored.ts'
import type { MemoryTransaction } from './transactions.ts'

/** A message that has no id yet, and that nobody has read. */
export type Unread = Omit<StoredMessage, 'id' | 'readCount' | 'firstReadAt' | 'lastReadAt' | 'archivedAt' | 'receipt'>

/** What settling needs of the engine. */
export interface Inside {
  readonly correlations: Correlations
  now(): number
  create(name: string): boolean
  find(name: string): MemoryQueue
  store(queue: MemoryQueue, message: Unread): string
  remove(queue: MemoryQueue, message: StoredMessage): void
  wake(queue: MemoryQueue, visibleAt: number): void
}

/** In a transaction: the lease ends with the commit, and a message that is moved gets its new id then. */
export function settleLater(
  engine: Inside,
  queue: MemoryQueue,
  settlement: Settlement,
  tx: MemoryTransaction,
): SettleResult {
  const { id, receipt } = settlement
  const message = queue.live.get(id)
  const isKept = message !== undefined && isKeptFromDeath(message, settlement)
  const settled = message?.receipt === receipt && !tx.used.has(receipt) && !isKept
  if (settled) tx.add(() => void settleOne(engine, queue, settlement))
  tx.used.add(receipt)
  return { settled, newId: null }
}

export function settleOne(engine: Inside, queue: MemoryQueue, settlement: Settlement): SettleResult {
  const now = engine.now()
  const message = queue.live.get(settlement.id)
  if (message?.receipt !== settlement.receipt) return { settled: false, newId: null }
  if (isKeptFromDeath(message, settlement)) return { settled: false, newId: null }
  if (hasSlots(queue)) engine.wake(queue, now)
  switch (settlement.kind) {
    case 'delete':
      engine.remove(queue, message)
      engine.correlations.end(queue.name, message.id, 'done', now)
      break
    case 'archive': {
      engine.remove(queue, message)
      const meta = mergeMeta(message.meta, settlement.meta)
      queue.archive.set(message.id, { ...message, meta, archivedAt: now, receipt: null })
      engine.correlations.end(queue.name, message.id, outcomeOf(meta, settlement.meta), now)
      break
    }
    case 'release': {
      const visibleAt = now + settlement.delayMs
      const meta = mergeMeta(message.meta, settlement.meta)
      const readCount = message.readCount - (settlement.uncount ? 1 : 0)
      if (settlement.hold !== undefined) hold(queue, settlement.hold, message, visibleAt)
      queue.live.set(message.id, { ...message, meta, readCount, visibleAt, receipt: null })
      engine.wake(queue, visibleAt)
      break
    }
    case 'move': {
      engine.remove(queue, message)
      const meta = mergeMeta(message.meta, settlement.meta)
      const copy = { ...message, meta, visibleAt: now + settlement.delayMs }
      engine.create(settlement.to)
      const newId = engine.store(engine.find(settlement.to), copy)
      engine.correlations.move(queue.name, message.id, settlement.to, newId, isDeadLetter(meta), now)
      return { settled: true, newId }
    }
  }
  return { settled: true, newId: null }
}

/** For what was taken out of the queue by someone who is not to have it. */
export function archiveCancelled(queue: MemoryQueue, message: StoredMessage, now: number): StoredMessage {
  const meta = mergeMeta(message.meta, { cancelled_at: new Date(now).toISOString() })
  queue.archive.set(message.id, { ...message, meta, archivedAt: now })
  return structuredClone(message)
}
