import type { NewMessage } from '../port/engine.ts'
import type { StoredSchedule } from '../port/schedule-store.ts'
import type { Occurrences } from './occurrences.ts'

const hourMs = 3_600_000
const weekMs = 604_800_000
/** A schedule has about so many dedup ids at most. */
const idsKept = 1_000

/** What a schedule holds in its queue while a message of it waits or is in hand, with `overlap: 'skip'`. */
const targetOf = (name: string) => `schedule:${name}`

/** The message of a schedule for a time. */
export function messageAt({ name, definition }: StoredSchedule, time: number): NewMessage {
  const { message, overlap } = definition
  return {
    ...message,
    meta: { ...message.meta, schedule: name, scheduled_for: new Date(time).toISOString() },
    uniqueTarget: overlap === 'skip' ? targetOf(name) : null,
  }
}

/** The same for an occurrence: it is stored once in a long time, however often it is sent. */
export function messageOf(schedule: StoredSchedule, occurrence: number, occurrences: Occurrences): NewMessage {
  const gapMs = (occurrences.after(occurrence) ?? Number.POSITIVE_INFINITY) - occurrence
  const windowMs = Math.min(weekMs, Math.max(hourMs, gapMs * idsKept))
  const message = messageAt(schedule, occurrence)
  return { ...message, dedup: { id: `schedule:${schedule.name}:${message.meta.scheduled_for}`, windowMs } }
}
