import type { JsonObject } from '../../core/json.ts'
import type { Place, StoredMessage } from '../../port/engine.ts'

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

export const isDeadLetter = (meta: JsonObject) => (meta.dead_lettered_at ?? null) !== null

export function textOf(meta: JsonObject, field: string): string | null {
  const value = Object.hasOwn(meta, field) ? meta[field] : null
  return value === undefined || value === null || typeof value === 'object' ? null : String(value)
}
