import { isTidingsError, TidingsError } from '../../errors.ts'
import type { Correlations, TaskEvent } from './correlations.ts'
import type { Driver } from './driver.ts'
import { groupBy } from './groups.ts'
import { keyOf, keysOf, newNonce } from './keys.ts'
import { type Entry, type Options, withOptions } from './messages.ts'
import type { Registry } from './registry.ts'
import type { Destination } from './routes.ts'

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

/** Of published messages those for other slots: their bodies in two parts and their options. */
export interface Copies {
  readonly kind: 'copies'
  readonly destinations: readonly Destination[]
  readonly messages: readonly (readonly [head: string, tail: string, options: string])[]
}

/** What became of parcels, by their ids. */
export interface Delivered {
  readonly moved: ReadonlyMap<string, string>
  /** The results of each queue; a queue that is gone is missing. */
  readonly copies: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>
}

type Shipment = readonly [parcel: string, entry: Entry]

/**
 * Brings parcels to where they belong. Everything may be done again, by whoever finds a parcel that was left: a queue
 * remembers which ones it took until they are gone from the outbox.
 */
export class Courier {
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #correlations: Correlations

  constructor(driver: Driver, registry: Registry, correlations: Correlations) {
    this.#driver = driver
    this.#registry = registry
    this.#correlations = correlations
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
    const copies = new Map<string, ReadonlyMap<string, readonly string[]>>()
    if (list.length === 0) return { moved, copies }
    const parcels = read(list)
    const taken = new Map<string, string[]>()
    // First what happened to tasks, so that what happens to their copies is told later.
    await this.#tellAll(parcels)
    for (const [to, group] of groupBy(movesIn(parcels), ([, { to }]) => to)) {
      const shipments = group.map(([id, { body, options }]): Shipment => [id, [body, withOptions(options, {})]])
      const results = await this.#shipSurely(to, shipments)
      for (const [index, [id]] of group.entries()) moved.set(id, results[index]!.slice(1))
      note(taken, to, shipments)
    }
    for (const [id, parcel] of parcels)
      if (parcel.kind === 'copies') copies.set(id, await this.#distribute(id, parcel, taken))
    const ids = parcels.map(([id]) => id)
    const outbox = keyOf(origin, 'outbox')
    await this.#driver.call(outbox, ['HDEL', outbox, ...ids])
    await this.#forget(taken)
    return { moved, copies }
  }

  async #tellAll(parcels: readonly (readonly [string, Parcel])[]): Promise<void> {
    const told = parcels.flatMap(([, parcel]) => eventsOf(parcel))
    for (const [correlation, group] of groupBy(told, ([correlation]) => correlation)) {
      const ended = await this.#correlations.tell(
        correlation,
        group.map(([, event]) => event),
      )
      if (!ended) continue
      const parcel = `end of ${correlation}`
      await this.#shipSurely(ended.queue, [[parcel, ended.entry]])
      await this.#correlations.told(correlation)
      await this.#forget(new Map([[ended.queue, [parcel]]]))
    }
  }

  async #distribute(id: string, { destinations, messages }: Copies, taken: Map<string, string[]>) {
    const results = new Map<string, readonly string[]>()
    await Promise.all(
      destinations.map(async ({ name, incarnation, messages: indices }) => {
        const shipments = indices.map((index): Shipment => {
          const [head, tail, options] = messages[index]!
          return [`${id}/${index}`, [`${head}${name}${tail}`, withTaskOf(options, name)]]
        })
        const answer = await this.#ship(name, incarnation, shipments).catch((error: unknown) => {
          // It was dropped, and its copies with it.
          if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
        })
        if (!answer) return
        results.set(name, answer)
        note(taken, name, shipments)
      }),
    )
    return results
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
    const args = [newNonce(), incarnation, '', ...entries]
    const [results, parcels] = (await this.#driver.run('send', keysOf(queue), args, repeatable)) as [string[], string[]]
    await this.send(queue, parcels)
    return results
  }

  /** What came need not be remembered any longer. */
  async #forget(taken: ReadonlyMap<string, readonly string[]>): Promise<void> {
    await Promise.all(
      [...taken].map(([queue, ids]) => {
        const key = keyOf(queue, 'taken')
        return this.#driver.call(key, ['HDEL', key, ...ids])
      }),
    )
  }
}

/** Every copy of a published message is a task of its own. */
function withTaskOf(options: string, queue: string): string {
  const { w } = options === '' ? ({} as Options) : (JSON.parse(options) as Options)
  return w === undefined ? options : withOptions(options, { w: `${w}/${queue}` })
}

function read(list: readonly string[]): (readonly [string, Parcel])[] {
  const parcels: (readonly [string, Parcel])[] = []
  for (let at = 0; at < list.length; at += 2) parcels.push([list[at]!, JSON.parse(list[at + 1]!)])
  return parcels
}

type Move = Extract<Parcel, { kind: 'move' }>
const movesIn = (parcels: readonly (readonly [string, Parcel])[]) =>
  parcels.filter((each): each is readonly [string, Move] => each[1].kind === 'move')

function eventsOf(parcel: Parcel): (readonly [correlation: string, event: TaskEvent])[] {
  if (parcel.kind === 'event') return [[parcel.correlation, parcel.event]]
  if (parcel.kind === 'intent') return parcel.tasks.map(([correlation, task]) => [correlation, ['void', task]])
  if (parcel.kind === 'move' && parcel.event) return [[parcel.options.c ?? '', parcel.event]]
  return []
}

function note(taken: Map<string, string[]>, queue: string, shipments: readonly Shipment[]): void {
  taken.set(queue, [...(taken.get(queue) ?? []), ...shipments.map(([id]) => id)])
}
