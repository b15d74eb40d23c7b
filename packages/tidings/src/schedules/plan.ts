import type { StoredSchedule } from '../port/schedule-store.ts'
import { dueAt, type Occurrences } from './occurrences.ts'

/** In one step. */
const mostAtOnce = 100
/** So many that were missed are looked at. */
const mostMissed = 1_000

export interface Plan {
  /** The occurrences to send now, ascending. */
  readonly sending: readonly number[]
  /** How many are left out since they were missed; a look back that finds more says 1,000. */
  readonly skipped: number
  /** The one after these; null if there is none. */
  readonly next: number | null
}

/** What is to be done about a schedule that is due, at this time of the storage. */
export function planOf({ name, definition, progress }: StoredSchedule, occurrences: Occurrences, now: number): Plan {
  const { timing, missed, maxMissed, graceMs } = definition
  const first = progress.occurrence
  if (first === null) return { sending: [], skipped: 0, next: null }
  const inTimeFrom = now - graceMs - timing.jitterMs
  const late = first < inTimeFrom ? occurrences.between(first, inTimeFrom - 1, mostMissed) : []
  const wanted = { skip: 0, once: 1, all: maxMissed }[missed]
  const chosen = wanted === 0 ? [] : late.slice(-wanted)
  const due = [...chosen]
  let next = first < inTimeFrom ? occurrences.after(inTimeFrom - 1) : first
  while (next !== null && dueAt(name, next, timing) <= now && due.length <= mostAtOnce) {
    due.push(next)
    next = occurrences.after(next)
  }
  const left = timing.limit === null ? Number.POSITIVE_INFINITY : timing.limit - progress.runs
  const sending = due.slice(0, Math.min(mostAtOnce, left))
  const skipped = late.length - chosen.length
  return { sending, skipped, next: sending.length === left ? null : (due[sending.length] ?? next) }
}
