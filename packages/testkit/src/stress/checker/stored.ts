import type { FinalState } from '../final-state.ts'
import type { Entry, PlaceName } from '../history.ts'
import { isKnown, type Sending, type Stories } from './stories.ts'
import type { Violation } from './violation.ts'

/** What holds for storing, whatever the place: nothing from nowhere, and all places or none. */
export function checkStored(stories: Stories, entries: readonly Entry[], final: FinalState): Violation[] {
  return [phantom(stories, entries, final), notAllOrNone(stories, entries, final)].filter((one) => one !== undefined)
}

/** There, and never sent there by anybody. */
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
    for (const place of entry.places) {
      if (!('topic' in place)) continue
      const uids = sent.get(place.topic) ?? new Set()
      sent.set(place.topic, uids)
      for (const uid of entry.uids) uids.add(uid)
    }
  }
  return sent
}

/** What was published is in every place or in none. */
function notAllOrNone(stories: Stories, entries: readonly Entry[], final: FinalState): Violation | undefined {
  const logs = new Map(final.topics.map(({ topic, log }) => [topic, new Set(log.map(({ uid }) => uid))]))
  const isIn = (place: PlaceName, uid: string) => {
    if ('topic' in place) return logs.get(place.topic)?.has(uid) === true
    const story = stories.inQueues.get(place.queue)?.get(uid)
    return story !== undefined && isKnown(story)
  }
  for (const entry of entries) {
    if (entry.event !== 'sending' || entry.places.length < 2) continue
    for (const uid of entry.uids) {
      const there = entry.places.filter((place) => isIn(place, uid))
      if (there.length === 0 || there.length === entry.places.length) continue
      return { kind: 'not all or none', text: describe(uid, entry, there), evidence: [{ ...entry, uids: [uid] }] }
    }
  }
  return undefined
}

function describe(uid: string, { places }: Sending, there: readonly PlaceName[]): string {
  const names = (list: readonly PlaceName[]) => list.map((place) => Object.values(place)[0]).join(', ')
  return `${uid} is in ${names(there)}, and not in ${names(places.filter((place) => !there.includes(place)))}`
}
