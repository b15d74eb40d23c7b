import { systemClock, type Timer } from '../../core/clock.ts'
import type { Driver } from './driver.ts'
import { placeKeyOf } from './keys.ts'

const repeatable = { repeatable: true }
const atOnce = 1_000

/** What came by parcels that are gone from their outbox. It is forgotten a while later; upkeep does it where this ends. */
export class Taken {
  readonly #driver: Driver
  #older = new Map<string, string[]>()
  #newer = new Map<string, string[]>()
  #timer: Timer | undefined
  readonly #rememberedMs: number

  /** @param rememberedMs longer than a delivery takes, so that those who are at the same parcel find what came */
  constructor(driver: Driver, rememberedMs: number) {
    this.#driver = driver
    this.#rememberedMs = rememberedMs
  }

  /** @param taken ids of what came, by the places where it is */
  done(taken: ReadonlyMap<string, readonly string[]>): void {
    for (const [place, ids] of taken) {
      const noted = this.#newer.get(place)
      if (noted) noted.push(...ids)
      else this.#newer.set(place, [...ids])
    }
    if (taken.size > 0) this.#timer ??= systemClock.after(this.#rememberedMs, () => this.#turn())
  }

  close(): void {
    this.#timer?.cancel()
  }

  #turn(): void {
    const over = this.#older
    this.#older = this.#newer
    this.#newer = new Map()
    this.#timer = this.#older.size > 0 ? systemClock.after(this.#rememberedMs, () => this.#turn()) : undefined
    this.#driver.whileOpen(() => this.#forget(over)).catch(() => {})
  }

  async #forget(taken: ReadonlyMap<string, readonly string[]>): Promise<void> {
    await Promise.all([...taken].map(([place, ids]) => this.forget(place, ids)))
  }

  /** @param ids of what is gone from where it came from */
  async forget(place: string, ids: readonly string[]): Promise<void> {
    const keys = [placeKeyOf(place, 'meta'), placeKeyOf(place, 'taken')] as const
    for (let at = 0; at < ids.length; at += atOnce)
      await this.#driver.run('taken-forget', keys, ids.slice(at, at + atOnce), repeatable)
  }
}
