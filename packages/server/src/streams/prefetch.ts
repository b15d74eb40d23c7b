import type { StoredQueue } from 'tidings/internal/bus/stored-queue'
import type { Clock, Timer } from 'tidings/internal/core/clock'
import type { Lease, StoredMessage } from 'tidings/internal/port/engine'
import type { LeaseBook } from '../http/lease-book.ts'
import { giveBack } from './giving-back.ts'

/** What one stream has given out and its client has not settled yet. */
export class Prefetch {
  readonly #clock: Clock
  readonly #limit: number
  readonly #held = new Map<string, { readonly receipt: string; readonly until: number }>()
  readonly #unfollow: () => void
  #wakeUp = () => {}

  constructor(queue: string, limit: number, leases: LeaseBook, clock: Clock) {
    this.#clock = clock
    this.#limit = limit
    this.#unfollow = leases.follow(queue, {
      ended: (id, receipt) => this.#replace(id, receipt),
      extended: (id, old, receipt, leaseMs) => this.#replace(id, old, { receipt, until: clock.now() + leaseMs }),
    })
  }

  /** How many more messages the client takes. */
  get room(): number {
    const now = this.#clock.now()
    for (const [id, { until }] of this.#held) if (until <= now) this.#held.delete(id)
    return this.#limit - this.#held.size
  }

  add(messages: readonly StoredMessage[], leaseMs: number): void {
    const until = this.#clock.now() + leaseMs
    for (const { id, receipt } of messages) if (receipt !== null) this.#held.set(id, { receipt, until })
  }

  /** Resolves when there is room, or the signal is aborted. */
  async waitForRoom(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.room <= 0) await this.#change(signal)
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const firstEnd = Math.min(...[...this.#held.values()].map(({ until }) => until))
      const done = () => {
        timer.cancel()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer: Timer = this.#clock.after(Math.max(1, firstEnd - this.#clock.now()), done)
      this.#wakeUp = done
      signal.addEventListener('abort', done, { once: true })
    })
  }

  /** The client has gone: what it has not settled is for others at once. */
  async close(queue: StoredQueue, leases: LeaseBook): Promise<void> {
    this.#unfollow()
    const left: Lease[] = [...this.#held].map(([id, { receipt }]) => ({ id, receipt }))
    this.#held.clear()
    await giveBack(queue, left, leases)
  }

  #replace(id: string, receipt: string, next?: { receipt: string; until: number }): void {
    if (this.#held.get(id)?.receipt !== receipt) return
    if (next) this.#held.set(id, next)
    else this.#held.delete(id)
    this.#wakeUp()
  }
}
