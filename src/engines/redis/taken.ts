import { systemClock, type Timer } from '../../clock.ts'
import type { Driver } from './driver.ts'
import { placeKeyOf } from './keys.ts'

/** Longer than a delivery takes: others may be at the same parcel, and must find what came. */
const rememberedMs = 15_000

/** What came by parcels that are gone from their outbox. It is forgotten a while later; upkeep does it where this ends. */
export class Taken {
  readonly #driver: Driver
  #older = new Map<string, string[]>()
  #newer = new Map<string, string[]>()
  #timer: Timer | undefined

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** @param taken ids of what came, by the places where it is */
  done(taken: ReadonlyMap<string, readonly string[]>): void {
    for (const [place, ids] of taken) {
      const noted = this.#newer.get(place)
      if (noted) noted.push(...ids)
      else this.#newer.set(place, [...ids])
    }
    if (taken.size > 0) this.#timer ??= systemClock.after(rememberedMs, () => this.#turn())
  }

  close(): void {
    this.#timer?.cancel()
  }

  #turn(): void {
    const over = this.#older
    this.#older = this.#newer
    this.#newer = new Map()
    this.#timer = this.#older.size > 0 ? systemClock.after(rememberedMs, () => this.#turn()) : undefined
    this.#driver.whileOpen(() => this.#forget(over)).catch(() => {})
  }

  async #forget(taken: ReadonlyMap<string, readonly string[]>): Promise<void> {
    await Promise.all(
      [...taken].map(([place, ids]) => {
        const key = placeKeyOf(place, 'taken')
        return this.#driver.call(key, ['HDEL', key, ...ids])
      }),
    )
  }
}
