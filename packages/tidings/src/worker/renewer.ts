import type { Clock, Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Delivery } from './delivery.ts'

interface RenewerCalls {
  /** Before every round of renewals. */
  tick?(): void
  /** The lease is lost, or could not be renewed and has run out. */
  lost(delivery: Delivery): void
}

/** An answer that is missing after this many ticks no longer counts. */
const patientTicks = 4

/** Renews the leases of all held messages, with one timer. */
export class Renewer {
  readonly #clock: Clock
  readonly #leaseMs: number
  readonly #tickMs: number
  readonly #held: Iterable<Delivery>
  readonly #calls: RenewerCalls
  /** Ticks since the call to the storage. */
  readonly #renewing = new Map<Delivery, number>()
  #timer: Timer | undefined
  #lastTick = 0

  constructor(clock: Clock, leaseMs: number, held: Iterable<Delivery>, calls: RenewerCalls) {
    this.#clock = clock
    this.#leaseMs = leaseMs
    // After the first try, at a third of the lease, there are four more.
    this.#tickMs = Math.max(1, Math.floor(leaseMs / 8))
    this.#held = held
    this.#calls = calls
  }

  start(): void {
    this.#lastTick = this.#clock.now()
    this.#timer = this.#clock.after(this.#tickMs, () => this.#tick())
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #tick(): void {
    // A clock that is set back must not stop renewals; a clock set forward only renews too early.
    const passedMs = Math.max(this.#tickMs, this.#clock.now() - this.#lastTick)
    this.start()
    this.#calls.tick?.()
    for (const delivery of this.#held) {
      delivery.timePassed(passedMs)
      const ticks = this.#renewing.get(delivery)
      if (ticks !== undefined) this.#await(delivery, ticks + 1)
      else if (delivery.leftMs <= (this.#leaseMs * 2) / 3) void this.#renew(delivery)
    }
  }

  /** A storage that answers too late, because of a lock for example, keeps no lease alive. */
  #await(delivery: Delivery, ticks: number): void {
    this.#renewing.set(delivery, ticks)
    if (ticks >= patientTicks && delivery.leftMs <= 0 && !delivery.ended && !delivery.lost) this.#calls.lost(delivery)
  }

  async #renew(delivery: Delivery): Promise<void> {
    if (delivery.ended || delivery.lost) return
    this.#renewing.set(delivery, 0)
    try {
      await delivery.extend(this.#leaseMs)
    } catch (error) {
      // A settlement that overtook the extension is no loss.
      const gone = isTidingsError(error, 'LEASE_LOST') || delivery.leftMs <= 0
      if (gone && !delivery.ended) this.#calls.lost(delivery)
    } finally {
      this.#renewing.delete(delivery)
    }
  }
}
