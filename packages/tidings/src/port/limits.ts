import type { JsonObject } from '../core/json.ts'
import type { NewMessage } from './types.ts'

/** The largest call that a storage takes; what travels together is cut to it. A single item may be larger. */
export interface Limits {
  readonly items: number
  /** Of what `sizeOf` says. */
  readonly bytes: number
}

/** Where nothing else bounds a call: larger ones would be no faster, and would keep others waiting. */
export const usualLimits: Limits = { items: 1_000, bytes: 16_777_216 }

/** What an item has beside its data, meta and headers: names of fields, and keys of limited length. */
const otherBytes = 1_024

/** At least as many bytes as the message has as JSON. */
export function sizeOf({ data, meta, headers }: NewMessage): number {
  return Buffer.byteLength(data) + sizeOfObject(meta) + sizeOfObject(headers) + otherBytes
}

/** The same of something that is sent with nothing but meta. */
export const sizeWith = (meta: JsonObject): number => sizeOfObject(meta) + otherBytes

function sizeOfObject(object: JsonObject): number {
  for (const _ in object) return Buffer.byteLength(JSON.stringify(object))
  return 0
}

/** How many of the first items go into one call; at least one, if there is any. */
export function fitting<T>(items: readonly T[], { items: most, bytes }: Limits, size: (item: T) => number): number {
  const end = Math.min(items.length, most)
  let left = bytes
  // One goes in any case, and need not be weighed.
  for (let index = 0; index < end && end > 1; index++) {
    left -= size(items[index]!)
    if (left < 0) return Math.max(1, index)
  }
  return end
}

/** The items in their order, in parts that each go into one call. */
export function* parts<T>(items: readonly T[], limits: Limits, size: (item: T) => number): Generator<T[], void> {
  for (let from = 0; from < items.length; ) {
    const rest = items.slice(from, from + limits.items)
    const part = rest.slice(0, fitting(rest, limits, size))
    from += part.length
    yield part
  }
}
