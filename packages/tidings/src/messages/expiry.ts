import { showDuration } from '../core/duration.ts'
import { TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { NewMessage, StoredMessage } from '../port/engine.ts'

/** What becomes of a message whose time to live is over. */
export type ExpiredPolicy = 'deadLetter' | 'drop'

const noMeta: JsonObject = {}

/**
 * What the meta of a message says of its time to live, on the wire; nothing for null.
 * @throws OPTION_CONFLICT if it would expire before it can be read
 */
export function expiryMeta(
  ttlMs: number | null,
  { delayMs, notBefore }: Pick<NewMessage, 'delayMs' | 'notBefore'>,
  now: number,
  field = 'ttl',
): JsonObject {
  if (ttlMs === null) return noMeta
  const readyAt = notBefore ?? now + delayMs
  if (now + ttlMs > readyAt) return { ttl_ms: ttlMs }
  const wait = notBefore === null ? `after ${showDuration(delayMs)}` : `at ${new Date(notBefore).toISOString()}`
  const text = `${field} is ${showDuration(ttlMs)}, but the message becomes ready only ${wait}`
  throw new TidingsError('OPTION_CONFLICT', text, {
    details: { field },
    hint: 'It counts from sending: make it longer than the delay.',
  })
}

/**
 * In ms since 1970, by the clock of the storage, which alone says when a message was sent; null: never. A dead letter
 * does not expire: somebody is to look at it.
 */
export function expiryOf({ meta: { ttl_ms, dead_lettered_at }, sentAt }: StoredMessage): number | null {
  const isGiven = typeof ttl_ms === 'number' && Number.isSafeInteger(ttl_ms) && ttl_ms > 0
  return isGiven && (dead_lettered_at ?? null) === null ? sentAt + ttl_ms : null
}

/**
 * Why a message that was just taken must not be handed out; null if it may. Judged by the time that the storage gave to
 * the read, so that the clock of a reader has no part in it.
 * @param heldMs for how long the reader has had it since
 */
export function expiryError(stored: StoredMessage, heldMs = 0): TidingsError | null {
  const { lastReadAt } = stored
  const time = expiryOf(stored)
  if (time === null || lastReadAt === null || lastReadAt + heldMs < time) return null
  const expiresAt = new Date(time).toISOString()
  return new TidingsError('EXPIRED', `expired at ${expiresAt}, before it was handled`, { details: { expiresAt } })
}
