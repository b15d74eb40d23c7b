import type { Bus } from 'tidings/internal/bus/bus'
import type { Engine, Place, StoredMessage } from 'tidings/internal/port/engine'
import type { Plan } from './plan.ts'

/** The content of the storage at the end. */
export interface FinalState {
  readonly queues: readonly FinalQueue[]
  readonly topics: readonly FinalTopic[]
}

export interface FinalQueue {
  readonly queue: string
  readonly messages: readonly {
    readonly uid: string
    readonly id: string
    readonly in: Exclude<Place, 'leased'> | 'leased' | 'dead letters'
  }[]
}

export interface FinalTopic {
  readonly topic: string
  readonly log: readonly { readonly offset: number; readonly uid: string }[]
  readonly subscriptions: readonly { readonly subscription: string; readonly cursor: number; readonly lag: number }[]
}

const page = 1_000
const states = ['ready', 'delayed', 'leased', 'archived'] as const

export async function finalStateOf(bus: Bus, plan: Plan): Promise<FinalState> {
  const queues: FinalQueue[] = []
  for (const { name } of plan.queues) queues.push(await finalQueue(bus, name))
  const topics: FinalTopic[] = []
  for (const { name } of plan.topics) topics.push(await finalTopic(bus.engine, name))
  return { queues, topics }
}

async function finalQueue(bus: Bus, queue: string): Promise<FinalQueue> {
  const messages: FinalQueue['messages'][number][] = []
  for (const state of states)
    for (const { id, data } of await all(bus.engine, queue, state)) messages.push({ uid: uidOf(data), id, in: state })
  const deadLetters = deadLettersOf(queue)
  const isThere = (await bus.queues()).some((one) => one.queue === deadLetters)
  // A dead letter has an id of its own.
  for (const { data, meta } of isThere ? await all(bus.engine, deadLetters, null) : [])
    messages.push({ uid: uidOf(data), id: String(meta.origin_id), in: 'dead letters' })
  return { queue, messages }
}

async function all(engine: Engine, queue: string, state: Place | null): Promise<StoredMessage[]> {
  const found: StoredMessage[] = []
  for (;;) {
    const more = await engine.peek(queue, { place: state, limit: page, afterId: found.at(-1)?.id ?? null, ids: null })
    found.push(...more)
    if (more.length < page) return found
  }
}

async function finalTopic(engine: Engine, topic: string): Promise<FinalTopic> {
  const store = engine.topics!
  const log: FinalTopic['log'][number][] = []
  for (;;) {
    const more = await store.read(topic, log.at(-1)?.offset ?? 0, page)
    log.push(...more.map(({ offset, data }) => ({ offset, uid: uidOf(data) })))
    if (more.length < page) break
  }
  const subscriptions = await store.subscriptions(topic, null)
  return { topic, log, subscriptions }
}

/** @param name of a queue; of a topic and a subscription with '_' between them */
export const deadLettersOf = (name: string): string => `${name}_dlq`

/** The data of every message of a run. */
export interface StressData {
  readonly uid: string
}

const uidOf = (data: string): string => (JSON.parse(data) as StressData).uid
