import type { ScheduleDefinition, ScheduleTarget, StoredSchedule } from '../port/schedule-store.ts'
import type { NewMessage } from '../port/types.ts'
import { toWireEntry } from './messages.ts'

/** A schedule as it is answered. */
export interface WireSchedule extends WireTimes {
  readonly name: string
  readonly revision: string
  readonly enabled: boolean
  readonly declared_enabled: boolean
  readonly next_run_at: string | null
  readonly last_run_at: string | null
  readonly runs: number
  readonly timezone: string
  readonly queue: string | null
  readonly topic: string | null
  readonly routing_key: string | null
  readonly missed: ScheduleDefinition['missed']
  readonly grace_ms: number
  readonly max_missed: number
  readonly overlap: ScheduleDefinition['overlap']
  readonly owner: string | null
  readonly occurrence: string | null
  readonly anchor: string
  readonly created_at: string
  readonly changed_at: string
  /** As it is sent, without what tells of the occurrence. */
  readonly sends: NewMessage
}

interface WireTimes {
  readonly cron: string | null
  readonly every_ms: number | null
  readonly at: string | null
  readonly start_at: string | null
  readonly end_at: string | null
  readonly limit: number | null
  readonly jitter_ms: number
}

export interface WireSchedules {
  readonly now: string
  readonly schedules: readonly WireSchedule[]
}

const iso = (time: number) => new Date(time).toISOString()
const isoOrNull = (time: number | null) => (time === null ? null : iso(time))
const timeOrNull = (text: string | null) => (text === null ? null : Date.parse(text))

const toWireTimes = ({ timing }: ScheduleDefinition): WireTimes => ({
  cron: timing.cron,
  every_ms: timing.everyMs,
  at: isoOrNull(timing.at),
  start_at: isoOrNull(timing.startAt),
  end_at: isoOrNull(timing.endAt),
  limit: timing.limit,
  jitter_ms: timing.jitterMs,
})

const toWirePolicy = ({ missed, graceMs, maxMissed, overlap, owner }: ScheduleDefinition) => ({
  missed,
  grace_ms: graceMs,
  max_missed: maxMissed,
  overlap,
  owner,
})

export function toWireSchedule({ name, revision, nextRunAt, definition, progress }: StoredSchedule): WireSchedule {
  const { target, timing, message } = definition
  return {
    name,
    revision,
    enabled: progress.enabled,
    declared_enabled: definition.enabled,
    next_run_at: isoOrNull(nextRunAt),
    last_run_at: isoOrNull(progress.lastOccurrence),
    runs: progress.runs,
    ...toWireTimes(definition),
    timezone: timing.timezone,
    queue: 'queue' in target ? target.queue : null,
    topic: 'topic' in target ? target.topic : null,
    routing_key: 'routingKey' in target ? target.routingKey : null,
    ...toWirePolicy(definition),
    occurrence: isoOrNull(progress.occurrence),
    anchor: iso(progress.anchor),
    created_at: iso(progress.createdAt),
    changed_at: iso(progress.changedAt),
    sends: message,
  }
}

export function fromWireSchedule(wire: WireSchedule): StoredSchedule {
  const { queue, topic, routing_key: routingKey } = wire
  const target = queue !== null ? { queue } : topic !== null ? { topic } : { routingKey: routingKey! }
  return {
    name: wire.name,
    revision: wire.revision,
    nextRunAt: timeOrNull(wire.next_run_at),
    definition: {
      timing: {
        cron: wire.cron,
        everyMs: wire.every_ms,
        at: timeOrNull(wire.at),
        timezone: wire.timezone,
        startAt: timeOrNull(wire.start_at),
        endAt: timeOrNull(wire.end_at),
        limit: wire.limit,
        jitterMs: wire.jitter_ms,
      },
      missed: wire.missed,
      graceMs: wire.grace_ms,
      maxMissed: wire.max_missed,
      overlap: wire.overlap,
      target: target satisfies ScheduleTarget,
      message: wire.sends,
      owner: wire.owner,
      enabled: wire.declared_enabled,
    },
    progress: {
      enabled: wire.enabled,
      anchor: Date.parse(wire.anchor),
      occurrence: timeOrNull(wire.occurrence),
      lastOccurrence: timeOrNull(wire.last_run_at),
      runs: wire.runs,
      createdAt: Date.parse(wire.created_at),
      changedAt: Date.parse(wire.changed_at),
    },
  }
}

/** What is asked for; the server works out the rest. What is not said is left out. */
export function toWireDefinition({ definition, progress }: StoredSchedule, before: string | null): object {
  const { target, timing } = definition
  const times = Object.entries(toWireTimes(definition)).filter(([, value]) => value !== null)
  return {
    ...Object.fromEntries(times),
    ...(timing.cron === null ? {} : { timezone: timing.timezone }),
    ...('routingKey' in target ? { routing_key: target.routingKey } : target),
    ...toWirePolicy(definition),
    ...toWireEntry(definition.message),
    enabled: definition.enabled,
    switched: progress.enabled,
    before: before ?? '',
  }
}
