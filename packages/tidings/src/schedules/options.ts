import { nearest, show, TidingsError } from '../core/errors.ts'
import { checkQueueName, checkTopicName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { checkRoutingKey } from '../core/pattern.ts'
import { checkKey, messageBytesOption, sendOptions } from '../messages/options.ts'
import { prepare } from '../messages/prepare.ts'
import type { NewMessage } from '../port/engine.ts'
import type { ScheduleDefinition, ScheduleTarget, ScheduleTiming } from '../port/schedule-store.ts'

const dayMs = 86_400_000
const tenYearsMs = 3_650 * dayMs

const time = (doc: string, defaultText: string) => ({ ...sendOptions.at, doc, defaultText })
const named = (doc: string, check: (name: unknown, field: string) => string, typeText: string) =>
  option.value<string | { readonly name: string }, string | null>(doc, {
    default: null,
    defaultText: 'none',
    typeText,
    jsonSchema: { type: 'string' },
    parse: (value, path) =>
      check(typeof value === 'object' && value !== null && 'name' in value ? value.name : value, path),
  })

/** When: one of `cron`, `every` and `at`, and what bounds it. */
export const timingOptions = {
  cron: option.text(
    "Five fields, or six with seconds first: '0 2 * * *'. Also names of months and days, L, W, #, and '@daily' and the like.",
    { default: null },
  ),
  every: option.duration('At intervals, counted from `startAt`, or else from when it was declared.', {
    default: null,
    min: 1_000,
    max: tenYearsMs,
  }),
  at: time('Once, at this time; a Date or an ISO 8601 text.', 'none'),
  timezone: option.text('In which `cron` is read, by its name in the IANA database.', {
    default: null,
    check: checkTimezone,
  }),
  startAt: time('Nothing before this time.', 'now'),
  endAt: time('Nothing after this time.', 'never'),
  limit: option.integer('Ends after so many occurrences.', { default: null, min: 1, max: 1_000_000_000 }),
  jitter: option.duration('Sends later by a part of this, which differs between schedules and occurrences.', {
    default: 0,
    min: 0,
    max: dayMs,
  }),
} as const

/** What becomes of occurrences that do not fit. */
export const policyOptions = {
  missed: option.choice(
    "What becomes of occurrences that nobody could send in time: one message for all of them ('once'), one for each ('all'), or none ('skip').",
    ['once', 'all', 'skip'],
    { default: 'once' },
  ),
  grace: option.duration('How late an occurrence may be sent and still count as in time.', {
    default: 60_000,
    min: 0,
    max: 7 * dayMs,
  }),
  maxMissed: option.integer("With missed: 'all', so many at most, the last ones.", {
    default: 100,
    min: 1,
    max: 1_000,
  }),
  overlap: option.choice(
    "While a message of this schedule waits or is in hand: sends all the same ('allow'), does not send ('skip'), or removes those that wait ('replace'), for which it reads the queue through. For queues only.",
    ['allow', 'skip', 'replace'],
    { default: 'allow' },
  ),
  enabled: option.boolean('Whether it sends anything. What was switched by hand stays so until this is changed.', {
    default: true,
  }),
} as const

export const ownerOption = option.text('Who declares it. Nobody else can change it then.', {
  default: null,
  check: (value, path) => checkKey(value, path),
})

/** Where to: one of these. */
export const targetOptions = {
  queue: named('Sends to this queue.', checkQueueName, 'queue or its name'),
  topic: named('Publishes to this topic.', checkTopicName, 'topic or its name'),
  routingKey: option.text('Publishes under this routing key.', {
    default: null,
    check: (key, path) => void checkRoutingKey(key, path),
  }),
} as const

const { meta, headers, priority, orderingKey, group, ttl } = sendOptions
/** What is sent, beside the data. */
export const scheduledMessageOptions = { meta, headers, priority, orderingKey, group, ttl } as const

export const conflictOption = option.choice(
  "Where there is another one of the name: takes its place ('update'), or leaves it as it is ('keep').",
  ['update', 'keep'],
  { default: 'update' },
)

/** Of a schedule among those that an owner declares. @public */
export const declaredOptions = {
  ...timingOptions,
  ...targetOptions,
  data: { ...option.json('The data of each message.'), defaultText: 'null' },
  ...scheduledMessageOptions,
  ...policyOptions,
} as const
export type DeclaredSchedule = option.OptionsInput<typeof declaredOptions>

export const scheduleOptions = { ...declaredOptions, owner: ownerOption, onConflict: conflictOption } as const
export type ScheduleOptions = option.OptionsInput<typeof scheduleOptions>

/** The times and the like as they are asked for, whoever asks. */
export interface Asked {
  readonly timing: Omit<ScheduleTiming, 'timezone'> & { readonly timezone: string | null }
  readonly target: { readonly queue: string | null; readonly topic: string | null; readonly routingKey: string | null }
  readonly policy: Pick<ScheduleDefinition, 'missed' | 'graceMs' | 'maxMissed' | 'overlap' | 'enabled' | 'owner'>
  message(target: ScheduleTarget): NewMessage | Promise<NewMessage>
}

/** @throws TYPE, OPTION_CONFLICT and the like; BODY_NOT_JSON and other errors of what is sent */
export async function parseSchedule(
  options: ScheduleOptions,
  now: () => number,
): Promise<{ definition: ScheduleDefinition; onConflict: 'update' | 'keep' }> {
  const parsed = option.parseOptions(scheduleOptions, options, 'schedule')
  const { cron, every, at, timezone, startAt, endAt, limit, jitter, data = null, onConflict } = parsed
  const { queue, topic, routingKey, missed, grace, maxMissed, overlap, enabled, owner } = parsed
  const { meta, headers, priority, orderingKey, group, ttl } = parsed
  const definition = await define({
    timing: { cron, everyMs: every, at, timezone, startAt, endAt, limit, jitterMs: jitter },
    target: { queue, topic, routingKey },
    policy: { missed, graceMs: grace, maxMissed, overlap, enabled, owner },
    message: (target) =>
      prepare(
        data,
        { ...option.parseOptions(sendOptions, {}, 'schedule'), meta, headers, priority, orderingKey, group, ttl },
        {
          queue: 'queue' in target ? target.queue : null,
          destination: 'the schedule',
          routingKey: 'routingKey' in target ? target.routingKey : null,
          schema: null,
          serializer: null,
          maxMessageBytes: messageBytesOption.defaultValue,
          bare: false,
          ttlMs: null,
          delayMs: 0,
          now,
          // What led to a declaration does not lead to each message.
          origin: () => undefined,
        },
      ),
  })
  return { definition, onConflict }
}

/** @throws TYPE, OPTION_CONFLICT, RANGE */
export async function define({ timing, target, policy, message }: Asked): Promise<ScheduleDefinition> {
  const { cron, everyMs, at, startAt, endAt } = timing
  one({ cron, every: everyMs, at })
  if (timing.timezone !== null && cron === null)
    throw new TidingsError('OPTION_CONFLICT', "'timezone' is given without 'cron'", { details: { field: 'timezone' } })
  if (startAt !== null && endAt !== null && endAt < startAt)
    throw new TidingsError('RANGE', 'endAt lies before startAt', { details: { field: 'endAt' } })
  const name = one(target)
  const chosen = { [name]: target[name] } as unknown as ScheduleTarget
  if (policy.overlap !== 'allow' && name !== 'queue')
    throw new TidingsError('OPTION_CONFLICT', `overlap is '${policy.overlap}', which is for queues only`, {
      details: { field: 'overlap' },
    })
  return {
    timing: { ...timing, timezone: timing.timezone ?? 'UTC' },
    ...policy,
    target: chosen,
    message: await message(chosen),
  }
}

/** The one that is given. */
function one<N extends string>(fields: Readonly<Record<N, unknown>>): N {
  const names = Object.keys(fields) as N[]
  const [given, other] = names.filter((name) => fields[name] !== null)
  if (given === undefined) throw new TidingsError('TYPE', `one of ${names.join(', ')} is missing`, { hint: 'Add it.' })
  if (other !== undefined) throw new TidingsError('OPTION_CONFLICT', `'${given}' and '${other}' are both given`)
  return given
}

function checkTimezone(value: string, path: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: value })
  } catch {
    const meant = nearest(value, Intl.supportedValuesOf('timeZone'))
    throw new TidingsError('TIMEZONE_UNKNOWN', `${path} is ${show(value)}, which is no time zone`, {
      details: { field: path },
      ...(meant ? { hint: `Did you mean '${meant}'?` } : {}),
    })
  }
}
