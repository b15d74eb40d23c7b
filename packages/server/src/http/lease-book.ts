import type { Clock } from 'tidings/internal/core/clock'
import type { Lease, StoredMessage } from 'tidings/internal/port/engine'

/** Follows the leases of a queue. */
export interface LeaseFollower {
  ended(id: string, receipt: string): void
  extended(id: string, oldReceipt: string, newReceipt: string, leaseMs: number): void
}

/** Whose a lease is, where the client has said so. */
export interface Owner {
  readonly holder: string
  /** Whether the lease ends with its holder. */
  readonly held: boolean
  /** Whether the message was read ahead, so that no handler began it at once. */
  readonly ahead: boolean
  /** The number that the client gave the claim; null: none, or it is known that its answer came. */
  readonly claim: number | null
}

export interface KnownLease extends Lease {
  readonly queue: string
  readonly owner: Owner | null
}

interface Entry extends KnownLease {
  readonly until: number
}

/** More than this are not remembered; the oldest are forgotten first. */
const maxLeases = 100_000

/**
 * The newest receipt of every lease that this server gave out or made longer, until the lease has ended: for clients
 * that settle by id alone, for streams, which have to know what is still in hand, and for holders that go away. A lease
 * that only another server has seen is not in it.
 */
export class LeaseBook {
  readonly #clock: Clock
  readonly #maxLeases: number
  /** In the order of giving out. */
  readonly #leases = new Map<string, Entry>()
  readonly #byHolder = new Map<string, Set<Entry>>()
  readonly #followers = new Map<string, Set<LeaseFollower>>()

  constructor(clock: Clock, limit = maxLeases) {
    this.#clock = clock
    this.#maxLeases = limit
  }

  /** @param ownerOf whose the message at this place is; left out: nobody has said so */
  given(
    queue: string,
    messages: readonly StoredMessage[],
    leaseMs: number,
    ownerOf: (index: number) => Owner | null = () => null,
  ): void {
    for (const [index, { id, receipt }] of messages.entries())
      if (receipt !== null) this.#note({ queue, id, receipt, owner: ownerOf(index) }, leaseMs)
  }

  /** @returns null if no lease is known that has not run out */
  receiptOf(queue: string, id: string): string | null {
    const entry = this.#leases.get(keyOf(queue, id))
    return entry !== undefined && entry.until > this.#clock.now() ? entry.receipt : null
  }

  /** The leases of a holder that have not run out, those that do not end with it too. */
  of(holder: string): KnownLease[] {
    const now = this.#clock.now()
    return [...(this.#byHolder.get(holder) ?? [])].filter(({ until }) => until > now)
  }

  ended(queue: string, leases: readonly Lease[]): void {
    for (const { id, receipt } of leases) {
      const entry = this.#leases.get(keyOf(queue, id))
      if (entry?.receipt === receipt) this.#forget(entry)
      for (const follower of this.#followersOf(queue)) follower.ended(id, receipt)
    }
  }

  /**
   * @param receipts the new ones; null where the lease was lost
   * @param ownerOf as for `given`
   */
  extended(
    queue: string,
    leases: readonly Lease[],
    receipts: readonly (string | null)[],
    leaseMs: number,
    ownerOf: (index: number) => Owner | null = () => null,
  ): void {
    for (const [index, lease] of leases.entries()) {
      const { id } = lease
      const receipt = receipts[index] ?? null
      if (receipt === null) this.ended(queue, [lease])
      else {
        this.#note({ queue, id, receipt, owner: ownerOf(index) }, leaseMs)
        for (const follower of this.#followersOf(queue)) follower.extended(id, lease.receipt, receipt, leaseMs)
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

  #note(lease: KnownLease, leaseMs: number): void {
    const key = keyOf(lease.queue, lease.id)
    const before = this.#leases.get(key)
    if (before !== undefined) this.#forget(before)
    const entry = { ...lease, until: this.#clock.now() + leaseMs }
    this.#leases.set(key, entry)
    if (lease.owner !== null) {
      const { holder } = lease.owner
      this.#byHolder.set(holder, (this.#byHolder.get(holder) ?? new Set()).add(entry))
    }
    this.#forgetOldest()
  }

  #forget(entry: Entry): void {
    this.#leases.delete(keyOf(entry.queue, entry.id))
    if (entry.owner === null) return
    const { holder } = entry.owner
    const own = this.#byHolder.get(holder)
    own?.delete(entry)
    if (own?.size === 0) this.#byHolder.delete(holder)
  }

  /** Leases that ran out, as far as they are the oldest, and what there is too much of. */
  #forgetOldest(): void {
    const now = this.#clock.now()
    for (const entry of this.#leases.values()) {
      if (entry.until > now && this.#leases.size <= this.#maxLeases) return
      this.#forget(entry)
    }
  }
}

/** Names of queues have no slash. */
const keyOf = (queue: string, id: string) => `${queue}/${id}`
