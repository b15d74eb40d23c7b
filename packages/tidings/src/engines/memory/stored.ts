import type { JsonObject } from '../../core/json.ts'
import type { Dedup, NewMessage, Place, Settlement, StoredMessage } from '../../port/engine.ts'

/** A lease that has run out leaves the message ready, though its newest reader may still settle it. */
export function placeOf(message: StoredMessage, now: number): Place {
  if (message.archivedAt !== null) return 'archived'
  if (message.visibleAt <= now) return 'ready'
  return message.receipt === null ? 'delayed' : 'leased'
}

export function asRead(message: StoredMessage, now: number): StoredMessage {
  return {
    ...message,
    readCount: message.readCount + 1,
    firstReadAt: message.firstReadAt ?? now,
    lastReadAt: now,
  }
}

/** Entries instead of a spread and `delete`, so that a field `__proto__` stays plain data. */
export function mergeMeta(meta: JsonObject, changes: JsonObject): JsonObject {
  const merged = Object.entries({ ...meta, ...changes })
  return Object.fromEntries(merged.filter(([field]) => !Object.hasOwn(changes, field) || changes[field] !== null))
}

export const sizeOf = ({ data, meta, headers }: Pick<StoredMessage, 'data' | 'meta' | 'headers'>) =>
  Buffer.byteLength(data + JSON.stringify(meta) + JSON.stringify(headers))

/** How the task of a message ends that is archived with this change of its meta. */
export const outcomeOf = (meta: JsonObject, change: JsonObject) =>
  isDeadLetter(meta) ? 'dead' : (change.cancelled_at ?? null) !== null ? 'cancelled' : 'done'

export const isDeadLetter = (meta: JsonObject) => (meta.dead_lettered_at ?? null) !== null

/** Whether somebody wants it to be cancelled. */
export const isAskedFor = ({ meta }: StoredMessage) => Object.hasOwn(meta, 'cancel_requested_at')

/** Nothing becomes a dead letter that somebody has cancelled. */
export const isKeptFromDeath = ({ meta }: StoredMessage, settlement: Settlement) =>
  Object.hasOwn(meta, 'cancel_requested_at') && 'meta' in settlement && isDeadLetter(settlement.meta)

export function textOf(meta: JsonObject, field: string): string | null {
  const value = Object.hasOwn(meta, field) ? meta[field] : null
  return value === undefined || value === null || typeof value === 'object' ? null : String(value)
}

export type Times = Pick<NewMessage, 'delayMs' | 'notBefore'>

export const dueOf = ({ delayMs, notBefore }: Times, now: number) => Math.max(now, notBefore ?? now + delayMs)

export const endOf = ({ windowMs }: Dedup, now: number) => now + (windowMs ?? Number.POSITIVE_INFINITY)
