import { isTidingsError, type TidingsError } from '../core/errors.ts'
import type { StoredMessage } from '../port/engine.ts'
import type { QueueAccess } from './access.ts'
import { expiryError } from './expiry.ts'
import { cancelledEnding, MessageLease, type Term } from './lease.ts'

/** A leased message whose data has become the user's type. */
export interface Decoded<T> {
  readonly stored: StoredMessage
  readonly lease: MessageLease
  readonly data: T
}

/**
 * Leaves out leased messages that have expired, which are ended as their queue says, and applies the schema to the
 * others: those that it refuses are dead-lettered. If the schema
 * fails for another reason, that message waits for the end of its lease, and the others are given back.
 */
export async function decodeAll<T>(
  access: QueueAccess<T>,
  leased: readonly StoredMessage[],
  term: Term,
): Promise<Decoded<T>[]> {
  const results = await Promise.allSettled(leased.map((stored) => decode(access, stored, term)))
  const decoded = results.flatMap((result) => (result.status === 'fulfilled' && result.value ? [result.value] : []))
  const failure = results.find((result) => result.status === 'rejected')
  if (failure === undefined) return decoded
  await giveBack(decoded)
  throw failure.reason
}

/** Ends leases as if the messages had not been read. */
export async function giveBack(decoded: readonly Decoded<unknown>[]): Promise<void> {
  const release = { kind: 'release', delayMs: 0, meta: {}, uncount: true } as const
  await Promise.allSettled(decoded.map(({ lease }) => lease.settle(release)))
}

async function decode<T>(access: QueueAccess<T>, stored: StoredMessage, term: Term): Promise<Decoded<T> | null> {
  const lease = new MessageLease(access.name, access.deadLetterQueue, stored, access.leaseCalls, term)
  if ((await endIfCancelled(access, lease)) || (await endIfExpired(access, lease))) return null
  try {
    return { stored, lease, data: await access.decode(stored) }
  } catch (error) {
    if (!isTidingsError(error, 'BODY_INVALID')) throw error
    await unlessLost(lease.deadLetter(error))
    return null
  }
}

/** Its reader died before it had ended. @returns whether it was to be cancelled */
async function endIfCancelled(
  { name, logger, leaseCalls }: QueueAccess<unknown>,
  lease: MessageLease,
): Promise<boolean> {
  if (!lease.cancelled) return false
  if (await unlessLost(lease.settle(cancelledEnding(leaseCalls.clock.now()))))
    logger.info({ queue: name, id: lease.message.id }, 'a message was cancelled')
  return true
}

/** @returns whether the message has expired */
export async function endIfExpired(access: QueueAccess<unknown>, lease: MessageLease): Promise<boolean> {
  const error = expiryError(lease.message)
  if (error === null) return false
  const ending = lease.expiredEnding(access.expired, error)
  if (await unlessLost(lease.settle(ending))) logExpired(access, lease.message, error)
  return true
}

/** Says what became of a message that nobody gets to see. */
export function logExpired(
  { name: queue, expired, logger }: Pick<QueueAccess<unknown>, 'name' | 'expired' | 'logger'>,
  { id }: StoredMessage,
  error: TidingsError,
): void {
  if (expired === 'drop') logger.info({ queue, id, ...error.details }, 'a message expired and was dropped')
  else logger.error({ queue, id, err: error }, 'a message was dead-lettered')
}

/** @returns false if the lease was lost: another reader has the message now */
export async function unlessLost(settling: Promise<boolean>): Promise<boolean> {
  try {
    return await settling
  } catch (error) {
    if (isTidingsError(error, 'LEASE_LOST')) return false
    throw error
  }
}
