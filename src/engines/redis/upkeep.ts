import type { Courier } from './courier.ts'
import type { Driver } from './driver.ts'
import { keysOf, placeOfTopic, topicKeysOf } from './keys.ts'
import type { Registry } from './registry.ts'
import type { Routes } from './routes.ts'

/** Whoever wrote a parcel delivers it at once; one that is older was left by a crash. */
const parcelMs = 1_000
/** After which time it is looked whether a parcel that came can be forgotten, where its sender has not seen to that. */
const takenMs = 86_400_000

/** How many messages retention removes in one step, during which the server does nothing else. */
const removedAtOnce = 10_000

const repeatable = { repeatable: true }
const atOnce = 8

type Answer = [isThere: 0 | 1, hasMore: 0 | 1, parcelCount: number, left: string[], old: string[]]

/** What time asks for, queue by queue and topic by topic. */
export class Upkeep {
  readonly #driver: Driver
  readonly #queues: Registry
  readonly #topics: Registry
  readonly #routes: Routes
  readonly #courier: Courier
  readonly #ages: readonly number[]

  /** @param intentMs longer than a send can take; one that takes longer still is refused */
  constructor(driver: Driver, queues: Registry, topics: Registry, routes: Routes, courier: Courier, intentMs: number) {
    this.#driver = driver
    this.#queues = queues
    this.#topics = topics
    this.#routes = routes
    this.#courier = courier
    this.#ages = [parcelMs, intentMs, takenMs]
  }

  async run(): Promise<void> {
    const queues = (await this.#queues.names()).map((name) => () => this.#seeQueue(name))
    const topics = (await this.#topics.names()).map((name) => () => this.#seeTopic(name))
    const work = [...queues, ...topics]
    const failures: unknown[] = []
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let see = work.pop(); see !== undefined; see = work.pop())
          await see().catch((error: unknown) => failures.push(error))
      }),
    )
    await this.#routes.clean()
    // A queue whose node is away takes nothing from the others.
    if (failures.length > 0) throw failures[0]
  }

  #seeQueue(queue: string): Promise<void> {
    const look = () => this.#driver.run('maintain', keysOf(queue), this.#ages, repeatable)
    return this.#see(queue, look, () => this.#queues.forget(queue))
  }

  #seeTopic(topic: string): Promise<void> {
    const look = () =>
      this.#driver.run('topic-maintain', topicKeysOf(topic), [...this.#ages, removedAtOnce], repeatable)
    return this.#see(placeOfTopic(topic), look, () => this.#topics.forget(topic))
  }

  async #see(place: string, look: () => Promise<unknown>, forget: () => Promise<void>): Promise<void> {
    for (;;) {
      const [isThere, hasMore, parcelCount, left, old] = (await look()) as Answer
      await this.#courier.forget(place, old)
      const isDone = await this.#courier.send(place, left)
      if (isDone && isThere === 0 && parcelCount === left.length / 2) await forget()
      if (hasMore === 0) return
    }
  }
}
