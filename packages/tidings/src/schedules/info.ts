import { dateOrNull } from '../core/dated.ts'
import type { JsonObject } from '../core/json.ts'
import { unpack } from '../core/serializer.ts'
import { fromWireMeta, type MessageMeta } from '../port/meta.ts'
import type { StoredSchedule } from '../port/schedule-store.ts'

/** A schedule as it is now. Times are by the clock of the storage; durations are milliseconds. */
export interface ScheduleInfo {
  readonly name: string
  readonly enabled: boolean
  /** Null: it is disabled, or over. */
  readonly nextRunAt: Date | null
  /** The last occurrence that was sent. */
  readonly lastRunAt: Date | null
  /** How many occurrences were sent since its times were last changed. */
  readonly runs: number
  readonly cron: string | null
  readonly every: number | null
  readonly at: Date | null
  readonly timezone: string
  readonly startAt: Date | null
  readonly endAt: Date | null
  readonly limit: number | null
  readonly jitter: number
  readonly queue: string | null
  readonly topic: string | null
  readonly routingKey: string | null
  readonly data: unknown
  readonly meta: MessageMeta
  readonly headers: JsonObject
  readonly missed: 'skip' | 'once' | 'all'
  readonly grace: number
  readonly maxMissed: number
  readonly overlap: 'allow' | 'skip' | 'replace'
  readonly owner: string | null
  readonly createdAt: Date
  readonly changedAt: Date
}

export function toInfo({ name, nextRunAt, definition, progress }: StoredSchedule): ScheduleInfo {
  const { timing, target, message, missed, graceMs, maxMissed, overlap, owner } = definition
  return {
    name,
    enabled: progress.enabled,
    nextRunAt: dateOrNull(nextRunAt),
    lastRunAt: dateOrNull(progress.lastOccurrence),
    runs: progress.runs,
    cron: timing.cron,
    every: timing.everyMs,
    at: dateOrNull(timing.at),
    timezone: timing.timezone,
    startAt: dateOrNull(timing.startAt),
    endAt: dateOrNull(timing.endAt),
    limit: timing.limit,
    jitter: timing.jitterMs,
    queue: 'queue' in target ? target.queue : null,
    topic: 'topic' in target ? target.topic : null,
    routingKey: 'routingKey' in target ? target.routingKey : null,
    data: unpack(message, null, 'the data'),
    meta: fromWireMeta(message.meta),
    headers: message.headers,
    missed,
    grace: graceMs,
    maxMissed,
    overlap,
    owner,
    createdAt: new Date(progress.createdAt),
    changedAt: new Date(progress.changedAt),
  }
}
