import { TidingsError } from 'tidings/internal/core/errors'
import { checkScheduleName } from 'tidings/internal/core/names'
import * as option from 'tidings/internal/core/options'
import type { ScheduleTarget, StoredSchedule } from 'tidings/internal/port/schedule-store'
import { toWireSchedule } from 'tidings/internal/protocol/schedules'
import { define, ownerOption, policyOptions, targetOptions, timingOptions } from 'tidings/internal/schedules/options'
import { checkPublishing } from '../auth/keys.ts'
import { named, shape } from '../http/fields.ts'
import type { Redacted } from '../http/redaction.ts'
import { type Access, type Route, route, type Scope } from '../http/route.ts'
import { compose, entryFields } from './entry.ts'

const tag = 'Schedules'

const { message, data, meta, headers, ttl_ms, priority, ordering_key, group } = entryFields
const { cron, timezone, limit, at } = timingOptions
const { missed, overlap, enabled } = policyOptions
const wireTime = (one: typeof at) => ({ ...one, jsonSchema: { type: 'string', format: 'date-time' } })
/** In whole milliseconds, as everything that travels. */
const milliseconds = <D extends number | null>(one: { doc: string; min?: number; max?: number; defaultValue: D }) =>
  option.integer(one.doc, { default: one.defaultValue, min: one.min ?? 0, max: one.max ?? Number.MAX_SAFE_INTEGER })

const definitionFields = {
  cron,
  every_ms: milliseconds(timingOptions.every as { doc: string; min: number; max: number; defaultValue: null }),
  at: wireTime(at),
  timezone,
  start_at: wireTime(timingOptions.startAt),
  end_at: wireTime(timingOptions.endAt),
  limit,
  jitter_ms: milliseconds({ ...timingOptions.jitter, defaultValue: 0 }),
  queue: targetOptions.queue,
  topic: targetOptions.topic,
  routing_key: targetOptions.routingKey,
  missed,
  grace_ms: milliseconds({ ...policyOptions.grace, defaultValue: 60_000 }),
  max_missed: policyOptions.maxMissed,
  overlap,
  owner: ownerOption,
  enabled,
  message,
  data,
  meta,
  headers,
  ttl_ms,
  priority,
  ordering_key,
  group,
} as const

const scheduleFields = {
  name: shape.text('Its name.'),
  revision: shape.text('Changes with everything that changes it.'),
  enabled: shape.flag('Whether it sends now.'),
  declared_enabled: shape.flag('What it was declared as.'),
  next_run_at: shape.nullable(shape.time('When it sends next.')),
  last_run_at: shape.nullable(shape.time('The last occurrence that was sent.')),
  runs: shape.number('How many were sent since its times were last changed.'),
  cron: shape.nullable(shape.text(cron.doc)),
  every_ms: shape.nullable(shape.number(timingOptions.every.doc)),
  at: shape.nullable(shape.time(at.doc)),
  timezone: shape.text(timezone.doc),
  start_at: shape.nullable(shape.time(timingOptions.startAt.doc)),
  end_at: shape.nullable(shape.time(timingOptions.endAt.doc)),
  limit: shape.nullable(shape.number(limit.doc)),
  jitter_ms: shape.number(timingOptions.jitter.doc),
  queue: shape.nullable(shape.text(targetOptions.queue.doc)),
  topic: shape.nullable(shape.text(targetOptions.topic.doc)),
  routing_key: shape.nullable(shape.text(targetOptions.routingKey.doc)),
  missed: shape.text(missed.doc),
  grace_ms: shape.number(policyOptions.grace.doc),
  max_missed: shape.number(policyOptions.maxMissed.doc),
  overlap: shape.text(overlap.doc),
  owner: shape.nullable(shape.text(ownerOption.doc)),
  occurrence: shape.nullable(shape.time('The next one, without jitter.')),
  anchor: shape.time('From when intervals are counted.'),
  created_at: shape.time('When it was made.'),
  changed_at: shape.time('When it was last changed, by hand or by a declaration.'),
  sends: shape.anyMembers('The message that is sent, with its data as JSON text.'),
} as const

const switching = (to: 'enable' | 'disable', summary: string, description: string) =>
  route({
    name: `${to}Schedule`,
    method: 'POST',
    path: `/v1/schedules/{schedule}/${to}`,
    tag,
    summary,
    description,
    scope: 'admin',
    answers: { 200: { description: 'It is.', fields: { changed: shape.flag('Whether it was not before.') } } },
    async handle({ bus, params, access }) {
      const { schedule } = params as { schedule: string }
      await find(bus, schedule, access, 'admin')
      return { status: 200, body: { changed: await bus.schedules[to](schedule) } }
    },
  })

export const scheduleRoutes: readonly Route[] = [
  route({
    name: 'listSchedules',
    method: 'GET',
    path: '/v1/schedules',
    tag,
    summary: 'Lists the schedules',
    description: 'Those that send to what the token may read.',
    scope: 'read',
    query: {
      name: option.text('Only the one of this name, if it is there.', {
        default: null,
        check: (name, path) => void checkScheduleName(name, path),
      }),
    },
    answers: {
      200: {
        description: 'By name.',
        fields: {
          now: shape.time('By the clock of the storage.'),
          schedules: shape.several('', named('Schedule', option.object('', scheduleFields))),
        },
      },
    },
    async handle({ bus, access, redacted, query: { name } }) {
      const { now, schedules } = await bus.stored.schedules.list(name === null ? 'all' : { name })
      const visible = schedules.filter(({ definition }) => reaches(access, 'read', definition.target))
      const body = {
        now: new Date(now).toISOString(),
        schedules: visible.map((one) => toWireSchedule(shown(one, redacted))),
      }
      return { status: 200, body }
    },
  }),

  route({
    name: 'putSchedule',
    method: 'PUT',
    path: '/v1/schedules/{schedule}',
    tag,
    summary: 'Makes a schedule, or changes it',
    description:
      'One of `cron`, `every_ms` and `at`, and one of `queue`, `topic` and `routing_key`. The same again changes nothing. The server, and every process with a worker on the same storage, sends what is due, each occurrence once.',
    scope: 'admin',
    body: {
      ...definitionFields,
      switched: option.value<boolean, boolean | null>('Whether it is to send, whatever `enabled` says.', {
        default: null,
        defaultText: 'as it was',
        typeText: 'true or false',
        jsonSchema: { type: 'boolean' },
        parse: (value, path) => enabled.parse(value, path),
      }),
      before: option.text("Only in the place of this revision; '': only where there is none of the name.", {
        default: null,
      }),
    },
    example: { cron: '0 2 * * *', timezone: 'Europe/Berlin', queue: 'orders', message: { report: 'daily' } },
    answers: {
      200: {
        description: 'It is there.',
        fields: {
          stored: shape.flag('False where `before` is given and another revision is there: nothing was changed.'),
          next_run_at: shape.nullable(shape.time('When it sends next.')),
        },
      },
    },
    async handle({ bus, params: { schedule: name }, body, access, exact, maxMessageBytes }) {
      const definition = await define({
        timing: {
          cron: body.cron,
          everyMs: body.every_ms,
          at: body.at,
          timezone: body.timezone,
          startAt: body.start_at,
          endAt: body.end_at,
          limit: body.limit,
          jitterMs: body.jitter_ms,
        },
        target: { queue: body.queue, topic: body.topic, routingKey: body.routing_key },
        policy: {
          missed: body.missed,
          graceMs: body.grace_ms,
          maxMissed: body.max_missed,
          overlap: body.overlap,
          enabled: body.enabled,
          owner: body.owner,
        },
        message(target) {
          const queue = 'queue' in target ? target.queue : null
          const routingKey = 'routingKey' in target ? target.routingKey : null
          const nothing = {
            delay_ms: null,
            not_before: null,
            dedup: null,
            unique_target: null,
            bare: false,
            tracked: null,
          }
          return compose({ ...nothing, ...body }, { access, queue, routingKey, exact, maxMessageBytes, path: '' })
            .message
        },
      })
      mustReach(access, definition.target)
      const there = (await bus.stored.schedules.list({ name })).schedules[0]
      if (there !== undefined) mustReach(access, there.definition.target)
      const stored = await bus.schedules.store(name, definition, {
        onConflict: 'update',
        before: body.before === null ? undefined : body.before || null,
        enabled: body.switched ?? undefined,
      })
      const next = stored?.nextRunAt ?? null
      return { status: 200, body: { stored: stored !== null, next_run_at: next && new Date(next).toISOString() } }
    },
  }),

  route({
    name: 'removeSchedule',
    method: 'DELETE',
    path: '/v1/schedules/{schedule}',
    tag,
    summary: 'Removes a schedule',
    description: 'What it has sent stays.',
    scope: 'admin',
    query: { revision: option.text('Only this revision.', { default: null }) },
    answers: { 204: { description: 'It is gone.' }, 404: { description: 'There was none.' } },
    async handle({ bus, params: { schedule: name }, query: { revision }, access }) {
      await find(bus, name, access, 'admin')
      if (await bus.stored.schedules.remove(name, revision)) return { status: 204 }
      throw noSchedule(name)
    },
  }),

  route({
    name: 'nextOfSchedule',
    method: 'GET',
    path: '/v1/schedules/{schedule}/next',
    tag,
    summary: 'When a schedule will send',
    scope: 'read',
    query: { count: option.integer('How many times.', { default: 1, min: 1, max: 1_000 }) },
    answers: { 200: { description: 'Ascending.', fields: { next: shape.several('', shape.time('')) } } },
    async handle({ bus, params: { schedule: name }, query: { count }, access }) {
      await find(bus, name, access, 'read')
      const next = await bus.schedules.next(name, count)
      return { status: 200, body: { next: next.map((time) => time.toISOString()) } }
    },
  }),

  route({
    name: 'runSchedule',
    method: 'POST',
    path: '/v1/schedules/{schedule}/run',
    tag,
    summary: 'Sends a message of a schedule now',
    description: 'Beside its occurrences, also where it is disabled.',
    scope: 'send',
    answers: {
      201: {
        description: 'It was asked for.',
        fields: { sent: shape.flag('False where `overlap` held it back, or nothing is bound to the routing key.') },
      },
    },
    async handle({ bus, params: { schedule: name }, access }) {
      await find(bus, name, access, 'send')
      return { status: 201, body: { sent: await bus.schedules.runNow(name) } }
    },
  }),

  switching('enable', 'Lets a schedule send again', 'What would have been due meanwhile is not made up for.'),
  switching('disable', 'Keeps a schedule from sending', 'Until it is enabled, whoever declares it meanwhile.'),
]

type Bus = Parameters<Route['handle']>[0]['bus']

/** What a token does not reach is as if it were missing. @throws SCHEDULE_NOT_FOUND */
async function find(bus: Bus, name: string, access: Access, scope: Scope): Promise<StoredSchedule> {
  const schedule = (await bus.stored.schedules.list({ name })).schedules[0]
  if (schedule === undefined || !reaches(access, scope, schedule.definition.target)) throw noSchedule(name)
  return schedule
}

const noSchedule = (name: string) =>
  new TidingsError('SCHEDULE_NOT_FOUND', `schedule '${name}' does not exist`, { details: { schedule: name } })

function reaches(access: Access, scope: Scope, target: ScheduleTarget): boolean {
  if ('routingKey' in target) return access.has(scope) && access.publishes(target.routingKey)
  return access.allows(scope, 'queue' in target ? target.queue : target.topic)
}

/** A schedule sends in the name of the server. @throws FORBIDDEN */
function mustReach(access: Access, target: ScheduleTarget): void {
  if ('routingKey' in target) checkPublishing(access, target.routingKey)
  else if (!reaches(access, 'send', target))
    throw new TidingsError('FORBIDDEN', 'the token is not good for sending to what the schedule sends to')
}

function shown(schedule: StoredSchedule, redacted: Redacted): StoredSchedule {
  const { definition } = schedule
  const { target, message } = definition
  const to = 'queue' in target ? target.queue : 'topic' in target ? target.topic : target.routingKey
  return { ...schedule, definition: { ...definition, message: redacted(to, message) } }
}
