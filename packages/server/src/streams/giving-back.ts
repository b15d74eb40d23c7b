import type { StoredQueue } from 'tidings/internal/bus/stored-queue'
import type { Lease } from 'tidings/internal/port/engine'
import type { LeaseBook } from '../http/lease-book.ts'

/** Ends leases of messages that nobody has seen, as if they had not been read. */
export async function giveBack(queue: StoredQueue, given: readonly Lease[], leases: LeaseBook): Promise<void> {
  leases.ended(queue.name, given)
  await queue.giveBack(given)
}
