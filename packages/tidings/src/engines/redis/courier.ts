import { isTidingsError, TidingsError } from '../../core/errors.ts'
import type { Correlations, TaskEvent } from './correlations.ts'
import type { Driver } from './driver.ts'
import { groupBy } from './groups.ts'
import { correlationOfPlace, graveKeysOf, keysOf, newNonce, placeKeyOf, placeOfTopic, topicKeysOf } from './keys.ts'
import { bodyFor, type Entry, type Sheet, taskOf, withOptions } from './messages.ts'
import type { Copies, Parcel } from './parcels.ts'
import type { Registry } from './registry.ts'
import { candidatesFor, type Destination, type QueueDestination } from './routes.ts'
import { readShipment, shipmentOf } from './shipments.ts'
import { Taken } from './taken.ts'

const repeatable = { repeatable: true }
/** Of how many messages that are gone the tasks are told of in one step. */
const toldAtOnce = 1_000

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

type Shipment = readonly [id: string, entry: Entry]
/** As in send.lua; null where somebody else has brought it, and it is forgotten as what. */
type Result = string | null
type Shipped = [forgotten: number] | [results: string[], parcels: string[]]
type Appended = [2, forgotten: number] | [1, topics: (string[] | null)[]]
type TaskReport = readonly [correlation: string, event: TaskEvent]

/**
 * Brings parcels to where they belong. Everything may be done again, however late, by whoever found a parcel: a queue
 * remembers which ones it took until they are gone from the outbox, and takes what may be older only from who makes sure.
 */
export class Courier {
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #correlations: Correlations
  readonly #taken: Taken

  /** @param rememberedMs as for `Taken`; default 15,000 */
  constructor(driver: Driver, registry: Registry, correlations: Correlations, rememberedMs = 15_000) {
    this.#driver = driver
    this.#registry = registry
    this.#correlations = correlations
    this.#taken = new Taken(driver, rememberedMs)
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
      if (error instanceof Overtaken)
        throw new TidingsError('OUTCOME_UNKNOWN', 'this process was held up, and another one has brought it', {
          cause: error,
          hint: 'All is where it belongs, but under which ids is not known any more: do not repeat it.',
        })
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
      const shipments = group.map(
        ([id, { body, options }]): Shipment => [shipmentOf(id, origin), [body, withOptions(options, {})]],
      )
      const results = known(await this.#shipSurely(to, shipments))
      for (const [index, [id]] of group.entries()) moved.set(id, results[index]!.slice(1))
      note(taken, to, shipments)
    }
    for (const [, parcel] of parcels) if (parcel.kind === 'gone') await this.#tellOfGone(origin, parcel.grave)
    for (const [id, parcel] of parcels)
      if (parcel.kind === 'copies')
        copies.set(id, await this.#distribute((index) => shipmentOf(id, origin, index), parcel, taken))
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
      await this.#shipSurely(ended.queue, [[ended.shipment, ended.entry]])
      await this.#correlations.told(correlation)
      this.#taken.done(new Map([[ended.queue, [ended.shipment]]]))
    }
  }

  /** A part at a time, so that the server does other things in between. */
  async #tellOfGone(queue: string, grave: string): Promise<void> {
    for (let last = ''; ; ) {
      const args = [last, toldAtOnce]
      const answer = await this.#driver.run('gone', graveKeysOf(queue, grave), args, repeatable)
      if (answer === null) return
      const [id, tasks] = answer as [string, string[]]
      last = id
      await this.#tellAll(pairsOf(tasks).map(([correlation, task]): TaskReport => [correlation, ['cancelled', task]]))
    }
  }

  /** First the topics, since what is a duplicate there goes into no queue by them. */
  async #distribute(
    idOf: (index: number) => string,
    { topics, queues, messages, results }: Copies,
    taken: Map<string, string[]>,
  ) {
    const inTopics = await Promise.all(
      topics.map((topic, number) => (number === 0 ? results : this.#append(idOf, topic, messages, taken))),
    )
    const fresh = inTopics.map((found, number) => newMessages(topics[number]!, found ?? []))
    const voids: TaskReport[] = []
    const inQueues = await Promise.all(
      queues.map(async (queue, number): Promise<Stored | null> => {
        if (topics.length === 0 && number === 0) return { messages: queue.messages, results }
        const candidates = candidatesFor(queue, topics)
        const chosen = new Set([...queue.messages, ...queue.through.flatMap((topic) => fresh[topic]!)])
        const found = await this.#copy(
          idOf,
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
    idOf: (index: number) => string,
    { name, incarnation, messages: indices }: Destination,
    messages: readonly Sheet[],
    taken: Map<string, string[]>,
  ): Promise<readonly string[] | null> {
    const shipments = indices.map((index) => [idOf(index), messages[index]!] as const)
    const results = await this.#bring(shipments, async (left, checked) => {
      const sheets = left.map(([y, [head, meta, headers, data, options]]): Sheet => {
        return [head, meta, headers, data, withOptions(options, { y })]
      })
      const plan = JSON.stringify([[{ name, incarnation, messages: left.map((_, at) => at), checked }], []])
      const args = [newNonce(), '', plan, '', '', ...sheets.flat()]
      const [state, answer] = (await this.#driver.run('publish', topicKeysOf(name), args, repeatable)) as Appended
      return state === 2 ? answer : answer[0]!
    })
    note(taken, placeOfTopic(name), shipments)
    return results && known(results)
  }

  /** @returns null if the queue was dropped, and its copies with it */
  async #copy(
    idOf: (index: number) => string,
    { name, incarnation }: Destination,
    indices: readonly number[],
    messages: readonly Sheet[],
    taken: Map<string, string[]>,
  ): Promise<Stored | null> {
    if (indices.length === 0) return { messages: [], results: [] }
    const shipments = indices.map((index): Shipment => {
      const sheet = messages[index]!
      const w = taskOf(sheet[4], name)?.[1]
      return [idOf(index), [bodyFor(name, sheet), withOptions(sheet[4], w === undefined ? {} : { w })]]
    })
    try {
      const results = known(await this.#ship('send', name, [incarnation, '', ''], shipments))
      note(taken, name, shipments)
      return { messages: indices, results }
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      return null
    }
  }

  /** What was in a queue before: into one that is created if it is missing, and whatever memory is left there. */
  async #shipSurely(queue: string, shipments: readonly Shipment[]): Promise<readonly Result[]> {
    for (;;) {
      try {
        return await this.#ship('deliver', queue, [], shipments)
      } catch (error) {
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
        // It may have been dropped since, with what somebody else has brought.
        const onTheWay = await this.#onTheWay(shipments.map(([id]) => id))
        if (onTheWay.size === 0) return shipments.map(() => null)
        await this.#registry.create(queue)
      }
    }
  }

  async #ship(
    script: 'send' | 'deliver',
    queue: string,
    terms: readonly string[],
    shipments: readonly Shipment[],
  ): Promise<readonly Result[]> {
    const results = await this.#bring(shipments, async (left, checked) => {
      const entries = left.flatMap(([y, [body, options]]) => [body, withOptions(options, { y })])
      const args = [newNonce(), ...terms, checked, ...entries]
      const [answer, parcels = []] = (await this.#driver.run(script, keysOf(queue), args, repeatable)) as Shipped
      await this.send(queue, parcels)
      return answer
    })
    return results!
  }

  /**
   * Brings what may have come before and been forgotten only if its source still has it, asked for after the place said
   * what it had forgotten until then: see `doubtful` in lua/common.lua.
   * @param attempt returns the results, or what it had forgotten, or null if the place is gone
   */
  async #bring<T>(
    shipments: readonly (readonly [id: string, T])[],
    attempt: (
      left: readonly (readonly [id: string, T])[],
      checked: number | '',
    ) => Promise<readonly string[] | number | null>,
  ): Promise<readonly Result[] | null> {
    let left = shipments
    for (let checked: number | '' = ''; left.length > 0; ) {
      const answer = await attempt(left, checked)
      if (answer === null) return null
      if (typeof answer !== 'number') {
        const results = new Map(left.map(([id], at) => [id, answer[at]!]))
        return shipments.map(([id]) => results.get(id) ?? null)
      }
      checked = answer
      const onTheWay = await this.#onTheWay(left.map(([id]) => id))
      left = left.filter(([id]) => onTheWay.has(id))
    }
    return shipments.map(() => null)
  }

  /** Forgets what came, where that is gone from where it came from. */
  async forget(place: string, ids: readonly string[]): Promise<void> {
    const onTheWay = await this.#onTheWay(ids)
    await this.#taken.forget(
      place,
      ids.filter((id) => !onTheWay.has(id)),
    )
  }

  /** Which of these their sources still have. */
  async #onTheWay(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const isThere = new Map<string, Promise<boolean>>()
    const found = await Promise.all(
      ids.map((id) => {
        const { parcel, origin } = readShipment(id)
        const key = `${parcel}@${origin}`
        const asked = isThere.get(key) ?? this.#has(origin, parcel)
        isThere.set(key, asked)
        return asked
      }),
    )
    return new Set(ids.filter((_, at) => found[at]))
  }

  async #has(origin: string, parcel: string): Promise<boolean> {
    const correlation = correlationOfPlace(origin)
    if (correlation !== undefined) return this.#correlations.isUntold(correlation)
    const outbox = placeKeyOf(origin, 'outbox')
    return (await this.#driver.call(outbox, ['HEXISTS', outbox, parcel])) === 1
  }
}

/** Somebody else has brought it, so long ago that it is forgotten with which result. */
class Overtaken extends Error {}

/** @throws Overtaken */
function known(results: readonly Result[]): readonly string[] {
  return results.map((result) => {
    if (result === null) throw new Overtaken('brought by somebody else')
    return result
  })
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
  return pairsOf(list).map(([id, text]) => [id, JSON.parse(text)])
}

const pairsOf = (list: readonly string[]) =>
  Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at]!, list[2 * at + 1]!] as const)

type Move = Extract<Parcel, { kind: 'move' }>
const movesIn = (parcels: readonly (readonly [string, Parcel])[]) =>
  parcels.filter((each): each is readonly [string, Move] => each[1].kind === 'move')

function eventsOf(parcel: Parcel): TaskReport[] {
  if (parcel.kind === 'event') return [[parcel.correlation, parcel.event]]
  if (parcel.kind === 'intent') return parcel.tasks.map(([correlation, task]) => [correlation, ['void', task]])
  if (parcel.kind === 'move' && parcel.event) return [[parcel.options.c ?? '', parcel.event]]
  return []
}

function note(
  taken: Map<string, string[]>,
  place: string,
  shipments: readonly (readonly [id: string, what: unknown])[],
): void {
  taken.set(place, [...(taken.get(place) ?? []), ...shipments.map(([id]) => id)])
}
