import { show, TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { Pause } from '../port/pause.ts'
import { backoffSetting } from './backoff.ts'
import { leaseOption } from './message.ts'
import {
  attemptsOption,
  defaultLeaseMs,
  delayOption,
  messageBytesOption,
  parseIsoTime,
  queueOptions,
} from './options.ts'
import { limitsSetting, weightsSetting } from './queue-limits.ts'

/** A time as ISO 8601 text, in which form settings are stored. */
const time = (doc: string, defaultText: string) =>
  option.value<Date | string, string | null>(doc, {
    default: null,
    defaultText,
    typeText: 'Date or ISO 8601 text',
    jsonSchema: { type: 'string', format: 'date-time' },
    parse(value, path) {
      const at = value instanceof Date ? value.getTime() : typeof value === 'string' ? parseIsoTime(value) : Number.NaN
      if (Number.isFinite(at)) return new Date(at).toISOString()
      throw new TidingsError('RANGE', `${path} is ${show(value)}, which is not a time`, {
        details: { field: path },
        hint: "Use a Date or a text such as '2026-05-01T08:00:00Z'.",
      })
    },
  })

const checkNote = (value: string, path: string) => {
  if (value.length > 0 && value.length <= 500) return
  throw new TidingsError('RANGE', `${path} has ${value.length} characters; it must have between 1 and 500`, {
    details: { field: path },
  })
}

export const pauseOptions = {
  until: time('When messages are handed out again by themselves.', 'until `resume`'),
  reason: option.text('Why, for people.', { default: null, check: checkNote }),
  by: option.text('Who, for people.', { default: null, check: checkNote }),
} as const
export type PauseOptions = option.OptionsInput<typeof pauseOptions>

/** A pause as it is stored. */
export const pauseSetting = { ...pauseOptions, since: time('When it began.', 'now') } as const
export type PauseSetting = option.OptionsInput<typeof pauseSetting>

/** A setting that null takes away. */
function setting<I, O>(one: option.Option<I, O>, doc = one.doc): option.Option<I | null, O | null> {
  const parse = (value: unknown, path: string) => (value === null ? null : one.parse(value, path))
  return { ...one, doc, defaultValue: null, defaultText: 'none', parse }
}

/** How long archives are kept; also for the rules of a sentinel. */
export const retentionFields = {
  keepFor: option.duration('Messages that were archived longer ago are removed.', {
    default: null,
    min: 1,
    max: 315_360_000_000,
  }),
  keep: option.integer('What is beyond this number is removed, the longest archived first.', {
    default: null,
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  }),
} as const
/** How long an archive is kept: at least one of the two. */
export type QueueRetention = option.OptionsInput<typeof retentionFields>
const retention = option.object('How long archived messages are kept; a sentinel removes the others.', retentionFields)

/** @throws TYPE where a retention keeps everything */
export function checkRetention({ keepFor, keep }: option.OptionsOutput<typeof retentionFields>, path: string): void {
  if (keepFor === null && keep === null)
    throw new TidingsError('TYPE', `${path} has neither keepFor nor keep`, {
      details: { field: path },
      hint: 'Add what is missing.',
    })
}

/** Those of `queueSettings` that a file may say: a pause is of the day. */
export const declarableSettings = {
  lease: setting(
    leaseOption(defaultLeaseMs),
    'For how long readers have a message, where they do not say so themselves.',
  ),
  delay: setting(delayOption, 'Messages that are sent without a time become ready after this one.'),
  ttl: setting(queueOptions.ttl, 'How long messages are worth being handled, where the sender does not say so.'),
  maxLength: setting(
    queueOptions.maxLength,
    'Refuses to send as QUEUE_FULL what would make the queue longer than this, whatever the sender says.',
  ),
  maxMessageBytes: setting(
    messageBytesOption,
    'Refuses to send larger data, in bytes of JSON, whatever the sender says.',
  ),
  maxAttempts: setting(attemptsOption),
  backoff: setting(backoffSetting),
  deadLetter: setting(queueOptions.deadLetter),
  retention: setting({
    ...retention,
    parse(value, path) {
      const fields = retention.parse(value, path)
      if (fields !== null) checkRetention(fields, path)
      return fields
    },
  }),
  limits: setting(limitsSetting),
  weights: setting(weightsSetting),
} as const
export type DeclaredSettings = option.OptionsInput<typeof declarableSettings>

/** What the storage keeps for a queue, for whoever uses it. Values are stored as JSON. */
export const queueSettings = {
  ...declarableSettings,
  pause: setting(option.object('Hands out no messages; `queue.pause()` sets it.', pauseSetting)),
} as const

/** What is to be changed; null takes a setting away. */
export type QueueSettingsChange = option.OptionsInput<typeof queueSettings>
/** What the storage keeps for a queue; what is left out is not set. Durations are milliseconds, times ISO 8601 texts. */
export type QueueSettings = {
  readonly [K in keyof typeof queueSettings]?: NonNullable<option.OptionsOutput<typeof queueSettings>[K]>
}

/**
 * @param now what a pause begins with, in ms since 1970
 * @returns the change in the form of the storage
 * @throws OPTION_UNKNOWN, TYPE, RANGE and the like
 */
export function parseSettings(change: unknown, now: number, where = 'configure'): JsonObject {
  const parsed = option.parseOptions(queueSettings, change, where)
  const given = Object.entries(parsed).filter(([name]) => (change as QueueSettingsChange)[name as never] !== undefined)
  const settings = Object.fromEntries(given) as { pause?: QueueSettings['pause'] | null }
  const { pause } = settings
  if (pause != null && pause.until !== null && Date.parse(pause.until) <= now)
    throw new TidingsError('RANGE', `pause.until is ${pause.until}, which is over`, {
      details: { field: 'pause.until' },
      hint: 'Name a time to come, or leave it out.',
    })
  if (pause?.since === null) settings.pause = { ...pause, since: new Date(now).toISOString() }
  return settings as JsonObject
}

/** @returns the pause that is in force; null if there is none */
export function pauseIn({ pause }: QueueSettings = {}, now: number): Pause | null {
  return pause && (pause.until === null || Date.parse(pause.until) > now) ? (pause as Pause) : null
}

/** What of stored settings this release understands: a later one may have stored others. */
export function readSettings(stored: JsonObject | QueueSettings): QueueSettings {
  const readable = Object.entries(queueSettings).flatMap(([name, one]) => {
    const value: unknown = Object.hasOwn(stored, name) ? stored[name as keyof typeof stored] : null
    try {
      return value === null || value === undefined ? [] : [[name, one.parse(value, name)] as const]
    } catch {
      return []
    }
  })
  return Object.fromEntries(readable) as QueueSettings
}
