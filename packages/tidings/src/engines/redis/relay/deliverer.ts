import { isTidingsError, TidingsError } from '../../../core/errors.ts'
import { pairsOf } from '../calling.ts'
import type { Correlations, TaskEvent } from '../correlations.ts'
import type { Driver } from '../driver.ts'
import { groupBy } from '../groups.ts'
import {
  correlationIn,
  correlationOrigin,
  destinationKey,
  keysOf,
  newNonce,
  removedQueueKeys,
  topicDestination,
} from '../keys.ts'
import { type Encoded, type Template, taskOf, toOptionsText } from '../messages.ts'
import type { Registry } from '../registry.ts'
import type { QueueTarget, Target } from '../routes.ts'
import { type Copies, candidatesFor, type Placed, type Stored, storeCopies } from './copies.ts'
import { addDeliveries, type Deliveries, Inboxes } from './inbox.ts'
import { deliveryId, type Move, type OutboxEntry, readDeliveryId, readEntries } from './outbox.ts'

const repeatable = { repeatable: true }
/** Of how many messages of a removed queue the tasks are told in one step. */
const toldAtOnce = 1_000

/** Results by the ids of entries. */
export interface Delivered {
  readonly moved: ReadonlyMap<string, string>
  readonly copies: ReadonlyMap<string, Placed>
}

const nothing: Delivered = { moved: new Map(), copies: new Map() }

/** As in send.lua; null where another process has delivered it, and the inbox has forgotten its result. */
type Result = string | null
type TaskReport = readonly [correlation: string, event: TaskEvent]
type Arrived = [mark: number, entries?: never] | [results: string[], entries: string[]]

/** Another process has delivered the entry, so long ago that its result is forgotten. */
class Overtaken extends Error {}

/** Delivers entries of outboxes, each once in each inbox, however often and however late it is tried. */
export class Deliverer {
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #correlations: Correlations
  readonly #inboxes: Inboxes

  constructor(driver: Driver, registry: Registry, correlations: Correlations, rememberedMs: number) {
    this.#driver = driver
    this.#registry = registry
    this.#correlations = correlations
    this.#inboxes = new Inboxes(driver, rememberedMs)
  }

  close(): void {
    this.#inboxes.close()
  }

  /** As `Relay.deliver`. */
  async deliver(origin: string, list: readonly string[]): Promise<Delivered> {
    try {
      return list.length === 0 ? nothing : await this.#deliver(origin, list)
    } catch (error) {
      if (error instanceof Overtaken)
        throw new TidingsError('OUTCOME_UNKNOWN', 'this process was held up, and another one has delivered it', {
          cause: error,
          hint: 'Everything is stored, but its ids are not known any more: do not repeat it.',
        })
      if (!isTidingsError(error)) throw error
      throw new TidingsError('OUTCOME_UNKNOWN', `not everything is delivered: ${error.message}`, {
        cause: error,
        hint: 'It is stored, and upkeep delivers the rest: do not repeat it.',
      })
    }
  }

  /** As `Relay.tryDeliver`. */
  async tryDeliver(origin: string, list: readonly string[]): Promise<boolean> {
    try {
      await this.deliver(origin, list)
      return true
    } catch (error) {
      if (!isTidingsError(error, 'OUTCOME_UNKNOWN')) throw error
      return false
    }
  }

  /** As `Relay.deliverLeft`. */
  async deliverLeft(origin: string, list: readonly string[]): Promise<boolean> {
    if (await this.tryDeliver(origin, list)) return true
    const delivered = await Promise.all(pairsOf(list).map((entry) => this.tryDeliver(origin, entry)))
    return delivered.every(Boolean)
  }

  async #deliver(origin: string, list: readonly string[]): Promise<Delivered> {
    const entries = readEntries(list)
    const deliveries: Deliveries = new Map()
    // Events of a task come before its copies arrive, so that events of the copies are told later.
    await this.#tellAll(entries.flatMap(([, entry]) => eventsIn(entry)))
    const moved = await this.#moveAll(origin, entries, deliveries)
    const copies = new Map<string, Placed>()
    for (const [id, entry] of entries) {
      if (entry.kind === 'gone') await this.#tellOfRemoved(origin, entry.grave)
      if (entry.kind === 'copies')
        copies.set(id, await this.#distribute((index) => deliveryId(id, origin, index), entry, deliveries))
    }
    const outbox = destinationKey(origin, 'outbox')
    await this.#driver.call(outbox, ['HDEL', outbox, ...entries.map(([id]) => id)])
    this.#inboxes.forgetLater(deliveries)
    return { moved, copies }
  }

  async #tellAll(reports: readonly TaskReport[]): Promise<void> {
    for (const [correlation, group] of groupBy(reports, ([correlation]) => correlation)) {
      const events = group.map(([, event]) => event)
      for (const { entry, queue, message } of await this.#correlations.tell(correlation, events)) {
        const delivery = deliveryId(entry, correlationOrigin(correlation))
        const deliveries: Deliveries = new Map()
        await this.#moveInto(queue, [[delivery, message]], deliveries)
        await this.#correlations.told(correlation, entry)
        this.#inboxes.forgetLater(deliveries)
      }
    }
  }

  /** A part at a time, so that the server does other things in between. */
  async #tellOfRemoved(queue: string, removed: string): Promise<void> {
    for (let last = ''; ; ) {
      const args = [last, toldAtOnce]
      const answer = await this.#driver.run('removed-tasks', removedQueueKeys(queue, removed), args, repeatable)
      if (answer === null) return
      const [id, tasks] = answer as [string, string[]]
      last = id
      await this.#tellAll(pairsOf(tasks).map(([correlation, task]): TaskReport => [correlation, ['cancelled', task]]))
    }
  }

  /** @returns new ids by entries */
  async #moveAll(
    origin: string,
    entries: readonly (readonly [string, OutboxEntry])[],
    deliveries: Deliveries,
  ): Promise<ReadonlyMap<string, string>> {
    const moves = entries.flatMap(([id, entry]) => (entry.kind === 'move' ? [[id, entry] as const] : []))
    const moved = new Map<string, string>()
    for (const [queue, group] of groupBy(moves, ([, { to }]) => to)) {
      const items = group.map(([id, move]) => [deliveryId(id, origin), messageIn(move)] as const)
      const results = known(await this.#moveInto(queue, items, deliveries))
      for (const [index, [id]] of group.entries()) moved.set(id, results[index]!.slice(1))
    }
    return moved
  }

  /** Creates the queue if it is missing, and uses whatever memory is left: a moved message has left its former queue. */
  async #moveInto(
    queue: string,
    items: readonly (readonly [delivery: string, message: Encoded])[],
    deliveries: Deliveries,
  ): Promise<readonly Result[]> {
    const ids = items.map(([delivery]) => delivery)
    addDeliveries(deliveries, queue, ids)
    const attempt = async (left: readonly number[], mark: number | ''): Promise<readonly string[] | number> => {
      const messages = left.flatMap((at) => [...items[at]![1], ids[at]!])
      const args = [newNonce(), mark, ...messages]
      const [answer, entries] = (await this.#driver.run('deliver', keysOf(queue), args, repeatable)) as Arrived
      await this.tryDeliver(queue, entries ?? [])
      return answer
    }
    for (;;) {
      try {
        return (await this.#once(ids, attempt))!
      } catch (error) {
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
        // It may have been dropped since, with what another process has delivered.
        if ((await this.#stillInOutbox(ids)).size === 0) return ids.map(() => null)
        await this.#registry.create(queue)
      }
    }
  }

  /** Topics come first: a message that is a duplicate in a topic goes into no queue by it. */
  async #distribute(
    idOf: (index: number) => string,
    { topics, queues, messages, results }: Copies,
    deliveries: Deliveries,
  ): Promise<Placed> {
    const inTopics = await Promise.all(
      topics.map((topic, number) =>
        number === 0 ? { messages: topic.messages, results } : this.#copyInto(idOf, { topic }, messages, deliveries),
      ),
    )
    const fresh = inTopics.map(
      (stored) => stored?.messages.filter((_, at) => stored.results[at]!.startsWith('+')) ?? [],
    )
    const voids: TaskReport[] = []
    const inQueues = await Promise.all(
      queues.map(async (queue, number): Promise<Stored | null> => {
        if (topics.length === 0 && number === 0) return { messages: queue.messages, results }
        const candidates = candidatesFor(queue, topics)
        const chosen = new Set([...queue.messages, ...queue.through.flatMap((topic) => fresh[topic]!)])
        const own = { ...queue, messages: candidates.filter((index) => chosen.has(index)), through: [] }
        const stored = await this.#copyInto(idOf, { queue: own }, messages, deliveries)
        const missing = candidates.filter((index) => stored === null || !chosen.has(index))
        voids.push(...missing.flatMap((index) => voidTask(messages[index]!, queue.name)))
        return stored
      }),
    )
    await this.#tellAll(voids)
    return { topics: inTopics, queues: inQueues }
  }

  /** @returns null if the topic or the queue was dropped, and its copies with it */
  async #copyInto(
    idOf: (index: number) => string,
    to: { readonly topic: Target } | { readonly queue: QueueTarget },
    messages: readonly Template[],
    deliveries: Deliveries,
  ): Promise<Stored | null> {
    const target = 'topic' in to ? to.topic : to.queue
    if (target.messages.length === 0) return { messages: [], results: [] }
    const ids = target.messages.map(idOf)
    const results = await this.#once(ids, async (left, checked) => {
      const chosen = left.map((at) => messages[target.messages[at]!]!)
      const arriving = { messages: left.map((_, at) => at), deliveries: left.map((at) => ids[at]!), checked }
      const topics = 'topic' in to ? [{ ...to.topic, ...arriving }] : []
      const queues = 'queue' in to ? [{ ...to.queue, ...arriving }] : []
      const answer = await storeCopies(this.#driver, { topics, queues }, chosen, repeatable)
      if (answer[0] !== 1) return answer[0] === 2 ? answer[1] : null
      const [, [inTopic], [inQueue]] = answer
      if (inQueue) await this.tryDeliver(target.name, inQueue[2])
      return inTopic ?? inQueue![1]
    })
    addDeliveries(deliveries, 'topic' in to ? topicDestination(target.name) : target.name, ids)
    return results && { messages: target.messages, results: known(results) }
  }

  /**
   * Where an inbox may have forgotten deliveries, it answers with its mark. Those whose outbox still has the entry after
   * that are tried again with the mark; another process has delivered the others. See `doubtful` in relay.lua.
   * @param attempt returns results, or the mark, or null if the destination is gone
   */
  async #once(
    ids: readonly string[],
    attempt: (left: readonly number[], mark: number | '') => Promise<readonly string[] | number | null>,
  ): Promise<readonly Result[] | null> {
    let left: readonly number[] = [...ids.keys()]
    for (let mark: number | '' = ''; left.length > 0; ) {
      const answer = await attempt(left, mark)
      if (answer === null) return null
      if (typeof answer !== 'number') {
        const results = new Map(left.map((at, index) => [at, answer[index]!]))
        return ids.map((_, at) => results.get(at) ?? null)
      }
      mark = answer
      const waiting = await this.#stillInOutbox(left.map((at) => ids[at]!))
      left = left.filter((at) => waiting.has(ids[at]!))
    }
    return ids.map(() => null)
  }

  /** As `Relay.forget`. */
  async forget(destination: string, ids: readonly string[]): Promise<void> {
    const waiting = await this.#stillInOutbox(ids)
    await this.#inboxes.forget(
      destination,
      ids.filter((id) => !waiting.has(id)),
    )
  }

  /** Those of the deliveries whose entry is still in its outbox. */
  async #stillInOutbox(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const entries = groupBy(ids, (id) => id.replace(/\/\d+@/, '@'))
    const found = await Promise.all(
      [...entries.values()].map(async (group) => {
        const { entry, origin } = readDeliveryId(group[0]!)
        return (await this.#isWaiting(origin, entry)) ? group : []
      }),
    )
    return new Set(found.flat())
  }

  async #isWaiting(origin: string, entry: string): Promise<boolean> {
    const correlation = correlationIn(origin)
    if (correlation !== undefined) return this.#correlations.isUntold(correlation, entry)
    const outbox = destinationKey(origin, 'outbox')
    return (await this.#driver.call(outbox, ['HEXISTS', outbox, entry])) === 1
  }
}

/** @throws Overtaken */
function known(results: readonly Result[]): readonly string[] {
  if (results.includes(null)) throw new Overtaken('delivered by another process')
  return results as readonly string[]
}

const messageIn = ({ body, options }: Move): Encoded => [body, toOptionsText(options)]

/** The task of a copy that will never be in the queue. */
function voidTask([, , , , options]: Template, queue: string): TaskReport[] {
  const task = taskOf(options, queue)
  return task ? [[task[0], ['void', task[1]]]] : []
}

function eventsIn(entry: OutboxEntry): TaskReport[] {
  if (entry.kind === 'event') return [[entry.correlation, entry.event]]
  if (entry.kind === 'intent') return entry.tasks.map(([correlation, task]) => [correlation, ['void', task]])
  if (entry.kind === 'move' && entry.event) return [[entry.options.c ?? '', entry.event]]
  return []
}
