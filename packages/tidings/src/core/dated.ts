/** What times are named. */
type TimeName = `${string}At` | 'since' | 'until'

/** With `Date` for times, which storages tell in milliseconds since 1970 and keep in settings as ISO 8601 text. */
export type Dated<T> = { readonly [K in keyof T]: K extends TimeName ? Date | Exclude<T[K], number | string> : T[K] }

export function dated<T extends object>(told: T): Dated<T> {
  const fields = Object.entries(told).map(([name, value]) => [name, isTime(name) ? dateOrNull(value) : value])
  return Object.fromEntries(fields) as Dated<T>
}

const isTime = (name: string) => name.endsWith('At') || name === 'since' || name === 'until'

export const dateOrNull = (time: number | string | null): Date | null => (time === null ? null : new Date(time))
