import type { Clock } from 'tidings/internal/core/clock'
import type { Lease, StoredMessage } from 'tidings/internal/port/engine'

/** Follows the leases of a queue. */
export interface LeaseFollower {
  ended(id: string, receipt: string): void
  extended(id: string, oldReceipt: string, newReceipt: string, leaseMs: number): void
}

interface Entry {
  readonly receipt: string
  readonly until: number
}

/** More than this are not remembered; the oldest are forgotten first. */
const maxLeases = 100_000

/**
 * The newest receipt of every lease that this server gave out, until the lease has ended: for clients that settle by id
 * alone, and for streams, which have to know what is still in hand. A lease that another server gave out is not in it.
 */
export class LeaseBook {
  readonly #clock: Clock
  /** In the order of giving out. */
  readonly #leases = new Map<string, Entry>()
  readonly #followers = new Map<string, Set<LeaseFollower>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  given(queue: string, messages: readonly StoredMessage[], leaseMs: number): void {
    for (const { id, receipt } of messages) if (receipt !== null) this.#note(queue, id, receipt, leaseMs)
  }

  /** @returns null if no lease is known that has not run out */
  receiptOf(queue: string, id: string): string | null {
    const entry = this.#leases.get(keyOf(queue, id))
    return entry !== undefined && entry.until > this.#clock.now() ? entry.receipt : null
  }

  ended(queue: string, leases: readonly Lease[]): void {
    for (const { id, receipt } of leases) {
      const key = keyOf(queue, id)
      if (this.#leases.get(key)?.receipt === receipt) this.#leases.delete(key)
      for (const follower of this.#followersOf(queue)) follower.ended(id, receipt)
    }
  }

  /** @param receipts the new ones; null where the lease was lost */
  extended(queue: string, leases: readonly Lease[], receipts: readonly (string | null)[], leaseMs: number): void {
    for (const [index, lease] of leases.entries()) {
      const receipt = receipts[index] ?? null
      if (receipt === null) this.ended(queue, [lease])
      else {
        this.#note(queue, lease.id, receipt, leaseMs)
        for (const follower of this.#followersOf(queue)) follower.extended(lease.id, lease.receipt, receipt, leaseMs)
      }
    }
  }

  /** @returns what ends the following */
  follow(queue: string, follower: LeaseFollower): () => void {
    const followers = this.#followers.get(queue) ?? new Set()
    this.#followers.set(queue, followers.add(follower))
    return () => {
      followers.delete(follower)
      if (followers.size === 0 && this.#followers.get(queue) === followers) this.#followers.delete(queue)
    }
  }

  #followersOf(queue: string): Iterable<LeaseFollower> {
    return this.#followers.get(queue) ?? []
  }

  #note(queue: string, id: string, receipt: string, leaseMs: number): void {
    const key = keyOf(queue, id)
    this.#leases.delete(key)
    this.#leases.set(key, { receipt, until: this.#clock.now() + leaseMs })
    this.#forgetOldest()
  }

  /** Leases that ran out, as far as they are the oldest, and what there is too much of. */
  #forgetOldest(): void {
    const now = this.#clock.now()
    for (const [key, { until }] of this.#leases) {
      if (until > now && this.#leases.size <= maxLeases) return
      this.#leases.delete(key)
    }
  }
}

/** Names of queues have no slash. */
const keyOf = (queue: string, id: string) => `${queue}/${id}`
