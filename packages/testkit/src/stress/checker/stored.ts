import type { FinalState } from '../final-state.ts'
import type { Destination, Entry } from '../history.ts'
import { isKnown, type Sending, type Stories } from './stories.ts'
import type { Violation } from './violation.ts'

/** Checks storing for queues and topics: no message without a sender, and all destinations or none. */
export function checkStored(stories: Stories, entries: readonly Entry[], final: FinalState): Violation[] {
  return [phantom(stories, entries, final), notAllOrNone(stories, entries, final)].filter((one) => one !== undefined)
}

/** Every stored message was sent. */
function phantom({ inQueues }: Stories, entries: readonly Entry[], final: FinalState): Violation | undefined {
  for (const [queue, stories] of inQueues)
    for (const { uid, sending, told } of stories.values())
      if (sending === undefined) return { kind: 'phantom', text: `${queue}: nobody sent ${uid}`, evidence: told }
  const sent = sentToTopics(entries)
  for (const { topic, log } of final.topics) {
    const unsent = log.find(({ uid }) => !sent.get(topic)?.has(uid))
    if (unsent) return { kind: 'phantom', text: `${topic}: nobody sent ${unsent.uid}`, evidence: [] }
  }
  return undefined
}

function sentToTopics(entries: readonly Entry[]): Map<string, Set<string>> {
  const sent = new Map<string, Set<string>>()
  for (const entry of entries) {
    if (entry.event !== 'sending') continue
    for (const destination of entry.places) {
      if (!('topic' in destination)) continue
      const uids = sent.get(destination.topic) ?? new Set()
      sent.set(destination.topic, uids)
      for (const uid of entry.uids) uids.add(uid)
    }
  }
  return sent
}

/** A published message is in every destination or in none. */
function notAllOrNone(stories: Stories, entries: readonly Entry[], final: FinalState): Violation | undefined {
  const logs = new Map(final.topics.map(({ topic, log }) => [topic, new Set(log.map(({ uid }) => uid))]))
  const isIn = (destination: Destination, uid: string) => {
    if ('topic' in destination) return logs.get(destination.topic)?.has(uid) === true
    const story = stories.inQueues.get(destination.queue)?.get(uid)
    return story !== undefined && isKnown(story)
  }
  for (const entry of entries) {
    if (entry.event !== 'sending' || entry.places.length < 2) continue
    for (const uid of entry.uids) {
      const there = entry.places.filter((destination) => isIn(destination, uid))
      if (there.length === 0 || there.length === entry.places.length) continue
      return { kind: 'not all or none', text: describe(uid, entry, there), evidence: [{ ...entry, uids: [uid] }] }
    }
  }
  return undefined
}

function describe(uid: string, { places }: Sending, there: readonly Destination[]): string {
  const names = (list: readonly Destination[]) => list.map((destination) => Object.values(destination)[0]).join(', ')
  return `${uid} is in ${names(there)}, and not in ${names(places.filter((destination) => !there.includes(destination)))}`
}
