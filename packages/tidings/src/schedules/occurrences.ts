import { createHash } from 'node:crypto'
import type { Cron } from 'croner'
import { show, TidingsError } from '../core/errors.ts'
import type { ScheduleTiming } from '../port/schedule-store.ts'

/** The times of a schedule, without jitter. */
export interface Occurrences {
  /** The first one after this time; null if there is none. */
  after(time: number): number | null
  /** Those from `from` to `to`, both included, ascending; the last ones where there are more than `most`. */
  between(from: number, to: number, most: number): number[]
}

/**
 * @param anchor from which time intervals are counted
 * @throws CRON_INVALID
 */
export async function occurrencesOf(timing: ScheduleTiming, anchor: number): Promise<Occurrences> {
  const next = await nextOf(timing, anchor)
  const { startAt, endAt } = timing
  const after = (time: number) => {
    const found = next(startAt === null ? time : Math.max(time, startAt - 1))
    return found === null || (endAt !== null && found > endAt) ? null : found
  }
  return { after, between: (from, to, most) => between(after, from, to, most) }
}

async function nextOf(
  { cron, everyMs, at, timezone, startAt }: ScheduleTiming,
  anchor: number,
): Promise<(time: number) => number | null> {
  if (at !== null) return (time) => (at > time ? at : null)
  if (everyMs !== null) {
    // What is to start at a time has its first occurrence then; otherwise one interval from now.
    const first = startAt === null ? 1 : 0
    return (time) => anchor + Math.max(first, Math.floor((time - anchor) / everyMs) + 1) * everyMs
  }
  const pattern = await parseCron(cron!, timezone)
  return (time) => pattern.nextRun(new Date(time))?.getTime() ?? null
}

/** Loaded by those who use it. A pattern without a step or a star tells times of the day, of which none is lost in a gap. */
async function parseCron(cron: string, timezone: string): Promise<Cron> {
  const { Cron } = await import('croner')
  try {
    return new Cron(cron, { timezone, mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' })
  } catch (cause) {
    const why = (cause as Error).message.replace(/^\w+: /, '')
    throw new TidingsError('CRON_INVALID', `cron is ${show(cron)}: ${why}`, { cause, details: { field: 'cron' } })
  }
}

/** A longer and longer way is walked that ends at `to`: there may be very many before, or very few. */
function between(after: Occurrences['after'], from: number, to: number, most: number): number[] {
  for (let wayMs = 600_000; ; wayMs *= 8) {
    const start = Math.max(from, to - wayMs)
    const found: number[] = []
    for (let one = after(start - 1); one !== null && one <= to; one = after(one)) found.push(one)
    if (found.length >= most || start === from) return most === 0 ? [] : found.slice(-most)
  }
}

/** When an occurrence is due: later by a part of the jitter, which is the same whoever asks. */
export function dueAt(name: string, occurrence: number, { jitterMs }: ScheduleTiming): number {
  if (jitterMs === 0) return occurrence
  return occurrence + (createHash('sha256').update(`${name} ${occurrence}`).digest().readUInt32BE() % jitterMs)
}
