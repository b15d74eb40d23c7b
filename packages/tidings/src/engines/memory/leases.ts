import type { Claim, ClaimRequest, Lease, StoredMessage } from '../../port/engine.ts'
import type { Listeners } from './listeners.ts'
import { claimable, type MemoryQueue, nextDueMs } from './queue.ts'
import { charge, hasLimits, select } from './sharing.ts'
import { asRead, placeOf, sizeOf } from './stored.ts'

export interface Leasing {
  readonly now: number
  /** Undefined: the leases belong to nobody. */
  readonly holder: object | undefined
  newReceipt(): string
}

export function leaseNext(
  queue: MemoryQueue,
  { ids, limit, leaseMs, ahead = 0, maxBytes }: ClaimRequest,
  { now, holder, newReceipt }: Leasing,
): Claim {
  const ready = claimable(queue, ids, now)
  const inTurns = ids === null
  // What is read ahead would hold slots and use up a rate that others wait for.
  const most = hasLimits(queue) ? limit - ahead : limit
  const { messages: found, ...rest } = select(queue, ready, { limit: most, inTurns, now })
  const fitting = withinBytes(found, maxBytes)
  charge(queue, fitting, { inTurns, now })
  const messages = fitting.map((message, index) => {
    const leased = { ...asRead(message, now), visibleAt: now + leaseMs, receipt: newReceipt() }
    queue.live.set(message.id, leased)
    queue.holdings.delete(message.id)
    if (holder !== undefined) queue.holdings.set(message.id, { holder, isAhead: index >= limit - ahead })
    return structuredClone(leased)
  })
  if (fitting.length < found.length) return { messages, nextDueMs: 0 }
  const heldBack = rest.heldBack || (most < limit && ready.length > messages.length)
  return { messages, nextDueMs: nextDueMs(queue, rest.opensAt, now), ...(heldBack ? { heldBack } : {}) }
}

function withinBytes(messages: StoredMessage[], maxBytes = Number.POSITIVE_INFINITY): StoredMessage[] {
  let bytes = 0
  const end = messages.findIndex((message, index) => {
    bytes += sizeOf(message)
    return index > 0 && bytes > maxBytes
  })
  return end === -1 ? messages : messages.slice(0, end)
}

/** @returns the new receipt; null where the lease was lost or has run out */
export function extend(
  queue: MemoryQueue,
  { id, receipt, cancelled }: Lease,
  leaseMs: number,
  { now, newReceipt }: Omit<Leasing, 'holder'>,
): string | null {
  const message = queue.live.get(id)
  if (message?.receipt !== receipt || placeOf(message, now) !== 'leased') return null
  if (Object.hasOwn(message.meta, 'cancel_requested_at') && !cancelled) return null
  const extended = { ...message, visibleAt: now + leaseMs, receipt: newReceipt() }
  queue.live.set(id, extended)
  return extended.receipt
}

/** The lease stays as it is. */
export function askToCancel(queue: MemoryQueue, message: StoredMessage, now: number, listeners: Listeners): 'asked' {
  const meta = { cancel_requested_at: new Date(now).toISOString(), ...message.meta }
  queue.live.set(message.id, { ...message, meta })
  listeners.wake(`cancels:${queue.name}`, 0)
  return 'asked'
}

/** Ends the leases of a process that is gone. @returns whether it had any */
export function giveBack({ live, holdings }: MemoryQueue, holder: object, now: number): boolean {
  const lost = [...holdings].filter(([, holding]) => holding.holder === holder)
  for (const [id] of lost) holdings.delete(id)
  const inHand = lost.filter(([id]) => live.has(id) && placeOf(live.get(id)!, now) === 'leased')
  for (const [id, { isAhead }] of inHand) {
    const message = live.get(id)!
    const why = { process_lost_at: new Date(now).toISOString(), ...(isAhead ? { read_ahead_lost: true } : {}) }
    const readCount = message.readCount - (isAhead ? 1 : 0)
    live.set(id, { ...message, meta: { ...message.meta, ...why }, readCount, visibleAt: now, receipt: null })
  }
  return inHand.length > 0
}
