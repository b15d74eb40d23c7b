import type { Entry } from '../history.ts'
import type { Plan } from '../plan.ts'
import type { Violation } from './violation.ts'

/** A run that comes to less than this share of what was planned proves nothing. */
export const requiredShare = 0.25

/** One part of the load of a run. */
export interface LoadPart {
  readonly what: 'messages sent' | 'messages handled' | 'messages read' | 'kills' | 'seeks'
  readonly planned: number
  readonly required: number
  readonly done: number
}

/** What was to happen, and what did. What was stored is to be handled and read. */
export function loadOf({ load }: Plan, entries: readonly Entry[]): LoadPart[] {
  const sent = new Set<string>()
  const inQueues = new Set<string>()
  const inTopics = new Set<string>()
  const handled = new Set<string>()
  const read = new Set<string>()
  const killed = new Set<string>()
  let seeks = 0
  for (const entry of entries) {
    if (entry.event === 'sent') {
      sent.add(entry.uid)
      if ('queue' in entry.place) inQueues.add(`${entry.place.queue} ${entry.uid}`)
      else inTopics.add(`${entry.place.topic} ${entry.uid}`)
    } else if (entry.event === 'ended') handled.add(`${entry.queue} ${entry.uid}`)
    else if (entry.event === 'handled') read.add(`${entry.topic} ${entry.uid}`)
    else if (entry.event === 'killing') killed.add(entry.target)
    else if (entry.event === 'sought') seeks++
  }
  return [
    { what: 'messages sent', ...atLeastOne(load.messages), done: sent.size },
    { what: 'messages handled', ...atLeastOne(inQueues.size), done: handled.size },
    { what: 'messages read', ...atLeastOne(inTopics.size), done: read.size },
    { what: 'kills', ...share(load.kills), done: killed.size },
    { what: 'seeks', ...share(load.seeks), done: seeks },
  ]
}

/** Few kills and seeks may all fall beyond the end of a run. */
const share = (planned: number) => ({ planned, required: Math.floor(planned * requiredShare) })
const atLeastOne = (planned: number) => ({
  planned,
  required: Math.max(Math.min(1, planned), share(planned).required),
})

/** Everything that was planned was tried, and every process was there until it was killed or stopped. */
export function checkLoad(plan: Plan, entries: readonly Entry[]): Violation[] {
  const parts = loadOf(plan, entries).filter(({ done, required }) => done < required)
  const ended = entries.find((one) => one.event === 'trouble' && one.code === 'ended')
  return [
    ...parts.map(({ what, planned, required, done }): Violation => {
      const least = `fewer than ${required} (${requiredShare * 100}%) prove nothing`
      const text = `${what}: ${done} of ${planned}; ${least}. Plan less, or give it more time.`
      return { kind: 'too little load', text, evidence: [] }
    }),
    ...(ended?.event === 'trouble'
      ? [{ kind: 'ended early', text: `${ended.process}: ${ended.message}`, evidence: [ended] } as const]
      : []),
  ]
}
