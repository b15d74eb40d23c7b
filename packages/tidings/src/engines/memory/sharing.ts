import type { JsonObject } from '../../core/json.ts'
import type { StoredMessage } from '../../port/engine.ts'
import { type QueueLimit, sharingOf } from '../../port/queue-limits.ts'
import { placeOf } from './stored.ts'

/** What a queue remembers of its past claims. */
export interface Sharing {
  /** For each key of a rate the time at which it would be as after a rest. */
  readonly rates: Map<string, number>
  /** Until when nothing is claimed: of a group, or under '' of the queue. */
  readonly holds: Map<string, number>
  /** Of lanes that were served, by group. */
  readonly passes: Map<string, number>
  /** That of the lane of the last message that was taken. */
  pass: number
}

/** A queue as it is looked at here. */
interface SharedQueue {
  readonly settings: JsonObject
  readonly live: ReadonlyMap<string, StoredMessage>
  readonly sharing: Sharing
}

export const newSharing = (): Sharing => ({ rates: new Map(), holds: new Map(), passes: new Map(), pass: 0 })

const laneOf = ({ group }: StoredMessage) => group ?? ''

export const hasLimits = (queue: SharedQueue): boolean => sharingOf(queue.settings).limits.length > 0

/** Whether the end of a lease may let another message through. */
export const hasSlots = (queue: SharedQueue): boolean =>
  sharingOf(queue.settings).limits.some(({ concurrency }) => concurrency !== undefined)

/** What limits and holds have room for, while messages are taken one after the other. */
class Room {
  readonly #queue: SharedQueue
  readonly #rates: Map<string, number>
  readonly #now: number
  readonly #limits: readonly QueueLimit[]
  readonly #ofLanes: readonly QueueLimit[]
  /** Leases in force, of the queue and of its groups. */
  #leased = 0
  readonly #leasedOf = new Map<string, number>()

  /** @param rates of the queue, or a copy to try with; @param countsSlots left out of what is not asked when it opens */
  constructor(queue: SharedQueue, rates: Map<string, number>, now: number, countsSlots = true) {
    this.#queue = queue
    this.#rates = rates
    this.#now = now
    this.#limits = sharingOf(queue.settings).limits
    this.#ofLanes = this.#limits.filter(({ per }) => per !== 'orderingKey')
    if (countsSlots && hasSlots(queue))
      for (const message of queue.live.values()) if (placeOf(message, now) === 'leased') this.#takeSlots(message)
  }

  /** From when on a message may be taken: now, later, or only after the end of a lease (Infinity). */
  opensAt(message: StoredMessage, limits = this.#limits): number {
    const { holds } = this.#queue.sharing
    let opens = Math.max(this.#now, holds.get('') ?? 0, (message.group === null ? 0 : holds.get(message.group)) ?? 0)
    for (const limit of limits) opens = Math.max(opens, this.#opensAt(limit, message))
    return opens
  }

  /** The same of the whole queue or group that the message is in. */
  laneOpensAt(message: StoredMessage): number {
    return this.opensAt(message, this.#ofLanes)
  }

  #opensAt(limit: QueueLimit, message: StoredMessage): number {
    const key = keyOf(limit.per, message)
    if (key === null) return this.#now
    const leased = limit.per === 'queue' ? this.#leased : (this.#leasedOf.get(key) ?? 0)
    if (limit.concurrency !== undefined && leased >= limit.concurrency) return Number.POSITIVE_INFINITY
    if (limit.rate === undefined) return this.#now
    const every = limit.rate.periodMs / limit.rate.count
    const opens = (this.#rates.get(rateKeyOf(limit, key)) ?? 0) - ((limit.burst ?? 1) - 1) * every
    // Sums of fractions are not exact.
    return opens - this.#now < 0.001 ? this.#now : Math.ceil(opens)
  }

  take(message: StoredMessage): void {
    this.#takeSlots(message)
    for (const limit of this.#limits) {
      const key = keyOf(limit.per, message)
      if (key === null || limit.rate === undefined) continue
      const rateKey = rateKeyOf(limit, key)
      const from = Math.max(this.#now, this.#rates.get(rateKey) ?? 0)
      this.#rates.set(rateKey, from + limit.rate.periodMs / limit.rate.count)
    }
  }

  #takeSlots(message: StoredMessage): void {
    this.#leased++
    const { group } = message
    if (group !== null) this.#leasedOf.set(group, (this.#leasedOf.get(group) ?? 0) + 1)
  }
}

function keyOf(per: QueueLimit['per'], { group, orderingKey }: StoredMessage): string | null {
  if (per === 'queue') return ''
  return per === 'group' ? group : orderingKey
}

const rateKeyOf = ({ rate, per }: QueueLimit, key: string) => `${rate?.periodMs} ${per} ${key}`

export interface Selection {
  readonly messages: StoredMessage[]
  readonly heldBack: boolean
  /** When the first of those opens that are held back; null if that is not known. */
  readonly opensAt: number | null
}

/**
 * The messages that are next.
 * @param ready what could be claimed if nobody else wanted anything, by priority, then by id
 * @param inTurns whether groups take turns
 */
export function select(
  queue: SharedQueue,
  ready: readonly StoredMessage[],
  { limit, inTurns, now }: { limit: number; inTurns: boolean; now: number },
): Selection {
  const room = new Room(queue, new Map(queue.sharing.rates), now)
  const passes = new Map<string, number>()
  const lanes = new Map<string, StoredMessage[]>()
  for (const message of ready) {
    const lane = inTurns ? laneOf(message) : ''
    if (!lanes.has(lane)) lanes.set(lane, [])
    lanes.get(lane)!.push(message)
  }
  const messages: StoredMessage[] = []
  let opensAt: number | null = null
  let heldBack = false
  /** Notes that something is kept back until then. @returns whether that is so */
  const isShut = (opens: number) => {
    if (opens <= now) return false
    heldBack = true
    if (opens < Number.POSITIVE_INFINITY) opensAt = Math.min(opensAt ?? opens, opens)
    return true
  }
  for (const [lane, waiting] of lanes) {
    // The next one of a lane is its last.
    waiting.reverse()
    if (!inTurns || !isShut(room.laneOpensAt(waiting.at(-1)!))) passes.set(lane, passOf(queue, lane))
  }
  while (messages.length < limit && passes.size > 0) {
    const lane = leastOf(passes)
    const waiting = lanes.get(lane)!
    const message = waiting.pop()!
    if (inTurns && isShut(room.laneOpensAt(message))) {
      passes.delete(lane)
      continue
    }
    if (!isShut(room.opensAt(message))) {
      messages.push(message)
      room.take(message)
      passes.set(lane, passes.get(lane)! + shareOf(queue, lane))
    }
    if (waiting.length === 0) passes.delete(lane)
  }
  return { messages, heldBack, opensAt }
}

function leastOf(passes: ReadonlyMap<string, number>): string {
  let [found, least] = ['', Number.POSITIVE_INFINITY]
  for (const [lane, pass] of passes) if (pass < least) [found, least] = [lane, pass]
  return found
}

const passOf = ({ sharing }: SharedQueue, lane: string) => Math.max(sharing.pass, sharing.passes.get(lane) ?? 0)

function shareOf(queue: SharedQueue, lane: string): number {
  const { weights } = sharingOf(queue.settings)
  return 1 / (Object.hasOwn(weights, lane) ? weights[lane]! : 1)
}

/** Charges what is leased or popped. */
export function charge(
  queue: SharedQueue,
  messages: readonly StoredMessage[],
  { inTurns, now }: { inTurns: boolean; now: number },
): void {
  const { sharing } = queue
  const room = new Room(queue, sharing.rates, now, false)
  for (const message of messages) {
    room.take(message)
    if (!inTurns) continue
    const lane = laneOf(message)
    const pass = passOf(queue, lane)
    sharing.pass = pass
    sharing.passes.set(lane, pass + shareOf(queue, lane))
  }
  for (const [lane, pass] of sharing.passes) if (pass <= sharing.pass) sharing.passes.delete(lane)
  for (const times of [sharing.rates, sharing.holds])
    for (const [key, until] of times) if (until <= now) times.delete(key)
}

/** Holds back the queue, or the group of a message. */
export function hold({ sharing }: SharedQueue, what: 'queue' | 'group', message: StoredMessage, until: number): void {
  const key = what === 'queue' ? '' : message.group
  if (key !== null) sharing.holds.set(key, Math.max(until, sharing.holds.get(key) ?? 0))
}

/** Ends the holds of the queue and of the group of a message. */
export function endHolds({ sharing }: SharedQueue, { group }: StoredMessage): void {
  sharing.holds.delete('')
  if (group !== null) sharing.holds.delete(group)
}

/** How many ready messages are in a queue or in groups of which nothing can be claimed now. */
export function countHeldBack(queue: SharedQueue, ready: readonly StoredMessage[], now: number): number {
  const room = new Room(queue, queue.sharing.rates, now)
  return ready.filter((message) => room.laneOpensAt(message) > now).length
}
