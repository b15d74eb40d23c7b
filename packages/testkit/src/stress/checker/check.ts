import type { FinalState } from '../final-state.ts'
import type { Entry } from '../history.ts'
import type { Plan } from '../plan.ts'
import { checkLoad } from './load.ts'
import { checkQueue } from './queues.ts'
import { checkStored } from './stored.ts'
import { storiesOf } from './stories.ts'
import { checkTopic } from './topics.ts'
import type { Violation } from './violation.ts'

/**
 * Compares the histories with the final state. Only certain violations count: a call without an answer may have been
 * carried out or not, and a message of a killed process may have ended either way.
 * @param entries by time
 * @returns the first violation of each kind and destination, by time; none for a valid run
 */
export function check(plan: Plan, entries: readonly Entry[], final: FinalState): Violation[] {
  const stories = storiesOf(entries, final)
  const violations = [
    ...checkStored(stories, entries, final),
    ...plan.queues.flatMap((queue) => checkQueue(queue, plan.maxAttempts, stories, final)),
    ...plan.topics.flatMap((topic) => checkTopic(topic, entries, final)),
    ...checkLoad(plan, entries),
  ]
  const timeOf = ({ evidence }: Violation) => evidence.at(-1)?.time ?? Number.POSITIVE_INFINITY
  return violations.sort((a, b) => timeOf(a) - timeOf(b))
}
