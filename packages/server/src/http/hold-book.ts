import type { Clock } from 'tidings/internal/core/clock'

/** That a consumer of a holder has a subscription. */
export interface KnownHold {
  readonly topic: string
  readonly subscription: string
  readonly consumer: string
  readonly holder: string
}

interface Entry extends KnownHold {
  readonly until: number
}

/** More than this are not remembered; the oldest are forgotten first. */
const maxHolds = 100_000

/** The subscriptions that holders have by this server, until their leases have run out. */
export class HoldBook {
  readonly #clock: Clock
  /** In the order of holding. */
  readonly #holds = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  held(hold: KnownHold, leaseMs: number): void {
    this.ended(hold.topic, hold.subscription)
    const now = this.#clock.now()
    this.#holds.set(keyOf(hold.topic, hold.subscription), { ...hold, until: now + leaseMs })
    for (const [key, { until }] of this.#holds) {
      if (until > now && this.#holds.size <= maxHolds) return
      this.#holds.delete(key)
    }
  }

  /** It was left, or somebody has it of whom no holder is known. */
  ended(topic: string, subscription: string): void {
    this.#holds.delete(keyOf(topic, subscription))
  }

  of(holder: string): KnownHold[] {
    const now = this.#clock.now()
    return [...this.#holds.values()].filter((one) => one.holder === holder && one.until > now)
  }
}

/** Names have no slash. */
const keyOf = (topic: string, subscription: string) => `${topic}/${subscription}`
