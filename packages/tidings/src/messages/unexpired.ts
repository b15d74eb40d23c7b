import { isTidingsError, type TidingsError } from '../core/errors.ts'
import { loggable } from '../core/message-error.ts'
import type { Engine, NewMessage, StoredMessage } from '../port/engine.ts'
import { parts, sizeOf } from '../port/limits.ts'
import type { QueueAccess } from './access.ts'
import { logExpired } from './decode.ts'
import { expiryError } from './expiry.ts'
import { deadLetterMeta, isCancelled } from './lease.ts'

const maxTries = 3
/** For the same letter sent again because its answer was lost. */
const dedupWindowMs = 3_600_000

/** Pops messages that have not expired. The others have been removed, too: they become dead letters, or are dropped. */
export async function popUnexpired(access: QueueAccess<unknown>, limit: number): Promise<StoredMessage[]> {
  for (;;) {
    const popped = await access.engine.pop(access.name, limit)
    const good: StoredMessage[] = []
    const expired: Expired[] = []
    for (const stored of popped) {
      if (isCancelled(stored)) continue
      const error = expiryError(stored)
      if (error === null) good.push(stored)
      else expired.push({ stored, error })
    }
    await end(access, expired)
    if (good.length > 0 || popped.length === 0) return good
  }
}

interface Expired {
  readonly stored: StoredMessage
  readonly error: TidingsError
}

async function end(access: QueueAccess<unknown>, expired: readonly Expired[]): Promise<void> {
  const { name: queue, deadLetterQueue, engine, logger } = access
  if (access.expired !== 'deadLetter' || deadLetterQueue === null) {
    for (const { stored, error } of expired) logExpired(access, stored, error)
    return
  }
  const letters = expired.map((one) => ({ ...one, letter: letterOf(access, one.stored, one.error) }))
  for (const part of parts(letters, engine.limits, ({ letter }) => sizeOf(letter)))
    try {
      await send(
        engine,
        deadLetterQueue,
        part.map(({ letter }) => letter),
      )
      for (const { stored, error } of part) logExpired(access, stored, error)
    } catch (error) {
      // The others are gone from the queue, too, so they must be returned.
      for (const { stored } of part)
        logger.error(
          { queue, id: stored.id, stored, err: loggable(error) },
          'a popped message expired, and could not be dead-lettered',
        )
    }
}

async function send(engine: Engine, queue: string, letters: NewMessage[]): Promise<void> {
  for (let tries = 1; ; tries++)
    try {
      await engine.send(queue, letters, null)
      return
    } catch (error) {
      const missing = isTidingsError(error, 'QUEUE_NOT_FOUND')
      if (tries >= maxTries || !(missing || (isTidingsError(error) && error.retryable))) throw error
      if (missing) await engine.createQueue(queue)
    }
}

function letterOf({ name, clock }: QueueAccess<unknown>, stored: StoredMessage, error: TidingsError): NewMessage {
  const { id, data, headers, meta, priority, orderingKey, group, sentAt } = stored
  return {
    data,
    headers,
    meta: { ...meta, ...deadLetterMeta(name, stored, error, clock.now()) },
    delayMs: 0,
    notBefore: null,
    priority,
    orderingKey,
    group,
    // A queue that was dropped and made anew counts its ids from 1 again; the time tells them apart.
    dedup: { id: `expired/${name}/${id}/${sentAt}`, windowMs: dedupWindowMs },
    uniqueTarget: null,
    bare: false,
  }
}
