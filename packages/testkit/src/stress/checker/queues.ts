import type { FinalState } from '../final-state.ts'
import type { QueuePlan } from '../plan.ts'
import { idsOf, isFinal, type Started, type Stories, type Story, type Told } from './stories.ts'
import type { Violation } from './violation.ts'

type Finding = Violation | undefined

/** Checks the rules for the messages of one queue. @returns the first violation of each rule */
export function checkQueue(queue: QueuePlan, maxAttempts: number, stories: Stories, final: FinalState): Violation[] {
  const all = [...(stories.inQueues.get(queue.name)?.values() ?? [])].filter(({ sending }) => sending !== undefined)
  const rules: ((story: Story) => Finding)[] = [
    lost(queue, stories),
    storedTwice,
    twoStates(queue),
    deliveredTwice(stories),
    settledStale,
    deliveredAfterItsEnd,
    tooManyAttempts(maxAttempts),
  ]
  const found = rules.map((rule) => first(all, rule))
  found.push(queue.keyed ? orderOfKeys(all) : undefined, stuck(queue.name, final))
  return found.filter((one) => one !== undefined)
}

function first(stories: readonly Story[], rule: (story: Story) => Finding): Finding {
  for (const story of stories) {
    const violation = rule(story)
    if (violation) return violation
  }
  return undefined
}

/** A message that was acknowledged is stored or was settled. */
const lost =
  (queue: QueuePlan, { kills }: Stories) =>
  (story: Story): Finding => {
    if (story.sent.length === 0 || story.final.length > 0) return undefined
    const settled = story.told.findLast(isFinal)
    const mayBeDeleted =
      queue.onSuccess === 'delete' &&
      (settled === undefined
        ? story.told.some((one) => one.event === 'ended' && one.ok && isUncertain(one, story, kills))
        : settled.event === 'settled' && settled.as === 'succeeded')
    if (mayBeDeleted) return undefined
    const end = settled ? 'it was settled, but is not in the archive or the dead letters' : 'nobody ended it'
    return violation('lost', story, `was acknowledged and is gone: ${end}`)
  }

/** Whether the process ended without a record of the settlement, which may have been carried out. */
function isUncertain(ended: Told, story: Story, kills: ReadonlyMap<string, number>): boolean {
  const told = story.told.filter((one) => one.attempt === ended.attempt)
  if (told.some((one) => one.event === 'settled')) return false
  return kills.has(ended.process) || told.some((one) => one.event === 'unsettled')
}

const storedTwice = (story: Story): Finding => {
  const ids = idsOf(story)
  return ids.length > 1
    ? violation('stored twice', story, `was sent with one dedup id, and has the ids ${ids.join(', ')}`)
    : undefined
}

const twoStates =
  (queue: QueuePlan) =>
  (story: Story): Finding => {
    const states = story.final.map((one) => one.in)
    if (states.length > 1) return violation('two states', story, `is in two places: ${states.join(' and ')}`)
    const settled = story.told.findLast(isFinal)
    if (settled?.event !== 'settled' || states.length === 0) return undefined
    const due = settled.as === 'deadLettered' ? 'dead letters' : queue.onSuccess === 'archive' ? 'archived' : null
    return states[0] === due
      ? undefined
      : violation('two states', story, `was settled (${settled.as}), and is ${states[0]} at the end`)
  }

/** No lease has two readers, and no second lease begins during the first, unless its process was killed before. */
const deliveredTwice =
  ({ kills }: Stories) =>
  (story: Story): Finding => {
    const starts = story.told.filter((one) => one.event === 'started')
    for (const [index, second] of starts.entries())
      for (const earlier of starts.slice(0, index)) {
        if (earlier.attempt === second.attempt)
          return violation('delivered twice', story, `was delivered twice as attempt ${second.attempt}`)
        if (isWithin(second, earlier) && !mayBeReleased(earlier, second, story, kills))
          return violation('delivered twice', story, `was leased again during its lease of attempt ${earlier.attempt}`)
      }
    return undefined
  }

/** Both times are of the storage, and may have been rounded to milliseconds. */
const isWithin = (second: Started, { attempt, leasedUntil }: Started): boolean =>
  second.attempt > attempt && second.readAt !== null && second.readAt + 1 < leasedUntil

function mayBeReleased(
  { attempt, process }: Started,
  next: Started,
  story: Story,
  kills: ReadonlyMap<string, number>,
): boolean {
  const killedAt = kills.get(process)
  if (killedAt !== undefined && killedAt < next.time) return true
  const told = story.told.filter((one) => one.attempt === attempt)
  if (told.some((one) => one.event === 'settled' && one.as === 'retried')) return true
  return told.some((one) => one.event === 'ended' && isUncertain(one, story, kills))
}

/** No settlement is accepted that was requested after another reader had started. */
const settledStale = (story: Story): Finding => {
  const stale = story.told.find((one) => {
    if (one.event !== 'settled') return false
    const ended = story.told.find((other) => other.event === 'ended' && other.attempt === one.attempt)
    const next = story.told.find((other) => other.event === 'started' && other.attempt > one.attempt)
    return ended !== undefined && next !== undefined && next.time < ended.time
  })
  return (
    stale &&
    violation('stale settlement', story, `was settled as attempt ${stale.attempt} when it was in other hands already`)
  )
}

/**
 * A settled message has no later attempt. No clock is needed.
 */
const deliveredAfterItsEnd = (story: Story): Finding => {
  const end = story.told.find(isFinal)
  if (end === undefined) return undefined
  const again = story.told.find((one) => one.event === 'started' && one.attempt > end.attempt)
  if (again) return violation('delivered after its end', story, `was settled at attempt ${end.attempt} and came again`)
  const ends = story.told.filter(isFinal)
  return ends.length > 1 ? violation('delivered after its end', story, 'was settled twice') : undefined
}

/** An attempt after the last may settle a message whose reader was killed, but not handle it. */
const tooManyAttempts =
  (maxAttempts: number) =>
  (story: Story): Finding => {
    const attempts = Math.max(0, ...story.told.filter(({ event }) => event === 'started').map(({ attempt }) => attempt))
    return attempts > maxAttempts
      ? violation('too many attempts', story, `was tried ${attempts} times; ${maxAttempts} is the most`)
      : undefined
  }

/** No message starts before the earlier messages of its key have ended, and none of those starts again after that. */
function orderOfKeys(stories: readonly Story[]): Finding {
  for (const group of byKey(stories)) {
    let over: { story: Story; time: number } | undefined
    for (const story of group) {
      const starts = story.told.filter((one) => one.event === 'started')
      const firstStart = starts[0]
      if (firstStart && over && firstStart.time < over.time)
        return violation(
          'order of a key',
          story,
          `started before ${over.story.uid}, sent before it, was over`,
          over.story,
        )
      const end = endOf(story)
      if (end !== undefined && (over === undefined || end > over.time)) over = { story, time: end }
    }
  }
  return undefined
}

/** The last known time before the message's end; undefined for a message without deliveries. */
function endOf(story: Story): number | undefined {
  const settled = story.told.find(isFinal)
  const ended = story.told.findLast((one) => one.event === 'ended' && one.attempt === (settled ?? one).attempt)
  // A killed handler has no end; its start is the last known time.
  return ended?.time ?? story.told.findLast((one) => one.event === 'started')?.time
}

/** The stories by key, in the order of sending: a key belongs to one lane. */
function byKey(stories: readonly Story[]): Story[][] {
  const groups = new Map<string, Story[]>()
  for (const story of stories) {
    const { key } = story.sending!
    if (key === null || story.told.length === 0) continue
    const group = groups.get(key) ?? []
    groups.set(key, group)
    group.push(story)
  }
  const rank = ({ sending, uid }: Story) => sending!.time * 1_000 + sending!.uids.indexOf(uid) / 1_000
  return [...groups.values()].map((group) => group.sort((a, b) => rank(a) - rank(b)))
}

function stuck(queue: string, final: FinalState): Finding {
  const left = final.queues
    .find((one) => one.queue === queue)
    ?.messages.filter((one) => one.in !== 'archived' && one.in !== 'dead letters')
  if (!left || left.length === 0) return undefined
  const text = `${left.length} messages of ${queue} are left, the first is ${left[0]!.uid} (${left[0]!.in})`
  return { kind: 'stuck', text, evidence: [] }
}

function violation(kind: Violation['kind'], story: Story, text: string, other?: Story): Violation {
  const entries = [story, ...(other ? [other] : [])].flatMap(({ sending, sent, told }) => [
    ...(sending ? [{ ...sending, uids: [story.uid] }] : []),
    ...sent,
    ...told,
  ])
  return { kind, text: `${story.queue}: ${story.uid} ${text}`, evidence: entries.sort((a, b) => a.time - b.time) }
}
