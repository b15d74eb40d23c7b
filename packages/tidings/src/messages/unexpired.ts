import { isTidingsError, type TidingsError } from '../core/errors.ts'
import type { Claim, ClaimRequest, NewMessage, StoredMessage } from '../port/engine.ts'
import type { QueueAccess } from './access.ts'
import { endIfExpired, logExpired } from './decode.ts'
import { expiryError } from './expiry.ts'
import { deadLetterMeta, MessageLease } from './lease.ts'

const maxTries = 3
/** For the same letter sent again because its answer was lost. */
const dedupWindowMs = 3_600_000

/** Claims messages that have not expired. The others end as the queue says. */
export async function claimUnexpired(access: QueueAccess<unknown>, request: ClaimRequest): Promise<Claim> {
  const { name, engine, deadLetterQueue, leaseCalls } = access
  for (;;) {
    const claim = await engine.claim(name, request)
    const messages: StoredMessage[] = []
    for (const message of claim.messages) {
      const lease = new MessageLease(name, deadLetterQueue, message, leaseCalls)
      if (!(await endIfExpired(access, lease))) messages.push(message)
    }
    if (messages.length > 0 || claim.messages.length === 0) return { ...claim, messages }
  }
}

/** Pops messages that have not expired. The others have been removed, too: they become dead letters, or are dropped. */
export async function popUnexpired(access: QueueAccess<unknown>, limit: number): Promise<StoredMessage[]> {
  for (;;) {
    const popped = await access.engine.pop(access.name, limit)
    const good: StoredMessage[] = []
    for (const stored of popped) {
      const error = expiryError(stored)
      if (error === null) good.push(stored)
      else await end(access, stored, error)
    }
    if (good.length > 0 || popped.length === 0) return good
  }
}

async function end(access: QueueAccess<unknown>, stored: StoredMessage, error: TidingsError): Promise<void> {
  const { name: queue, expired, deadLetterQueue, logger } = access
  try {
    if (expired === 'deadLetter' && deadLetterQueue !== null)
      await send(access, deadLetterQueue, letterOf(access, stored, error))
    logExpired(access, stored, error)
  } catch (cause) {
    // The others are gone from the queue, too, so they must be returned.
    logger.error({ queue, message: stored, error: cause }, 'a popped message expired, and could not be dead-lettered')
  }
}

async function send({ engine }: QueueAccess<unknown>, queue: string, letter: NewMessage): Promise<void> {
  for (let tries = 1; ; tries++)
    try {
      await engine.send(queue, [letter], null)
      return
    } catch (error) {
      const missing = isTidingsError(error, 'QUEUE_NOT_FOUND')
      if (tries >= maxTries || !(missing || (isTidingsError(error) && error.retryable))) throw error
      if (missing) await engine.createQueue(queue)
    }
}

function letterOf({ name, clock }: QueueAccess<unknown>, stored: StoredMessage, error: TidingsError): NewMessage {
  const { id, data, headers, meta, priority, orderingKey, sentAt } = stored
  return {
    data,
    headers,
    meta: { ...meta, ...deadLetterMeta(name, stored, error, clock.now()) },
    delayMs: 0,
    notBefore: null,
    priority,
    orderingKey,
    // A queue that was dropped and made anew counts its ids from 1 again; the time tells them apart.
    dedup: { id: `expired/${name}/${id}/${sentAt}`, windowMs: dedupWindowMs },
    uniqueTarget: null,
    bare: false,
  }
}
