import { isTidingsError } from '../../../core/errors.ts'
import type { NewMessage, PublishedCopy, RoutedMessage } from '../../../port/engine.ts'
import { keepsAll, noTopic } from '../../../port/refusals.ts'
import type { AppendResult } from '../../../port/topic-store.ts'
import { type Correlations, type Task, toTasks } from '../correlations.ts'
import type { Driver } from '../driver.ts'
import { destinationKey, newNonce, topicDestination } from '../keys.ts'
import { toSendResult, toTemplate } from '../messages.ts'
import type { Registry } from '../registry.ts'
import type { Plan, Routes } from '../routes.ts'
import {
  type Copies,
  candidatesFor,
  isPlain,
  type Placed,
  type Stored,
  storeCopies,
  storePlainCopies,
} from './copies.ts'
import { type Delivered, Deliverer } from './deliverer.ts'
import type { OutboxEntry } from './outbox.ts'

/**
 * Moved messages, copies of published ones and events of tasks that have to reach another slot. A script writes each as an
 * entry into the outbox of its queue or topic, in the step that it follows from. On one server copies need no entry: one
 * script stores them all.
 *
 * | state     | outbox of the origin         | inbox of the destination    | next state                                                                       |
 * |-----------|------------------------------|-----------------------------|----------------------------------------------------------------------------------|
 * | intended  | `<time>-<nonce>-intent`      |                             | removed by the send or publish that it announces; withdrawn by upkeep after 60 s |
 * | withdrawn | `<time>-<nonce>-intent-over` |                             | delivered by upkeep: its tasks are void                                          |
 * | posted    | `<time>-<nonce>-<number>`    |                             | delivered by the process that wrote it, or by upkeep after 1 s                   |
 * | delivered | the same                     | `<id>[/<message>]@<origin>` | done: removed from the outbox by the process that delivered it                   |
 * | done      |                              | the same                    | forgotten, after 15 s by that process, or after 1 day by upkeep                  |
 * | forgotten |                              | a mark not before `<time>`  | none: a later delivery is refused, OUTCOME_UNKNOWN                               |
 *
 * Every step may be repeated, at any time and by several processes. The message about a milestone of a correlation is delivered
 * in the same way. Its origin is the correlation, which has fields `tell …` instead of an outbox.
 */
export class Relay {
  readonly #driver: Driver
  readonly #routes: Routes
  readonly #correlations: Correlations
  readonly #deliverer: Deliverer

  /** @param rememberedMs as for `Inboxes`; default 15,000 */
  constructor(driver: Driver, registry: Registry, routes: Routes, correlations: Correlations, rememberedMs = 15_000) {
    this.#driver = driver
    this.#routes = routes
    this.#correlations = correlations
    this.#deliverer = new Deliverer(driver, registry, correlations, rememberedMs)
  }

  close(): void {
    this.#deliverer.close()
  }

  /**
   * Delivers entries whose results are needed.
   * @param list ids and entries in turn, as the scripts return them
   * @throws OUTCOME_UNKNOWN, if they could not all be delivered, or their results are forgotten
   */
  deliver(origin: string, list: readonly string[]): Promise<Delivered> {
    return this.#deliverer.deliver(origin, list)
  }

  /**
   * Delivers entries whose results nobody needs: what cannot be delivered now stays for upkeep.
   * @returns whether nothing is left
   */
  tryDeliver(origin: string, list: readonly string[]): Promise<boolean> {
    return this.#deliverer.tryDeliver(origin, list)
  }

  /**
   * Delivers what other processes have left in an outbox. An entry that cannot be delivered holds up no other one.
   * @returns whether nothing is left
   */
  deliverLeft(origin: string, list: readonly string[]): Promise<boolean> {
    return this.#deliverer.deliverLeft(origin, list)
  }

  /** Removes from an inbox the deliveries whose entries are gone from their outbox. */
  forget(destination: string, deliveries: readonly string[]): Promise<void> {
    return this.#deliverer.forget(destination, deliveries)
  }

  async publish(messages: readonly RoutedMessage[]): Promise<PublishedCopy[][]> {
    if (messages.length === 0) return []
    const routingKeys = messages.map(({ routingKey }) => routingKey)
    const [plan, placed] = await this.#storeBy(messages, async (gone) => this.#routes.plan(routingKeys, gone))
    return toCopies(messages.length, plan, placed)
  }

  /** @throws TOPIC_NOT_FOUND */
  async append(topic: string, messages: readonly NewMessage[]): Promise<AppendResult[]> {
    if (messages.length === 0) return []
    if (messages.some(({ dedup }) => dedup?.replace)) throw keepsAll(topic)
    const makePlan = (gone: ReadonlySet<string>) => this.#routes.planFor(topic, messages.length, gone)
    const [, { topics }] = await this.#storeBy(messages, makePlan)
    if (!topics[0]) throw noTopic(topic)
    return topics[0].results.map(toAppendResult)
  }

  /**
   * Announces tasks in the outbox of a queue or a topic, then counts them.
   * @returns the intent, which the send fulfils; '' if there are no tasks
   */
  async intend(origin: string, tasks: readonly Task[]): Promise<string> {
    if (tasks.length === 0) return ''
    const args = [newNonce(), JSON.stringify(toIntent(tasks))]
    const keys = [destinationKey(origin, 'meta'), destinationKey(origin, 'outbox')] as const
    // A second intent would be withdrawn, and its tasks with it.
    const intent = await this.#driver.run('intend', keys, args, { repeatable: false })
    await this.#correlations.note(tasks)
    return intent as string
  }

  async #storeBy(
    messages: readonly NewMessage[],
    makePlan: (gone: ReadonlySet<string>) => Promise<Plan>,
  ): Promise<readonly [Plan, Placed]> {
    if (this.#driver.isCluster) await this.#routes.refresh()
    const gone = new Set<string>()
    for (;;) {
      const plan = await makePlan(gone)
      const first = firstOf(plan)
      if (!first && (await this.#routes.refresh())) return [plan, { topics: [], queues: [] }]
      if (!first) continue
      const kept = plan.topics.find((topic) => topic.messages.some((at) => messages[at]!.dedup?.replace))
      if (kept) throw keepsAll(kept.name)
      const placed = await this.#store(messages, plan, first)
      if (typeof placed === 'object') return [plan, placed]
      if (placed === 'gone') gone.add(first.incarnation)
      await this.#routes.refresh()
    }
  }

  /**
   * On one server, one script stores all copies, and looks whether the routes are still those of the plan. On a Cluster
   * the script stores the copies of the first queue or topic, and in the same step an entry with all others.
   * @returns why nothing was stored: the first one is gone, or the routes have changed
   */
  async #store(messages: readonly NewMessage[], plan: Plan, first: First): Promise<Placed | 'gone' | 'changed'> {
    const nonce = newNonce()
    const names = toTasks(messages, nonce)
    const tasks = tasksOf(messages, names, plan)
    const intent = await this.intend(first.name, tasks).catch((error: unknown) => {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND') && !isTidingsError(error, 'TOPIC_NOT_FOUND')) throw error
    })
    if (intent === undefined) return 'gone'
    const templates = messages.map((message, index) => toTemplate(message, names[index]))
    const { isCluster } = this.#driver
    if (!isCluster && intent === '' && isPlain(plan, templates))
      return (await storePlainCopies(this.#driver, plan, templates)) ?? 'changed'
    const here = isCluster ? first.alone : plan
    const { topics, queues } = plan
    const others = isCluster && topics.length + queues.length > 1
    const copies: Omit<Copies, 'results'> = { kind: 'copies', topics, queues, messages: templates }
    const answer = await storeCopies(this.#driver, here, templates, {
      nonce,
      version: isCluster ? '' : plan.version,
      intent,
      // The script adds the results and the end.
      entry: others ? JSON.stringify(copies).slice(0, -1) : '',
      repeatable: false,
    })
    if (answer[0] !== 1) {
      if (intent !== '') await this.tryDeliver(first.name, [intent, JSON.stringify(toIntent(tasks))])
      return answer[0] === 0 ? 'changed' : 'gone'
    }
    const [, inTopics, inQueues, entry, ownEntries] = answer
    await this.tryDeliver(first.name, ownEntries)
    for (const [at, queue] of inQueues.entries()) if (queue) await this.tryDeliver(here.queues[at]!.name, queue[2])
    if (others) {
      const results = inTopics[0] ?? inQueues[0]![1]
      const delivered = await this.deliver(first.name, [entry, JSON.stringify({ ...copies, results })])
      return delivered.copies.get(entry)!
    }
    return {
      topics: inTopics.map((results, at) => results && { messages: topics[at]!.messages, results }),
      queues: inQueues.map((answered) => answered && { messages: answered[0], results: answered[1] }),
    }
  }
}

/** On which the rest depends: the first topic, else the first queue. */
interface First {
  readonly name: string
  readonly incarnation: string
  /** The part of the plan for it alone. */
  readonly alone: Plan
}

function firstOf({ topics: [topic], queues: [queue], version }: Plan): First | undefined {
  if (topic) {
    const { name, incarnation } = topic
    return { name: topicDestination(name), incarnation, alone: { topics: [topic], queues: [], version } }
  }
  return queue && { ...queue, alone: { topics: [], queues: [queue], version } }
}

const toIntent = (tasks: readonly Task[]): OutboxEntry => ({
  kind: 'intent',
  tasks: tasks.map(({ correlation, task }) => [correlation, task]),
})

/** Every copy in a queue is a task of its own. */
function tasksOf(
  messages: readonly NewMessage[],
  names: readonly (string | undefined)[],
  { topics, queues }: Plan,
): Task[] {
  if (!messages.some(({ tracked }) => tracked)) return []
  return queues.flatMap((queue) =>
    candidatesFor(queue, topics).flatMap((index): Task[] => {
      const tracked = messages[index]?.tracked
      if (!tracked) return []
      const task = `${names[index]}/${queue.name}`
      return [{ ...tracked, correlation: tracked.correlationId, queue: queue.name, task }]
    }),
  )
}

function toCopies(count: number, { topics, queues }: Plan, placed: Placed): PublishedCopy[][] {
  const copies: PublishedCopy[][] = Array.from({ length: count }, () => [])
  const add = <T>(
    targets: readonly T[],
    stored: readonly (Stored | null)[],
    toCopy: (target: T, result: string) => PublishedCopy,
  ) => {
    for (const [at, target] of targets.entries())
      for (const [index, result] of (stored[at]?.results ?? []).entries())
        copies[stored[at]!.messages[index]!]!.push(toCopy(target, result))
  }
  add(queues, placed.queues, ({ name }, result) => ({ queue: name, ...toSendResult(result) }))
  add(topics, placed.topics, ({ name }, result) => ({ topic: name, ...toAppendResult(result) }))
  return copies
}

function toAppendResult(result: string): AppendResult {
  const { id, duplicate } = toSendResult(result)
  return { offset: Number(id), duplicate }
}
