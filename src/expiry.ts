import type { StoredMessage } from './engine.ts'
import { TidingsError } from './errors.ts'
import type { JsonObject } from './json.ts'

/** What becomes of a message whose time to live is over. */
export type ExpiredPolicy = 'deadLetter' | 'drop'

/** In the meta of a message, on the wire. */
export const expiryMeta = (time: number): JsonObject => ({ expires_at: new Date(time).toISOString() })

/** In ms since 1970; null: never. A dead letter does not expire: somebody is to look at it. */
export function expiryOf({ expires_at, dead_lettered_at }: JsonObject): number | null {
  if (typeof expires_at !== 'string' || (dead_lettered_at ?? null) !== null) return null
  const time = Date.parse(expires_at)
  return Number.isNaN(time) ? null : time
}

/**
 * Why a message that was just taken must not be handed out; null if it may. Judged by the time that the storage gave to
 * the read, so that the clock of a reader has no part in it.
 * @param heldMs for how long the reader has had it since
 */
export function expiryError({ meta, lastReadAt }: StoredMessage, heldMs = 0): TidingsError | null {
  const time = expiryOf(meta)
  if (time === null || lastReadAt === null || lastReadAt + heldMs < time) return null
  const expiresAt = new Date(time).toISOString()
  return new TidingsError('EXPIRED', `expired at ${expiresAt}, before it was handled`, { details: { expiresAt } })
}
