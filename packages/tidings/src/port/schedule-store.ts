import type { NewMessage } from './types.ts'

/**
 * The part of the port for schedules. Its rules are those of `Engine`.
 *
 * A storage keeps what is put, by name, and tells which times have come; which times a schedule has is worked out above.
 * Whoever finds one due sends and puts the next time in one step, on the condition that nobody did so before. So each
 * occurrence is sent once, whoever is at it, and a process that is killed leaves it to the next one.
 */
export interface ScheduleStore {
  /**
   * Stores the schedule in the place of the one that has the revision `before`; null: where there is none of the name.
   * @param sending is sent in the same step, if it is stored. Only with 'schedules'. Where it cannot be sent, the schedule
   *   stays as it was.
   * @returns how many messages were stored; null if another revision is there, and then nothing was done. A repetition with
   *   the same new revision is no other one.
   */
  put(schedule: StoredSchedule, before: string | null, sending?: Sending): Promise<number | null>
  /** @param revision only this one; null: any @returns false if there was none */
  remove(name: string, revision: string | null): Promise<boolean>
  /** All, by name in the order of bytes; or the one of a name, if it is there; or those that are due, the earliest first. */
  list(which: 'all' | 'due' | { readonly name: string }): Promise<Schedules>
}

export interface Schedules {
  /** By the clock of the storage. */
  readonly now: number
  readonly schedules: readonly StoredSchedule[]
  /** In how many milliseconds the next one is due of those that are not; null if none will be. Only told with 'due'. */
  readonly nextDueMs: number | null
}

export interface StoredSchedule {
  readonly name: string
  /** Made anew by whoever puts it. */
  readonly revision: string
  /** When it is due; null if never. */
  readonly nextRunAt: number | null
  readonly definition: ScheduleDefinition
  readonly progress: ScheduleProgress
}

/** What was asked for. */
export interface ScheduleDefinition {
  readonly timing: ScheduleTiming
  /** What becomes of occurrences that could not be sent in time. */
  readonly missed: 'skip' | 'once' | 'all'
  readonly graceMs: number
  readonly maxMissed: number
  readonly overlap: 'allow' | 'skip' | 'replace'
  readonly target: ScheduleTarget
  /** What is sent at each occurrence, beside what tells of the occurrence. */
  readonly message: NewMessage
  /** Who declares it, and may take it away by declaring it no more. */
  readonly owner: string | null
  readonly enabled: boolean
}

/** Of `cron`, `everyMs` and `at` one is set. */
export interface ScheduleTiming {
  readonly cron: string | null
  readonly everyMs: number | null
  readonly at: number | null
  readonly timezone: string
  readonly startAt: number | null
  readonly endAt: number | null
  readonly limit: number | null
  readonly jitterMs: number
}

export type ScheduleTarget = { readonly queue: string } | { readonly topic: string } | { readonly routingKey: string }

export interface ScheduleProgress {
  /** Whether it is now, whatever it was declared as. */
  readonly enabled: boolean
  /** From which time intervals are counted. */
  readonly anchor: number
  /** The next occurrence, without jitter; null: there is none. */
  readonly occurrence: number | null
  readonly lastOccurrence: number | null
  /** How many occurrences were sent since its times were last changed. */
  readonly runs: number
  readonly createdAt: number
  readonly changedAt: number
}

export interface Sending {
  readonly target: ScheduleTarget
  readonly messages: readonly NewMessage[]
}
