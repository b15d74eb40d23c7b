import { toMilliseconds } from '../core/duration.ts'
import { show, TidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { Engine } from '../port/engine.ts'
import type { QueueLimit, Rate } from '../port/queue-limits.ts'
import { noLimits } from '../port/refusals.ts'
import { checkKey } from './options.ts'

const most = 1_000_000
const longestPeriodMs = 2_592_000_000

const periods = {
  s: 1_000,
  sec: 1_000,
  second: 1_000,
  m: 60_000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
} as const

/** `'100/min'`, `'5/s'`, `'10/30s'`. */
export type RateText = `${number}/${keyof typeof periods | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`}`

export const limitOptions = {
  per: option.choice(
    'What the limit holds for: the queue, or each group or ordering key in it.',
    ['queue', 'group', 'orderingKey'],
    {
      default: 'queue',
    },
  ),
  concurrency: option.integer('How many messages may be in hand at once, over all processes: leases in force.', {
    default: null,
    min: 1,
    max: most,
  }),
  rate: option.value<Rate | RateText, Rate | null>(
    "How many messages may begin in a time, over all processes, retries too: '100/min', '5/s', '10/30s'.",
    {
      default: null,
      defaultText: 'none',
      typeText: "text such as '100/min', or count and periodMs",
      jsonSchema: {
        oneOf: [
          { type: 'string', pattern: '^[0-9]+/.+$' },
          { type: 'object', description: '`count` messages in `periodMs`', required: ['count', 'periodMs'] },
        ],
      },
      parse: parseRate,
    },
  ),
  burst: option.integer('With a rate: how many may begin at once after a rest; 1 lets them come evenly.', {
    default: null,
    defaultText: '1',
    min: 1,
    max: most,
  }),
} as const
/** A limit as it is given. */
export type QueueLimitInput = option.OptionsInput<typeof limitOptions>

export const rateOptions = {
  count: option.required(option.integer('How many messages.', { default: null, min: 1, max: most })),
  periodMs: option.required(option.integer('In which time.', { default: null, min: 1, max: longestPeriodMs })),
} as const
const rateObject = option.object('', rateOptions)

function parseRate(value: unknown, path: string): Rate | null {
  if (typeof value !== 'string' && typeof value !== 'number') return rateObject.parse(value, path)
  const [, count, period = ''] = /^\s*([^/]*?)\s*\/\s*(.*?)\s*$/.exec(String(value)) ?? []
  if (count === undefined || !/^\d+$/.test(count) || period === '')
    throw new TidingsError('TYPE', `${path} is ${show(value)}, which is not a number of messages in a time`, {
      details: { field: path },
      hint: "Write '100/min', '5/s' or '10/30s'.",
    })
  const periodMs = Object.hasOwn(periods, period)
    ? periods[period as keyof typeof periods]
    : Math.round(toMilliseconds(period, `the time of ${path}`))
  return rateObject.parse({ count: Number(count), periodMs }, path)
}

const limit = option.object('', limitOptions)
const limitSetting = option.value<QueueLimitInput, QueueLimit>('A limit.', {
  default: { per: 'queue' },
  defaultText: 'none',
  typeText: 'object with per, concurrency, rate, burst',
  jsonSchema: limit.jsonSchema ?? {},
  parse: parseLimit,
})

function parseLimit(value: unknown, path: string): QueueLimit {
  const { per, concurrency, rate, burst } = limit.parse(value, path) ?? {}
  const refuse = (why: string, hint: string) =>
    new TidingsError('OPTION_CONFLICT', `${path} ${why}`, { details: { field: path }, hint })
  if (!concurrency && !rate) throw refuse('limits nothing', "Give concurrency, or a rate such as '100/min', or both.")
  if (burst && !rate) throw refuse('has a burst without a rate', "Give the rate too, such as '100/min'.")
  if (concurrency && per === 'orderingKey')
    throw refuse('limits the concurrency of ordering keys', 'Of a key one message is in hand at a time anyway.')
  return {
    per: per ?? 'queue',
    ...(concurrency ? { concurrency } : {}),
    ...(rate ? { rate } : {}),
    ...(burst ? { burst } : {}),
  }
}

const limitList = option.list('', limitSetting, { default: null, min: 1, max: 16 })

export const limitsSetting = option.value<readonly QueueLimitInput[], readonly QueueLimit[] | null>(
  'How many messages may be in hand at once, and how many may begin in a time.',
  {
    default: null,
    defaultText: 'none',
    typeText: 'list of limits',
    jsonSchema: limitList.jsonSchema ?? {},
    parse(value, path) {
      const limits = limitList.parse(value, path) ?? []
      const seen = new Set<string>()
      for (const { per, concurrency, rate } of limits)
        for (const kind of [concurrency && `concurrency of ${per}`, rate && `rate of ${per} in ${rate.periodMs} ms`]) {
          if (kind && seen.has(kind))
            throw new TidingsError('OPTION_CONFLICT', `${path} limits the ${kind} twice`, { details: { field: path } })
          if (kind) seen.add(kind)
        }
      return limits
    },
  },
)

const mostWeights = 1_000
const [leastWeight, greatestWeight] = [0.001, 1_000]

export const weightsSetting = option.value<Readonly<Record<string, number>>, Readonly<Record<string, number>> | null>(
  'How many turns groups get in comparison; 1 for those that are not named.',
  {
    default: null,
    defaultText: '1 for all',
    typeText: 'object with a number for each group',
    jsonSchema: {
      type: 'object',
      additionalProperties: { type: 'number', minimum: leastWeight, maximum: greatestWeight },
    },
    parse(value, path) {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw option.typeError(path, value, 'an object')
      const weights = Object.entries(value as Record<string, unknown>)
      const outOf = (what: string) => new TidingsError('RANGE', what, { details: { field: path } })
      if (weights.length > mostWeights) throw outOf(`${path} has ${weights.length} groups; at most ${mostWeights}`)
      for (const [group, weight] of weights) {
        checkKey(group, `a group in ${path}`)
        if (typeof weight !== 'number') throw option.typeError(`${path}[${show(group)}]`, weight, 'a number')
        if (!(weight >= leastWeight && weight <= greatestWeight))
          throw outOf(`${path}[${show(group)}] is ${weight}; it must be between ${leastWeight} and ${greatestWeight}`)
      }
      return Object.fromEntries(weights) as Record<string, number>
    },
  },
)

/** @throws UNSUPPORTED where the storage would not keep to what is set */
export function refuseLimits(engine: Engine, settings: JsonObject): void {
  const set = ['limits', 'weights'].find((name) => (settings[name] ?? null) !== null)
  if (set !== undefined && !engine.supports.has('limits')) throw noLimits(engine.name, `the setting '${set}'`)
}
