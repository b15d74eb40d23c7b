import type { StoredQueue } from 'tidings/internal/bus/stored-queue'
import type { Lease } from 'tidings/internal/port/engine'
import type { LeaseBook } from '../http/lease-book.ts'

/** The same as `StoredQueue.giveBack`, of leases that the server has noted. */
export async function giveBack(queue: StoredQueue, given: readonly Lease[], leases: LeaseBook): Promise<void> {
  leases.ended(queue.name, given)
  await queue.giveBack(given)
}
