import type { Duration } from '../core/duration.ts'
import { TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'

/** How long to wait after a failed attempt, in milliseconds. `attempt` is 1 after the first failure. */
export type Backoff = (attempt: number, error: unknown) => number

const longestMs = 315_360_000_000
const delay = <D extends number>(doc: string, defaultMs: D) =>
  option.duration(doc, { default: defaultMs, min: 0, max: longestMs, rangeCode: 'DELAY_RANGE' })

const jitterOption = option.value<number, number>('Varies each delay by up to this share, up and down.', {
  default: 0.1,
  defaultText: '0.1',
  typeText: 'number, 0 to 1',
  parse: parseNumber(0, 1),
})

export const exponentialOptions = {
  first: delay('The delay after the first failure.', 1_000),
  factor: option.value<number, number>('Every further delay is this many times longer.', {
    default: 2,
    defaultText: '2',
    typeText: 'number, 1 to 100',
    parse: parseNumber(1, 100),
  }),
  max: delay('No delay is longer.', 300_000),
  jitter: jitterOption,
} as const
export type ExponentialOptions = option.OptionsInput<typeof exponentialOptions>

export const linearOptions = {
  first: delay('The delay after the first failure.', 1_000),
  step: delay('Every further delay is longer by this.', 1_000),
  max: delay('No delay is longer.', 300_000),
  jitter: jitterOption,
} as const
export type LinearOptions = option.OptionsInput<typeof linearOptions>

/**
 * `first`, `first` × `factor`, `first` × `factor`² … up to `max`. Default: 1s, 2s, 4s … 5m, each varied by 10 %.
 * @throws DELAY_RANGE, RANGE, TYPE, OPTION_UNKNOWN
 * @example hires.work(handler, { backoff: exponential({ max: '10m' }) })
 */
export function exponential(options?: ExponentialOptions): Backoff {
  const { first, factor, max, jitter } = option.parseOptions(exponentialOptions, options, 'exponential')
  return (attempt) => vary(Math.min(max, first * factor ** (attempt - 1)), jitter)
}

/**
 * `first`, `first` + `step`, `first` + 2 × `step` … up to `max`. Default: 1s, 2s, 3s … 5m, each varied by 10 %.
 * @throws DELAY_RANGE, RANGE, TYPE, OPTION_UNKNOWN
 * @example hires.work(handler, { backoff: linear({ step: '5s' }) })
 */
export function linear(options?: LinearOptions): Backoff {
  const { first, step, max, jitter } = option.parseOptions(linearOptions, options, 'linear')
  return (attempt) => vary(Math.min(max, first + step * (attempt - 1)), jitter)
}

/**
 * Always the same delay. @throws DURATION, DELAY_RANGE
 * @example hires.work(handler, { backoff: fixed('30s') })
 */
export function fixed(wait: Duration): Backoff {
  const milliseconds = delay('', 0).parse(wait, 'delay')
  return () => milliseconds
}

/** Used if a backoff function gives no usable answer. */
const fallbackMs = 1_000

/**
 * Asks a backoff for its delay.
 * @param complain called if the backoff throws or gives an unusable answer; the delay is one second then
 */
export function delayAfter(
  backoff: Backoff,
  attempt: number,
  error: unknown,
  complain: (why: unknown) => void,
): number {
  try {
    const answer: unknown = backoff(attempt, error)
    if (typeof answer === 'number' && answer >= 0) return Math.round(Math.min(answer, longestMs))
    complain(option.typeError('the delay from the backoff function', answer, 'a number of milliseconds, 0 or more'))
  } catch (thrown) {
    complain(thrown)
  }
  return fallbackMs
}

/** The `parse` of a backoff option: milliseconds, a duration or a function. */
export function parseBackoff(input: unknown, path: string): Backoff {
  if (typeof input === 'function') return input as Backoff
  if (typeof input === 'number' || typeof input === 'string') return fixed(delay('', 0).parse(input, path))
  throw option.typeError(path, input, 'a duration, exponential(…), linear(…), fixed(…) or a function')
}

const curves = { exponential: [exponentialOptions, exponential], linear: [linearOptions, linear] } as const

/** A backoff that can be stored: a duration, or a curve and what its function takes. */
export type StorableBackoff =
  | Duration
  | ({ readonly curve: 'exponential' } & ExponentialOptions)
  | ({ readonly curve: 'linear' } & LinearOptions)
/** The same as it is stored: milliseconds, or a curve with all that belongs to it. */
export type StoredBackoff =
  | number
  | ({ readonly curve: keyof typeof curves } & Readonly<Record<string, number | string>>)

const curveOption = option.required(option.choice('How delays grow.', ['exponential', 'linear'], { default: null }))

export const backoffSetting = option.value<StorableBackoff, StoredBackoff | null>(
  'How long to wait after a failed attempt: a duration, or a curve.',
  {
    default: null,
    defaultText: 'none',
    typeText: "duration, or object with curve ('exponential' or 'linear'), first, factor or step, max, jitter",
    jsonSchema: {
      oneOf: [
        { type: 'number', minimum: 0 },
        { type: 'string' },
        { type: 'object', description: '`curve`, and what the function of its name takes', required: ['curve'] },
      ],
    },
    parse(value, path) {
      if (typeof value === 'number' || typeof value === 'string') return delay('', 0).parse(value, path)
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw option.typeError(path, value, 'a duration, or an object with curve')
      const { curve: given, ...rest } = value as Record<string, unknown>
      const curve = curveOption.parse(given, `${path}.curve`)
      const options = option.object<option.OptionSchema>('', curves[curve][0]).parse(rest, path)
      return { curve, ...options } as StoredBackoff
    },
  },
)

/** The function of a stored backoff. */
export function storedBackoff(stored: StoredBackoff): Backoff {
  if (typeof stored === 'number') return fixed(stored)
  const { curve, ...options } = stored
  return curves[curve][1](options)
}

const vary = (milliseconds: number, jitter: number) => milliseconds * (1 + jitter * (2 * Math.random() - 1))

function parseNumber(min: number, max: number) {
  return (input: unknown, path: string): number => {
    if (typeof input !== 'number') throw option.typeError(path, input, 'a number')
    if (input >= min && input <= max) return input
    throw new TidingsError('RANGE', `${path} is ${input}; it must be between ${min} and ${max}`, {
      details: { field: path, value: input, min, max },
    })
  }
}
