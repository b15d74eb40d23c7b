import type { FinalState, FinalTopic } from '../final-state.ts'
import type { Entry } from '../history.ts'
import type { TopicPlan } from '../plan.ts'
import type { Violation } from './violation.ts'

type Of<E extends Entry['event']> = Extract<Entry, { event: E }>
type Finding = Violation | undefined

/** No other consumer can have the subscription this soon after its consumer was active. */
const soonMs = 1_000

/** Checks one topic and its subscriptions, which all start at the first message. */
export function checkTopic(
  { name, subscriptions }: TopicPlan,
  entries: readonly Entry[],
  final: FinalState,
): Violation[] {
  const topic = final.topics.find((one) => one.topic === name)
  if (!topic) return [{ kind: 'lost', text: `${name}: the topic is gone`, evidence: [] }]
  const found = [gaps(topic), storedTwice(topic), lost(topic, entries), orderOfPublishers(topic, entries)]
  for (const subscription of subscriptions) {
    const reading = new Reading(topic, subscription, entries)
    found.push(reading.wrongMessage(), reading.passedOver(), reading.twoConsumers(), reading.unread(), reading.seeks())
  }
  return found.filter((one) => one !== undefined)
}

function gaps({ topic, log }: FinalTopic): Finding {
  const index = log.findIndex(({ offset }, at) => offset !== at + 1)
  if (index < 0) return undefined
  return {
    kind: 'gap in a topic',
    text: `${topic}: message ${index + 1} has offset ${log[index]!.offset}`,
    evidence: [],
  }
}

function storedTwice({ topic, log }: FinalTopic): Finding {
  const seen = new Map<string, number>()
  for (const { uid, offset } of log) {
    const earlier = seen.get(uid)
    if (earlier !== undefined)
      return { kind: 'stored twice', text: `${topic}: ${uid} has the offsets ${earlier} and ${offset}`, evidence: [] }
    seen.set(uid, offset)
  }
  return undefined
}

/** A message that was acknowledged at an offset is at that offset. */
function lost({ topic, log }: FinalTopic, entries: readonly Entry[]): Finding {
  const offsets = new Map(log.map(({ uid, offset }) => [uid, offset]))
  const wrong = entries.find(
    (one): one is Of<'sent'> =>
      one.event === 'sent' &&
      'topic' in one.place &&
      one.place.topic === topic &&
      offsets.get(one.uid) !== Number(one.at),
  )
  if (!wrong) return undefined
  const now = offsets.has(wrong.uid) ? `is at ${offsets.get(wrong.uid)}` : 'is gone'
  return {
    kind: 'lost',
    text: `${topic}: ${wrong.uid} was acknowledged at offset ${wrong.at} and ${now}`,
    evidence: [wrong],
  }
}

/** The messages of one lane have ascending offsets. A repeated message keeps its first offset. */
function orderOfPublishers({ topic, log }: FinalTopic, entries: readonly Entry[]): Finding {
  const offsets = new Map(log.map(({ uid, offset }) => [uid, offset]))
  const newest = new Map<string, number>()
  const seen = new Set<string>()
  for (const entry of entries) {
    if (entry.event !== 'sending' || !entry.places.some((one) => 'topic' in one && one.topic === topic)) continue
    for (const uid of entry.uids) {
      const offset = offsets.get(uid)
      if (offset === undefined || seen.has(uid)) continue
      seen.add(uid)
      const before = newest.get(entry.lane) ?? 0
      if (offset < before) {
        const text = `${topic}: ${uid} has offset ${offset}, below ${before} of what ${entry.lane} published before`
        return { kind: 'order of a topic', text, evidence: [{ ...entry, uids: [uid] }] }
      }
      newest.set(entry.lane, offset)
    }
  }
  return undefined
}

/** The records of one subscription's consumers. */
class Reading {
  readonly #topic: FinalTopic
  readonly #name: string
  readonly #subscription: string
  readonly #received: readonly Of<'received'>[]
  readonly #handled: readonly Of<'handled'>[]
  readonly #kills: readonly Of<'killing'>[]
  readonly #seeks: readonly Of<'seeking' | 'sought'>[]
  readonly #superseded: readonly Of<'superseded'>[]

  constructor(topic: FinalTopic, subscription: string, entries: readonly Entry[]) {
    this.#topic = topic
    this.#subscription = subscription
    this.#name = `${topic.topic}/${subscription}`
    const own = <E extends Entry>(list: readonly Entry[], is: (entry: Entry) => entry is E) =>
      list
        .filter(is)
        .filter((one) => !('subscription' in one) || (one.topic === topic.topic && one.subscription === subscription))
    this.#received = own(entries, (one) => one.event === 'received')
    this.#handled = own(entries, (one) => one.event === 'handled')
    this.#superseded = own(entries, (one) => one.event === 'superseded')
    this.#seeks = own(
      entries,
      (one): one is Of<'seeking' | 'sought'> => one.event === 'seeking' || one.event === 'sought',
    )
    this.#kills = own(entries, (one) => one.event === 'killing')
  }

  /** A message received at an offset is the message at that offset in the log. */
  wrongMessage(): Finding {
    const wrong = this.#received.find(({ offset, uid }) => this.#topic.log[offset - 1]?.uid !== uid)
    return (
      wrong && this.#violation('phantom', `received ${wrong.uid} at offset ${wrong.offset}, where it is not`, [wrong])
    )
  }

  /** Before a message comes, every earlier one was handled: subscriptions start at 1, and seeks only go back. */
  passedOver(): Finding {
    const handled = new Set<number>()
    let complete = 0
    const all = [...this.#received, ...this.#handled].sort((a, b) => a.time - b.time)
    for (const entry of all) {
      if (entry.event === 'handled') {
        handled.add(entry.offset)
        while (handled.has(complete + 1)) complete++
      } else if (entry.offset > complete + 1)
        return this.#violation('passed over', `received offset ${entry.offset} before ${complete + 1} was handled`, [
          entry,
        ])
    }
    return undefined
  }

  /** No two processes read at the same time, unless one was told that it lost the subscription. */
  twoConsumers(): Finding {
    let earlier: Of<'received'> | undefined
    for (const entry of this.#received) {
      if (
        earlier &&
        earlier.process !== entry.process &&
        entry.time - earlier.time < soonMs &&
        this.#isAtIt(earlier, entry.time)
      )
        return this.#violation('two consumers', `${entry.process} reads while ${earlier.process} is at it`, [
          earlier,
          entry,
        ])
      earlier = entry
    }
    return undefined
  }

  #isAtIt({ process, offset, time }: Of<'received'>, now: number): boolean {
    if (this.#kills.some((one) => one.target === process && one.time < now)) return false
    if (this.#superseded.some((one) => one.process === process && one.time >= time)) return false
    return !this.#handled.some(
      (one) => one.process === process && one.offset === offset && one.time >= time && one.time < now,
    )
  }

  /** At the end all messages were handled, and the cursor is at the end. */
  unread(): Finding {
    const { log, subscriptions } = this.#topic
    const state = subscriptions.find((one) => one.subscription === this.#subscription)
    if (!state) return this.#violation('lost', 'the subscription is gone', [])
    if (state.lag > 0 || state.cursor !== log.length)
      return this.#violation('stuck', `is at ${state.cursor} of ${log.length} at the end`, [])
    const handled = new Set(this.#handled.map(({ offset }) => offset))
    const missing = log.find(({ offset }) => !handled.has(offset))
    return missing && this.#violation('lost', `nobody handled offset ${missing.offset}`, [])
  }

  /** After a seek all messages from its offset on came again. */
  seeks(): Finding {
    for (const seek of this.#seeks) {
      if (seek.event !== 'sought') continue
      const begun = this.#seeks.findLast((one) => one.event === 'seeking' && one.time <= seek.time) ?? seek
      const after = new Set(this.#received.filter(({ time }) => time > begun.time).map(({ offset }) => offset))
      const missing = this.#topic.log.find(({ offset }) => offset >= seek.offset && !after.has(offset))
      if (missing)
        return this.#violation('seek without effect', `offset ${missing.offset} did not come again`, [begun, seek])
    }
    return undefined
  }

  #violation(kind: Violation['kind'], text: string, evidence: readonly Entry[]): Violation {
    return { kind, text: `${this.#name}: ${text}`, evidence }
  }
}
