import type { FinalState } from '../final-state.ts'
import type { Destination, Entry } from '../history.ts'

type Of<E extends Entry['event']> = Extract<Entry, { event: E }>
export type Told = Of<'started' | 'ended' | 'settled' | 'leaseLost' | 'unsettled'>
export type Started = Of<'started'>
export type Sending = Of<'sending'>
type Sent = Of<'sent'>

/** The records of one message in one queue. */
export interface Story {
  readonly queue: string
  readonly uid: string
  sending: Sending | undefined
  /** The answers to all that sent it. */
  readonly sent: Sent[]
  /** By time. */
  readonly told: Told[]
  readonly final: FinalState['queues'][number]['messages'][number][]
}

export interface Stories {
  /** By queue and uid. */
  readonly inQueues: ReadonlyMap<string, ReadonlyMap<string, Story>>
  /** When a process was killed, by its name. */
  readonly kills: ReadonlyMap<string, number>
}

export function storiesOf(entries: readonly Entry[], final: FinalState): Stories {
  const inQueues = new Map<string, Map<string, Story>>()
  const kills = new Map<string, number>()
  const story = (queue: string, uid: string): Story => {
    const stories = inQueues.get(queue) ?? new Map<string, Story>()
    inQueues.set(queue, stories)
    const found = stories.get(uid) ?? { queue, uid, sending: undefined, sent: [], told: [], final: [] }
    stories.set(uid, found)
    return found
  }
  for (const entry of entries) {
    if (entry.event === 'killing' && !kills.has(entry.target)) kills.set(entry.target, entry.time)
    else if (entry.event === 'sending')
      for (const queue of queuesOf(entry.places)) for (const uid of entry.uids) story(queue, uid).sending ??= entry
    if (entry.event === 'sent' && 'queue' in entry.place) story(entry.place.queue, entry.uid).sent.push(entry)
    if (isTold(entry)) story(entry.queue, entry.uid).told.push(entry)
  }
  for (const { queue, messages } of final.queues)
    for (const message of messages) story(queue, message.uid).final.push(message)
  return { inQueues, kills }
}

const queuesOf = (places: readonly Destination[]) => places.flatMap((one) => ('queue' in one ? [one.queue] : []))

const toldEvents: ReadonlySet<string> = new Set(['started', 'ended', 'settled', 'leaseLost', 'unsettled'])
const isTold = (entry: Entry): entry is Told => toldEvents.has(entry.event)

/** Whether any record shows that the message was stored. */
export const isKnown = ({ sent, told, final }: Story): boolean => sent.length > 0 || told.length > 0 || final.length > 0

/** All ids of the message. */
export const idsOf = ({ sent, told, final }: Story): string[] => [
  ...new Set([...sent.map(({ at }) => at), ...told.map(({ id }) => id), ...final.map(({ id }) => id)]),
]

/** Whether the record is a settlement that ends the message. */
export const isFinal = (entry: Told): boolean => entry.event === 'settled' && entry.as !== 'retried'
