import { show, TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { Pause } from '../port/pause.ts'
import { parseIsoTime } from './options.ts'
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
function setting<I, O>(one: option.Option<I, O>): option.Option<I | null, O | null> {
  return { ...one, defaultValue: null, parse: (value, path) => (value === null ? null : one.parse(value, path)) }
}

/** What the storage keeps for a queue, for whoever uses it. Values are stored as JSON. */
export const queueSettings = {
  limits: setting(limitsSetting),
  weights: setting(weightsSetting),
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
