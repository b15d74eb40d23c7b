const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 })
const one = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })

/** 12,345 */
export const count = (value: number) => whole.format(value)
/** 12,345; from a million on 1.23M */
export const compact = (value: number) => (Math.abs(value) < 1_000_000 ? whole : short).format(value)
/** ~1.23M where it is estimated */
export const about = (value: number, { is_estimate = false }: { readonly is_estimate?: boolean }) =>
  `${is_estimate ? '~' : ''}${compact(value)}`
/** 1 message, 2 messages */
export const counted = (value: number, noun: string, nouns = `${noun}s`) =>
  `${count(value)} ${Math.abs(value) === 1 ? noun : nouns}`
/** Of a second, with one digit where it is small. */
export const rate = (perSecond: number) => (perSecond < 100 ? one : whole).format(perSecond)

/** '850 ms', '12 s', '4 min', '2 h 10 min', '3 d 4 h': what one says of it. */
export function duration(ms: number): string {
  const value = Math.max(0, ms)
  if (value < 1_000) return `${Math.round(value)} ms`
  const s = Math.floor(value / 1_000)
  if (s < 60) return `${s} s`
  const min = Math.floor(s / 60)
  if (min < 60) return min < 10 && s % 60 ? `${min} min ${s % 60} s` : `${min} min`
  const h = Math.floor(min / 60)
  if (h < 24) return min % 60 ? `${h} h ${min % 60} min` : `${h} h`
  const d = Math.floor(h / 24)
  return d < 10 && h % 24 ? `${d} d ${h % 24} h` : `${d} d`
}

export function bytes(size: number): string {
  if (size < 1_000) return `${size} B`
  if (size < 1_000_000) return `${one.format(size / 1_000)} kB`
  return size < 1e9 ? `${one.format(size / 1e6)} MB` : `${one.format(size / 1e9)} GB`
}

/** '30s', '10 min', '1h 30m' as milliseconds; NaN for anything else. */
export function toMs(text: string): number {
  const units = { ms: 1, s: 1e3, m: 6e4, min: 6e4, h: 3.6e6, d: 8.64e7 } as const
  const parts = [...text.trim().matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*/g)]
  if (parts.length === 0 || parts.map(([all]) => all).join('') !== text.trim()) return Number.NaN
  return parts.reduce((sum, [, value, unit]) => sum + Number(value) * units[unit as keyof typeof units], 0)
}
