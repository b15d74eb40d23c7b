import type { Courier } from './courier.ts'
import type { Driver } from './driver.ts'
import { keysOf } from './keys.ts'
import type { Registry } from './registry.ts'
import type { Routes } from './routes.ts'

/** Whoever wrote a parcel delivers it at once; one that is older was left by a crash. */
const parcelMs = 1_000
/** Longer than a send can take. One that takes longer still is refused. */
const intentMs = 60_000
/** How long a queue remembers a parcel whose sender was not told that it came. */
const takenMs = 86_400_000

const repeatable = { repeatable: true }
const atOnce = 8

/** What time asks for, queue by queue. */
export class Upkeep {
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #routes: Routes
  readonly #courier: Courier

  constructor(driver: Driver, registry: Registry, routes: Routes, courier: Courier) {
    this.#driver = driver
    this.#registry = registry
    this.#routes = routes
    this.#courier = courier
  }

  async run(): Promise<void> {
    const names = await this.#registry.names()
    const failures: unknown[] = []
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let queue = names.pop(); queue !== undefined; queue = names.pop())
          await this.#see(queue).catch((error: unknown) => failures.push(error))
      }),
    )
    await this.#routes.clean()
    // A queue whose node is away takes nothing from the others.
    if (failures.length > 0) throw failures[0]
  }

  async #see(queue: string): Promise<void> {
    for (;;) {
      const answer = await this.#driver.run('maintain', keysOf(queue), [parcelMs, intentMs, takenMs], repeatable)
      const [isThere, hasMore, parcelCount, left] = answer as [0 | 1, 0 | 1, number, string[]]
      const isDone = await this.#courier.send(queue, left)
      if (isDone && isThere === 0 && parcelCount === left.length / 2) await this.#registry.forget(queue)
      if (hasMore === 0) return
    }
  }
}
