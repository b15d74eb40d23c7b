import { systemClock, type Timer } from '../../../core/clock.ts'
import type { Driver } from '../driver.ts'
import { destinationKey } from '../keys.ts'

const repeatable = { repeatable: true }
const atOnce = 1_000

/** Delivery ids by the queues and topics that have them in their inbox. */
export type Deliveries = Map<string, string[]>

export function addDeliveries(deliveries: Deliveries, destination: string, ids: readonly string[]): void {
  deliveries.set(destination, [...(deliveries.get(destination) ?? []), ...ids])
}

/** Forgets deliveries a while after their entries are gone; upkeep does so where this process ends before. */
export class Inboxes {
  readonly #driver: Driver
  readonly #rememberedMs: number
  #older: Deliveries = new Map()
  #newer: Deliveries = new Map()
  #timer: Timer | undefined

  /** @param rememberedMs longer than a delivery takes, so that another process at the same entry finds its result */
  constructor(driver: Driver, rememberedMs: number) {
    this.#driver = driver
    this.#rememberedMs = rememberedMs
  }

  close(): void {
    this.#timer?.cancel()
  }

  forgetLater(deliveries: Deliveries): void {
    for (const [destination, ids] of deliveries) addDeliveries(this.#newer, destination, ids)
    if (deliveries.size > 0) this.#timer ??= systemClock.after(this.#rememberedMs, () => this.#turn())
  }

  #turn(): void {
    const over = [...this.#older]
    this.#older = this.#newer
    this.#newer = new Map()
    this.#timer = this.#older.size > 0 ? systemClock.after(this.#rememberedMs, () => this.#turn()) : undefined
    const forgetAll = () => Promise.all(over.map(([destination, ids]) => this.forget(destination, ids)))
    this.#driver.whileOpen(forgetAll).catch(() => {})
  }

  /** @param ids of entries that are gone from their outbox */
  async forget(destination: string, ids: readonly string[]): Promise<void> {
    const keys = [destinationKey(destination, 'meta'), destinationKey(destination, 'inbox')] as const
    for (let at = 0; at < ids.length; at += atOnce)
      await this.#driver.run('inbox-forget', keys, ids.slice(at, at + atOnce), repeatable)
  }
}
