import { isTidingsError, TidingsError } from '../../errors.ts'
import type { Correlations, TaskEvent } from './correlations.ts'
import type { Driver } from './driver.ts'
import { groupBy } from './groups.ts'
import { keysOf, newNonce, placeKeyOf, placeOfTopic, topicKeysOf } from './keys.ts'
import { bodyFor, type Entry, type Options, type Sheet, taskOf, withOptions } from './messages.ts'
import type { Registry } from './registry.ts'
import { candidatesFor, type Destination, type QueueDestination } from './routes.ts'
import { Taken } from './taken.ts'

const repeatable = { repeatable: true }

/** What has to reach another slot. A script writes it into the outbox of its queue in the step that it follows from. */
export type Parcel =
  | { readonly kind: 'event'; readonly correlation: string; readonly event: TaskEvent }
  | {
      readonly kind: 'move'
      readonly to: string
      readonly body: string
      readonly options: Options
      readonly event?: TaskEvent
    }
  | Copies
  /** Tasks that were to be sent and never will be. */
  | { readonly kind: 'intent'; readonly tasks: readonly (readonly [correlation: string, task: string])[] }

/** Published messages that have to reach other slots. */
export interface Copies {
  readonly kind: 'copies'
  readonly topics: readonly Destination[]
  readonly queues: readonly QueueDestination[]
  readonly messages: readonly Sheet[]
  /** Of the first topic or, if there is none, the first queue, which has its copies. */
  readonly results: readonly string[]
}

/** What the copies became, by the names of topics and queues; one that is gone is missing. */
export interface Results {
  readonly topics: ReadonlyMap<string, Stored>
  readonly queues: ReadonlyMap<string, Stored>
}

export interface Stored {
  /** Which ones came there, and the result of each. */
  readonly messages: readonly number[]
  readonly results: readonly string[]
}

/** What became of parcels, by their ids. */
export interface Delivered {
  readonly moved: ReadonlyMap<string, string>
  readonly copies: ReadonlyMap<string, Results>
}

type Shipment = readonly [parcel: string, entry: Entry]
type TaskReport = readonly [correlation: string, event: TaskEvent]

/**
 * Brings parcels to where they belong. Everything may be done again, by whoever finds a parcel that was left: a queue
 * remembers which ones it took until they are gone from the outbox, and a while longer.
 */
export class Courier {
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #correlations: Correlations
  readonly #taken: Taken

  constructor(driver: Driver, registry: Registry, correlations: Correlations) {
    this.#driver = driver
    this.#registry = registry
    this.#correlations = correlations
    this.#taken = new Taken(driver)
  }

  close(): void {
    this.#taken.close()
  }

  /**
   * The same for what nobody waits to hear of: it is done with as soon as it is in the outbox, so where it cannot be
   * brought away at this moment, upkeep will.
   * @returns whether nothing is left for that
   */
  async send(origin: string, list: readonly string[]): Promise<boolean> {
    try {
      await this.deliver(origin, list)
      return true
    } catch (error) {
      if (!isTidingsError(error, 'OUTCOME_UNKNOWN')) throw error
      return false
    }
  }

  /**
   * @param list ids and parcels in turn, as the scripts return them
   * @throws OUTCOME_UNKNOWN, if they could not all be brought away, or nobody knows
   */
  async deliver(origin: string, list: readonly string[]): Promise<Delivered> {
    try {
      return await this.#deliver(origin, list)
    } catch (error) {
      if (!isTidingsError(error)) throw error
      throw new TidingsError('OUTCOME_UNKNOWN', `not all is where it belongs: ${error.message}`, {
        cause: error,
        hint: 'What was begun is stored, and upkeep brings the rest: do not repeat it.',
      })
    }
  }

  async #deliver(origin: string, list: readonly string[]): Promise<Delivered> {
    const moved = new Map<string, string>()
    const copies = new Map<string, Results>()
    if (list.length === 0) return { moved, copies }
    const parcels = read(list)
    const taken = new Map<string, string[]>()
    // First what happened to tasks, so that what happens to their copies is told later.
    await this.#tellAll(parcels.flatMap(([, parcel]) => eventsOf(parcel)))
    for (const [to, group] of groupBy(movesIn(parcels), ([, { to }]) => to)) {
      const shipments = group.map(([id, { body, options }]): Shipment => [id, [body, withOptions(options, {})]])
      const results = await this.#shipSurely(to, shipments)
      for (const [index, [id]] of group.entries()) moved.set(id, results[index]!.slice(1))
      note(
        taken,
        to,
        group.map(([id]) => id),
      )
    }
    for (const [id, parcel] of parcels)
      if (parcel.kind === 'copies') copies.set(id, await this.#distribute(id, parcel, taken))
    const ids = parcels.map(([id]) => id)
    const outbox = placeKeyOf(origin, 'outbox')
    await this.#driver.call(outbox, ['HDEL', outbox, ...ids])
    this.#taken.done(taken)
    return { moved, copies }
  }

  async #tellAll(reports: readonly TaskReport[]): Promise<void> {
    for (const [correlation, group] of groupBy(reports, ([correlation]) => correlation)) {
      const ended = await this.#correlations.tell(
        correlation,
        group.map(([, event]) => event),
      )
      if (!ended) continue
      const parcel = `end of ${correlation}`
      await this.#shipSurely(ended.queue, [[parcel, ended.entry]])
      await this.#correlations.told(correlation)
      this.#taken.done(new Map([[ended.queue, [parcel]]]))
    }
  }

  /** First the topics, since what is a duplicate there goes into no queue by them. */
  async #distribute(id: string, { topics, queues, messages, results }: Copies, taken: Map<string, string[]>) {
    const inTopics = await Promise.all(
      topics.map((topic, number) => (number === 0 ? results : this.#append(id, topic, messages, taken))),
    )
    const fresh = inTopics.map((found, number) => newMessages(topics[number]!, found ?? []))
    const voids: TaskReport[] = []
    const inQueues = await Promise.all(
      queues.map(async (queue, number): Promise<Stored | null> => {
        if (topics.length === 0 && number === 0) return { messages: queue.messages, results }
        const candidates = candidatesFor(queue, topics)
        const chosen = new Set([...queue.messages, ...queue.through.flatMap((topic) => fresh[topic]!)])
        const found = await this.#copy(
          id,
          queue,
          candidates.filter((index) => chosen.has(index)),
          messages,
          taken,
        )
        voids.push(...tasksOf(queue.name, candidates, messages, found === null ? new Set() : chosen))
        return found
      }),
    )
    await this.#tellAll(voids)
    const topicResults = inTopics.map(
      (found, number) => found && { messages: topics[number]!.messages, results: found },
    )
    return toResults(topics, topicResults, queues, inQueues)
  }

  /** @returns null if the topic was dropped */
  async #append(
    id: string,
    { name, incarnation, messages: indices }: Destination,
    messages: readonly Sheet[],
    taken: Map<string, string[]>,
  ): Promise<readonly string[] | null> {
    const sheets = indices.map((index): Sheet => {
      const [head, meta, headers, data, options] = messages[index]!
      return [head, meta, headers, data, withOptions(options, { y: `${id}/${index}` })]
    })
    const plan = JSON.stringify([[{ name, incarnation, messages: indices.map((_, at) => at) }], []])
    const args = [newNonce(), '', plan, '', '', ...sheets.flat()]
    const answer = (await this.#driver.run('publish', topicKeysOf(name), args, repeatable)) as [1, (string[] | null)[]]
    note(
      taken,
      placeOfTopic(name),
      indices.map((index) => `${id}/${index}`),
    )
    return answer[1][0] ?? null
  }

  /** @returns null if the queue was dropped, and its copies with it */
  async #copy(
    id: string,
    { name, incarnation }: Destination,
    indices: readonly number[],
    messages: readonly Sheet[],
    taken: Map<string, string[]>,
  ): Promise<Stored | null> {
    if (indices.length === 0) return { messages: [], results: [] }
    const shipments = indices.map((index): Shipment => {
      const sheet = messages[index]!
      const w = taskOf(sheet[4], name)?.[1]
      return [`${id}/${index}`, [bodyFor(name, sheet), withOptions(sheet[4], w === undefined ? {} : { w })]]
    })
    try {
      const results = await this.#ship(name, incarnation, shipments)
      note(
        taken,
        name,
        shipments.map(([shipment]) => shipment),
      )
      return { messages: indices, results }
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      return null
    }
  }

  /** Into a queue that is created if it is missing. */
  async #shipSurely(queue: string, shipments: readonly Shipment[]): Promise<readonly string[]> {
    for (;;) {
      try {
        return await this.#ship(queue, '', shipments)
      } catch (error) {
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
        await this.#registry.create(queue)
      }
    }
  }

  async #ship(queue: string, incarnation: string, shipments: readonly Shipment[]): Promise<readonly string[]> {
    const entries = shipments.flatMap(([id, [body, options]]) => [body, withOptions(options, { y: id })])
    const args = [newNonce(), incarnation, '', '', ...entries]
    const [results, parcels] = (await this.#driver.run('send', keysOf(queue), args, repeatable)) as [string[], string[]]
    await this.send(queue, parcels)
    return results
  }
}

/** Which of its messages are new in a topic. */
const newMessages = ({ messages }: Destination, results: readonly string[]) =>
  messages.filter((_, at) => results[at]?.startsWith('+'))

/** Those that will never be in the queue. */
function tasksOf(
  queue: string,
  candidates: readonly number[],
  messages: readonly Sheet[],
  stored: ReadonlySet<number>,
): TaskReport[] {
  return candidates.flatMap((index): TaskReport[] => {
    const task = stored.has(index) ? undefined : taskOf(messages[index]![4], queue)
    return task ? [[task[0], ['void', task[1]]]] : []
  })
}

function toResults(
  topics: readonly Destination[],
  inTopics: readonly (Stored | null)[],
  queues: readonly QueueDestination[],
  inQueues: readonly (Stored | null)[],
): Results {
  const named = <T>(places: readonly Destination[], found: readonly (T | null)[]) =>
    new Map(places.flatMap(({ name }, at) => (found[at] ? [[name, found[at]] as const] : [])))
  return { topics: named(topics, inTopics), queues: named(queues, inQueues) }
}

function read(list: readonly string[]): (readonly [string, Parcel])[] {
  const parcels: (readonly [string, Parcel])[] = []
  for (let at = 0; at < list.length; at += 2) parcels.push([list[at]!, JSON.parse(list[at + 1]!)])
  return parcels
}

type Move = Extract<Parcel, { kind: 'move' }>
const movesIn = (parcels: readonly (readonly [string, Parcel])[]) =>
  parcels.filter((each): each is readonly [string, Move] => each[1].kind === 'move')

function eventsOf(parcel: Parcel): TaskReport[] {
  if (parcel.kind === 'event') return [[parcel.correlation, parcel.event]]
  if (parcel.kind === 'intent') return parcel.tasks.map(([correlation, task]) => [correlation, ['void', task]])
  if (parcel.kind === 'move' && parcel.event) return [[parcel.options.c ?? '', parcel.event]]
  return []
}

function note(taken: Map<string, string[]>, place: string, ids: readonly string[]): void {
  taken.set(place, [...(taken.get(place) ?? []), ...ids])
}
