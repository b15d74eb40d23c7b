import { slowMs } from './calling.ts'
import type { Driver } from './driver.ts'
import {
  destinationKey,
  keysOf,
  registryKey,
  routesKey,
  topicDestination,
  topicKeysOf,
  topicRegistryKey,
  upkeepKeysOf,
} from './keys.ts'
import type { Registry } from './registry.ts'
import type { Relay } from './relay/relay.ts'
import type { Routes } from './routes.ts'

/** The process that wrote an outbox entry delivers it at once; an older entry was left by a crash. */
const entryMs = 1_000
/** A delivery stays in an inbox for so long only where the process that delivered it has ended. */
const inboxMs = 86_400_000

/** How many messages retention removes in one step, during which the server does nothing else. */
const removedAtOnce = 10_000

const slow = { repeatable: true, timeoutMs: slowMs }
const atOnce = 8
/** Queues that one call asks after. */
const askedAtOnce = 100

type Cursors = readonly [left: string, old: string]
type Look = (cursors: Cursors) => Promise<unknown>
type Answer = [isThere: 0 | 1, hasMore: 0 | 1, left: string[], old: string[], ...Cursors]

/** Periodic work, queue by queue and topic by topic. */
export class Upkeep {
  readonly #driver: Driver
  readonly #queues: Registry
  readonly #topics: Registry
  readonly #routes: Routes
  readonly #relay: Relay
  readonly #ages: readonly number[]

  /** @param intentMs longer than a send takes; a longer send is refused */
  constructor(driver: Driver, queues: Registry, topics: Registry, routes: Routes, relay: Relay, intentMs: number) {
    this.#driver = driver
    this.#queues = queues
    this.#topics = topics
    this.#routes = routes
    this.#relay = relay
    this.#ages = [entryMs, intentMs, inboxMs]
  }

  async run(): Promise<number> {
    const { wakefulness } = this.#driver
    if (!wakefulness.needsUpkeep) return 0
    await this.#driver.whileOpen(() => this.#run()).finally(() => wakefulness.rest())
    return 0
  }

  async #run(): Promise<void> {
    const answer = await this.#driver.run('names', [registryKey, topicRegistryKey, routesKey], [], slow)
    const [queues, topics, routes] = answer as [string[], string[], string[]]
    const work = [
      ...(await this.#unsettled(queues)).map((name) => () => this.#seeQueue(name)),
      ...topics.map((name) => () => this.#seeTopic(name)),
    ]
    const failures: unknown[] = []
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        for (let see = work.pop(); see !== undefined; see = work.pop())
          await see().catch((error: unknown) => failures.push(error))
      }),
    )
    await this.#routes.clean(routes)
    // A queue whose node is away does not keep the others from their upkeep.
    if (failures.length > 0) throw failures[0]
  }

  /** On a Cluster all: each would be asked on its own. */
  async #unsettled(queues: readonly string[]): Promise<readonly string[]> {
    if (this.#driver.isCluster) return queues
    const found = this.#driver.partsOf(queues, askedAtOnce).map(async (some) => {
      const [first, ...others] = upkeepKeysOf(some)
      const numbers = (await this.#driver.run('unsettled', [first!, ...others], [], slow)) as number[]
      return numbers.map((number) => some[number]!)
    })
    return (await Promise.all(found)).flat()
  }

  #seeQueue(queue: string): Promise<void> {
    const look: Look = (cursors) => this.#driver.run('maintain', keysOf(queue), [...this.#ages, ...cursors], slow)
    return this.#see(queue, look, () => this.#queues.forget(queue))
  }

  #seeTopic(topic: string): Promise<void> {
    const look: Look = (cursors) =>
      this.#driver.run('topic-maintain', topicKeysOf(topic), [...this.#ages, ...cursors, removedAtOnce], slow)
    return this.#see(topicDestination(topic), look, () => this.#topics.forget(topic))
  }

  async #see(destination: string, look: Look, forget: () => Promise<void>): Promise<void> {
    let isDone = true
    for (let cursors: Cursors = ['0', '0']; ; ) {
      const [isThere, hasMore, left, old, ...following] = (await look(cursors)) as Answer
      cursors = following
      await this.#relay.forget(destination, old)
      if (!(await this.#relay.deliverLeft(destination, left))) isDone = false
      if (hasMore === 1 || cursors.some((cursor) => cursor !== '')) continue
      const outbox = destinationKey(destination, 'outbox')
      const isGone = isDone && isThere === 0 && (await this.#driver.call(outbox, ['EXISTS', outbox])) === 0
      if (isGone) await forget()
      return
    }
  }
}
