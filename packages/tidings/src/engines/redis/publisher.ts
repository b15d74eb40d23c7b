import { isTidingsError } from '../../core/errors.ts'
import type { NewMessage, PublishedCopy, RoutedMessage } from '../../port/engine.ts'
import type { AppendResult } from '../../port/topic-store.ts'
import { type Correlations, type Task, toTasks } from './correlations.ts'
import type { Courier, Results, Stored } from './courier.ts'
import type { Driver } from './driver.ts'
import { noTopic } from './errors.ts'
import { keysOf, newNonce, placeKeyOf, placeOfTopic, routesKey, topicKeysOf } from './keys.ts'
import { toSendResult, toSheet } from './messages.ts'
import type { Copies, Parcel } from './parcels.ts'
import { candidatesFor, type Plan, type Routes } from './routes.ts'

const once = { repeatable: false }
const nothing: Results = { topics: new Map(), queues: new Map() }

type QueueAnswer = [messages: number[], results: string[], parcels: string[]] | null
type Answer = [
  state: -1 | 0 | 1,
  topics: (string[] | null)[],
  queues: QueueAnswer[],
  parcel: string,
  parcelsOfTopic: string[],
]

/**
 * Copies of messages in topics and queues. On one server that is one script, which also looks whether the routes are
 * still those by which the places were found. On a Cluster the script stores the copies of the first place, and with
 * them, in the same step, a parcel with all others. Topics come first, since a duplicate there goes no further.
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
    const results = await this.#storeBy(messages, async (gone) => this.#routes.plan(routingKeys, gone))
    return toCopies(messages.length, results)
  }

  /** @throws TOPIC_NOT_FOUND */
  async append(topic: string, messages: readonly NewMessage[]): Promise<AppendResult[]> {
    if (messages.length === 0) return []
    const { topics } = await this.#storeBy(messages, (gone) => this.#routes.planFor(topic, messages.length, gone))
    const stored = topics.get(topic)
    if (!stored) throw noTopic(topic)
    return stored.results.map(toAppendResult)
  }

  async #storeBy(
    messages: readonly NewMessage[],
    makePlan: (gone: ReadonlySet<string>) => Promise<Plan>,
  ): Promise<Results> {
    if (this.#driver.isCluster) await this.#routes.refresh()
    const gone = new Set<string>()
    for (;;) {
      const plan = await makePlan(gone)
      const first = firstOf(plan)
      if (!first && (await this.#routes.refresh())) return nothing
      if (!first) continue
      const results = await this.#store(messages, plan, first)
      if (typeof results === 'object') return results
      if (results === 'gone') gone.add(first.incarnation)
      await this.#routes.refresh()
    }
  }

  /**
   * Says in the slot of a queue or a topic which tasks are about to be sent, then counts them.
   * @returns what the send fulfils; '' if there are no tasks
   */
  async intend(place: string, tasks: readonly Task[]): Promise<string> {
    if (tasks.length === 0) return ''
    const args = [newNonce(), JSON.stringify(toIntent(tasks))]
    const keys = [placeKeyOf(place, 'meta'), placeKeyOf(place, 'outbox')] as const
    // A second one would be taken back, and its tasks with it.
    const intent = await this.#driver.run('intend', keys, args, once)
    await this.#correlations.note(tasks)
    return intent as string
  }

  /** @returns why nothing was stored: the first place is gone, or the routes have changed */
  async #store(messages: readonly NewMessage[], plan: Plan, first: First): Promise<Results | 'gone' | 'changed'> {
    const nonce = newNonce()
    const names = toTasks(messages, nonce)
    const tasks = tasksOf(messages, names, plan)
    const intent = await this.intend(first.place, tasks).catch((error: unknown) => {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND') && !isTidingsError(error, 'TOPIC_NOT_FOUND')) throw error
    })
    if (intent === undefined) return 'gone'
    const sheets = messages.map((message, index) => toSheet(message, names[index]))
    const { isCluster } = this.#driver
    const here = isCluster ? first.alone : plan
    const parcel = isCluster && sizeOf(plan) > 1 ? toParcel(plan, sheets) : undefined
    const [key, ...keys] = [
      ...here.topics.flatMap(({ name }) => topicKeysOf(name)),
      ...here.queues.flatMap(({ name }) => keysOf(name)),
      ...(isCluster ? [] : [routesKey]),
    ]
    const places = JSON.stringify([here.topics, here.queues])
    const args = [nonce, isCluster ? '' : plan.version, places, intent, parcel?.open ?? '', ...sheets.flat()]
    const answer = await this.#driver.run('publish', [key!, ...keys], args, once)
    const [state, topics, queues, parcelId, ownParcels] = answer as Answer
    if (state !== 1) {
      if (intent !== '') await this.#courier.send(first.place, [intent, JSON.stringify(toIntent(tasks))])
      return state === 0 ? 'changed' : 'gone'
    }
    await this.#courier.send(first.place, ownParcels)
    for (const [at, queue] of queues.entries()) if (queue) await this.#courier.send(here.queues[at]!.name, queue[2])
    if (!parcel) return toResults(here, topics, queues)
    const text = parcel.close(topics[0] ?? queues[0]![1])
    const { copies } = await this.#courier.deliver(first.place, [parcelId, text])
    return copies.get(parcelId) ?? nothing
  }
}

interface First {
  readonly place: string
  readonly incarnation: string
  /** The part of the plan for it alone. */
  readonly alone: Plan
}

/** Where that is stored on which the rest depends. */
function firstOf({ topics: [topic], queues: [queue], version }: Plan): First | undefined {
  if (topic)
    return {
      place: placeOfTopic(topic.name),
      incarnation: topic.incarnation,
      alone: { topics: [topic], queues: [], version },
    }
  return queue && { place: queue.name, incarnation: queue.incarnation, alone: { topics: [], queues: [queue], version } }
}

const sizeOf = ({ topics, queues }: Plan) => topics.length + queues.length

/** The script adds the results of the first place at the end, and stores the whole. */
function toParcel({ topics, queues }: Plan, messages: Copies['messages']) {
  const copies: Omit<Copies, 'results'> = { kind: 'copies', topics, queues, messages }
  const open = JSON.stringify(copies).slice(0, -1)
  return { open, close: (results: readonly string[]) => `${open},"results":${JSON.stringify(results)}}` }
}

const toIntent = (tasks: readonly Task[]): Parcel => ({
  kind: 'intent',
  tasks: tasks.map(({ correlation, task }) => [correlation, task]),
})

/** Every copy in a queue is a task of its own. */
function tasksOf(
  messages: readonly NewMessage[],
  names: readonly (string | undefined)[],
  { topics, queues }: Plan,
): Task[] {
  return queues.flatMap((queue) =>
    candidatesFor(queue, topics).flatMap((index): Task[] => {
      const tracked = messages[index]?.tracked
      if (!tracked) return []
      const task = `${names[index]}/${queue.name}`
      return [{ ...tracked, correlation: tracked.correlationId, queue: queue.name, task }]
    }),
  )
}

function toResults(plan: Plan, topics: readonly (string[] | null)[], queues: readonly QueueAnswer[]): Results {
  const inTopics = topics.flatMap((results, at): [string, Stored][] => {
    const { name, messages } = plan.topics[at]!
    return results ? [[name, { messages, results }]] : []
  })
  const inQueues = queues.flatMap((answer, at): [string, Stored][] => {
    const [messages, results] = answer ?? []
    return messages && results ? [[plan.queues[at]!.name, { messages, results }]] : []
  })
  return { topics: new Map(inTopics), queues: new Map(inQueues) }
}

function toCopies(count: number, { topics, queues }: Results): PublishedCopy[][] {
  const copies: PublishedCopy[][] = Array.from({ length: count }, () => [])
  for (const [queue, { messages, results }] of queues)
    for (const [at, result] of results.entries()) copies[messages[at]!]!.push({ queue, ...toSendResult(result) })
  for (const [topic, { messages, results }] of topics)
    for (const [at, result] of results.entries()) copies[messages[at]!]!.push({ topic, ...toAppendResult(result) })
  return copies
}

function toAppendResult(result: string): AppendResult {
  const { id, duplicate } = toSendResult(result)
  return { offset: Number(id), duplicate }
}
