import type { PublishedCopy, RoutedMessage } from '../../engine.ts'
import { isTidingsError } from '../../errors.ts'
import { type Correlations, type Task, toTasks } from './correlations.ts'
import type { Copies, Courier, Parcel } from './courier.ts'
import type { Driver } from './driver.ts'
import { keysOf, newNonce, routesKey } from './keys.ts'
import { toOptions, toParts, toSendResult } from './messages.ts'
import type { Destination, Routes } from './routes.ts'

const repeatable = { repeatable: true }
const once = { repeatable: false }

interface NonEmptyPlan {
  readonly destinations: readonly [Destination, ...Destination[]]
  readonly version: string
}

/** The results of a queue, by its name. */
type Results = ReadonlyMap<string, readonly string[]>

type Answer = [state: -1 | 0 | 1, queues: ([results: string[], parcels: string[]] | null)[], parcel: string]

/**
 * Copies of messages in several queues. On one server that is one script, which also looks whether the routes are
 * still those by which the queues were found. On a Cluster the script stores the copies of the first queue, and with
 * them, in the same step, a parcel with all others.
 */
export class Publisher {
  readonly #driver: Driver
  readonly #routes: Routes
  readonly #correlations: Correlations
  readonly #courier: Courier

  constructor(driver: Driver, routes: Routes, correlations: Correlations, courier: Courier) {
    this.#driver = driver
    this.#routes = routes
    this.#correlations = correlations
    this.#courier = courier
  }

  async publish(messages: readonly RoutedMessage[]): Promise<PublishedCopy[][]> {
    if (messages.length === 0) return []
    const routingKeys = messages.map(({ routingKey }) => routingKey)
    if (this.#driver.isCluster) await this.#routes.refresh()
    const gone = new Set<string>()
    for (;;) {
      const { destinations, version } = this.#routes.plan(routingKeys)
      const there = destinations.filter(({ incarnation }) => !gone.has(incarnation))
      if (there.length === 0 && (await this.#routes.refresh())) return messages.map(() => [])
      const [first, ...others] = there
      if (!first) continue
      const results = await this.#store(messages, { destinations: [first, ...others], version })
      if (results instanceof Map) return toCopies(messages.length, there, results)
      if (results === 'gone') gone.add(first.incarnation)
      await this.#routes.refresh()
    }
  }

  /**
   * Says in the queue's slot which tasks are about to be sent, then counts them.
   * @returns what the send fulfils; '' if there are no tasks
   */
  async intend(queue: string, tasks: readonly Task[]): Promise<string> {
    if (tasks.length === 0) return ''
    const args = [newNonce(), JSON.stringify(toIntent(tasks))]
    const intent = await this.#driver.run('intend', keysOf(queue), args, repeatable)
    await this.#correlations.note(tasks)
    return intent as string
  }

  /** @returns why nothing was stored: the first queue is gone, or the routes have changed */
  async #store(messages: readonly RoutedMessage[], plan: NonEmptyPlan): Promise<Results | 'gone' | 'changed'> {
    const [first, ...others] = plan.destinations
    const nonce = newNonce()
    const names = toTasks(messages, nonce)
    const tasks = tasksOf(messages, names, plan.destinations)
    const intent = await this.intend(first.name, tasks).catch((error: unknown) => {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
    })
    if (intent === undefined) return 'gone'
    const { isCluster } = this.#driver
    const parts = messages.map((message, index) => [...toParts(message), toOptions(message, names[index])] as const)
    const here = isCluster ? [first] : plan.destinations
    const copies: Copies = { kind: 'copies', destinations: isCluster ? others : [], messages: parts }
    const parcel = copies.destinations.length > 0 ? JSON.stringify(copies) : ''
    const [key, ...keys] = here.flatMap(({ name }) => keysOf(name))
    const args = [nonce, isCluster ? '' : plan.version, JSON.stringify(here), intent, parcel, ...parts.flat()]
    const answer = await this.#driver.run('publish', [key!, ...keys, ...(isCluster ? [] : [routesKey])], args, once)
    const [state, queues, parcelId] = answer as Answer
    if (state !== 1) {
      if (intent !== '') await this.#courier.send(first.name, [intent, JSON.stringify(toIntent(tasks))])
      return state === 0 ? 'changed' : 'gone'
    }
    const stored = new Map<string, readonly string[]>()
    for (const [index, queue] of queues.entries()) {
      if (!queue) continue
      stored.set(here[index]!.name, queue[0])
      await this.#courier.send(here[index]!.name, queue[1])
    }
    if (parcel !== '') {
      const delivered = await this.#courier.deliver(first.name, [parcelId, parcel])
      for (const [queue, results] of delivered.copies.get(parcelId) ?? []) stored.set(queue, results)
    }
    await this.#takeBack(tasks.filter(({ queue }) => !stored.has(queue)))
    return stored
  }

  /** Of queues that were dropped meanwhile. */
  async #takeBack(tasks: readonly Task[]): Promise<void> {
    for (const { correlation, task } of tasks) await this.#correlations.tell(correlation, [['void', task]])
  }
}

const toIntent = (tasks: readonly Task[]): Parcel => ({
  kind: 'intent',
  tasks: tasks.map(({ correlation, task }) => [correlation, task]),
})

/** Every copy is a task of its own. */
function tasksOf(
  messages: readonly RoutedMessage[],
  names: readonly (string | undefined)[],
  destinations: readonly Destination[],
): Task[] {
  return destinations.flatMap(({ name: queue, messages: indices }) =>
    indices.flatMap((index): Task[] => {
      const tracked = messages[index]?.tracked
      if (!tracked) return []
      return [{ ...tracked, correlation: tracked.correlationId, queue, task: `${names[index]}/${queue}` }]
    }),
  )
}

function toCopies(count: number, destinations: readonly Destination[], results: Results): PublishedCopy[][] {
  const copies: PublishedCopy[][] = Array.from({ length: count }, () => [])
  for (const { name: queue, messages } of destinations)
    for (const [at, result] of (results.get(queue) ?? []).entries())
      copies[messages[at]!]!.push({ queue, ...toSendResult(result) })
  return copies
}
