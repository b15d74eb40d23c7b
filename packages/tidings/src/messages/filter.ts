import { show, TidingsError } from '../core/errors.ts'
import { fromJson, type JsonObject, type JsonValue, toJsonValue } from '../core/json.ts'
import * as option from '../core/options.ts'
import type { Engine, Place, StoredMessage } from '../port/engine.ts'
import { fromWireName, isTextField, type MessageMeta, toWireName } from '../port/meta.ts'
import { StoredCopy } from './message.ts'

/**
 * What messages are looked for. Objects are parts: a message fits if it has all that they have, and may have more;
 * arrays and single values must be equal. A null in `meta` stands for a field that is not there.
 */
export interface Where {
  readonly meta?: MessageMeta | JsonObject
  readonly headers?: JsonObject
  readonly data?: JsonValue
}

export type Predicate = (message: StoredCopy<unknown>) => unknown

/** The same for the code that looks. */
export interface Wanted {
  /** What the storage can look for itself, in names of the wire format; there may be more to it. */
  readonly meta: Readonly<Record<string, string>>
  fits(message: StoredCopy<unknown>): unknown
}

const pageSize = 200
export const anything: Wanted = { meta: {}, fits: () => true }

/**
 * Pages through one place of a queue by id.
 * @param toData what stored data is for who looks; left out, it is JSON
 * @returns what fits, a page at a time; a page may be empty
 */
export async function* scan(
  engine: Engine,
  queue: string,
  place: Place | null,
  { meta, fits }: Wanted,
  afterId: string | null = null,
  toData: (stored: StoredMessage) => unknown = ({ data }) => fromJson(data),
): AsyncGenerator<StoredCopy<unknown>[]> {
  for (let after = afterId; ; ) {
    const stored = await engine.peek(queue, { place, limit: pageSize, afterId: after, ids: null, meta })
    const page = stored.map((one) => new StoredCopy(queue, one, toData(one)))
    const judged = await Promise.all(page.map(async (message) => ((await fits(message)) ? message : null)))
    yield judged.filter((message) => message !== null)
    after = page.at(-1)?.id ?? null
    if (page.length < pageSize) return
  }
}

/** The first messages of these pages; or the last of all, which come first then. */
export async function collect<M>(pages: AsyncIterable<M[]>, limit: number, newest: boolean): Promise<M[]> {
  let found: M[] = []
  for await (const page of pages) {
    found = newest ? [...found, ...page].slice(-limit) : [...found, ...page].slice(0, limit)
    if (!newest && found.length === limit) break
  }
  return newest ? found.reverse() : found
}

/** @throws TYPE, OPTION_UNKNOWN and what cannot be JSON */
export function parseWhere(value: unknown, path: string): Wanted {
  if (typeof value === 'function') return { meta: {}, fits: value as Predicate }
  const { meta, headers, data } = option.parseOptions(parts, value, path)
  const wanted = meta ?? anything
  return {
    meta: wanted.meta,
    fits: (message) =>
      wanted.fits(message) &&
      (headers === undefined || contains(message.headers, headers)) &&
      (data === undefined || contains(message.data, data)),
  }
}

/** The part of `where` that speaks of meta. */
export function parseMetaWhere(value: unknown, path: string): Wanted {
  const fields = Object.entries(parseObject(value, path)).map(([name, one]) => [fromWireName(name), one] as const)
  for (const [name, one] of fields)
    if (one !== null && isTextField(toWireName(name)) && typeof one !== 'string')
      throw option.typeError(`${path}.${name}`, one, 'a string')
  const texts = fields.flatMap(([name, one]) => (typeof one === 'string' ? [[toWireName(name), one] as const] : []))
  return {
    meta: Object.fromEntries(texts),
    fits: ({ meta }) =>
      fields.every(([name, one]) => {
        const actual = Object.hasOwn(meta, name) ? meta[name] : null
        return one === null ? actual === null : contains(actual, one)
      }),
  }
}

function contains(actual: unknown, wanted: JsonValue): boolean {
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted
  if (typeof actual !== 'object' || actual === null || Array.isArray(actual) !== Array.isArray(wanted)) return false
  if (Array.isArray(wanted) && wanted.length !== (actual as unknown[]).length) return false
  return Object.entries(wanted).every(
    ([key, one]) => Object.hasOwn(actual, key) && contains((actual as Record<string, unknown>)[key], one),
  )
}

const part = <T>(doc: string, parse: (value: unknown, path: string) => T) =>
  option.value<T, T | undefined>(doc, { default: undefined, defaultText: 'any', typeText: 'JSON', parse })

const parts = {
  meta: part('What its meta has.', (value, path) => parseMetaWhere(value, `where.${path}`)),
  headers: part('What its headers have.', (value, path) => parseObject(value, `where.${path}`)),
  data: part('What its data have.', (value, path) => parsePart(value, `where.${path}`)),
} as const

function parseObject(value: unknown, path: string): JsonObject {
  const parsed = parsePart(value, path)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw option.typeError(path, value, 'an object')
  return parsed as JsonObject
}

function parsePart(value: unknown, path: string): JsonValue {
  const parsed = toJsonValue(value, path)
  refuseUndefined(value, path)
  return parsed
}

/** JSON leaves it out, and a variable that was never set would then fit every message. */
function refuseUndefined(value: unknown, path: string): void {
  if (value === undefined)
    throw new TidingsError('TYPE', `${path} is ${show(value)}; leave it out to look for any`, {
      details: { field: path },
    })
  if (typeof value !== 'object' || value === null) return
  for (const [key, one] of Object.entries(value)) refuseUndefined(one, `${path}.${key}`)
}
