import { show, TidingsError } from './errors.ts'

const millisecondsPer = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

type Unit = keyof typeof millisecondsPer

const unitNamed = { millisecond: 'ms', second: 's', minute: 'm', hour: 'h', day: 'd' } as const

type Name = keyof typeof unitNamed

/**
 * A length of time: `'250ms'`, `'5s'`, `'2m'`, `'1h'`, `'7d'`, the same in words (`'5 minutes'`), or a number of milliseconds.
 * Never bare seconds.
 */
export type Duration = number | `${number}${Unit}` | `${number} ${Name | `${Name}s`}`

/**
 * @param field the name of the value in the error message
 * @returns milliseconds, possibly fractional or negative: the caller checks the range
 * @throws DURATION if it is not a duration
 */
export function toMilliseconds(value: unknown, field: string): number {
  const milliseconds = typeof value === 'string' ? parse(value) : value
  if (typeof milliseconds === 'number' && Number.isFinite(milliseconds)) return milliseconds
  throw new TidingsError('DURATION', `${field} is ${show(value)}, which is not a duration`, { details: { field } })
}

function parse(text: string): number | undefined {
  const [, count, unit, name] =
    /^(-?\d+(?:\.\d+)?)(?:(ms|s|m|h|d)| (millisecond|second|minute|hour|day)s?)$/.exec(text.trim()) ?? []
  if (count === undefined) return undefined
  return Number(count) * millisecondsPer[(unit as Unit | undefined) ?? unitNamed[name as Name]]
}

/** Milliseconds as a short text in the largest unit that stays exact: 90000 → '90s'. */
export function showDuration(milliseconds: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const count = milliseconds / millisecondsPer[unit]
    if (count >= 1 && Number.isInteger(count)) return `${count}${unit}`
  }
  return `${milliseconds}ms`
}
