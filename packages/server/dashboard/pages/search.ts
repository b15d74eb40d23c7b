import { toMs } from '../parts/format.ts'
import type { Json, MessageState } from '../wire.ts'

/** What a person asks for in the field above the messages: `ada data.order.id:7 error:timeout after:2h`. */
export interface Search {
  readonly ids: readonly string[]
  /** Fields of the request, by the names of the wire; empty: nothing but ids, or nothing at all. */
  readonly wanted: Readonly<Record<string, unknown>>
}

export const searchHelp =
  'Words anywhere in data, headers and meta; or id:, dedup:, error:, key:, group:, correlation:, target:, data.field:, meta.field:, header.field:, after: and before: (2h, or a date). Quotes around a value with spaces.'

const fields: Readonly<Record<string, string>> = {
  error: 'error',
  dedup: 'dedup_id',
  key: 'ordering_key',
  group: 'group',
  correlation: 'correlation_id',
  target: 'target',
}

/** @throws with words for a person */
export function parseSearch(text: string): Search {
  const ids: string[] = []
  const words: string[] = []
  const wanted: Record<string, unknown> = {}
  const parts: Record<'data' | 'meta' | 'headers', Record<string, Json>> = { data: {}, meta: {}, headers: {} }
  for (const [, name, quoted, plain] of text.matchAll(/(?:([a-z]+(?:\.[^\s:"]+)?):)?(?:"([^"]*)"|(\S+))/gi)) {
    const value = quoted ?? plain ?? ''
    const [kind = '', ...path] = name?.split('.') ?? []
    if (name === undefined) {
      // What looks like an id is one.
      if (quoted === undefined && /^\d+(-\d+)?$/.test(value)) ids.push(value)
      else words.push(value)
    } else if (name === 'id') ids.push(...value.split(',').filter(Boolean))
    else if (name === 'after' || name === 'before') wanted[`sent_${name}`] = timeIn(value)
    else if (Object.hasOwn(fields, name)) wanted[fields[name]!] = value
    else if (path.length > 0 && kind === 'data') set(parts.data, path, quoted ?? jsonOr(value))
    else if (path.length > 0 && kind === 'meta') parts.meta[path.join('.')] = quoted ?? value
    else if (path.length > 0 && kind === 'header') parts.headers[path.join('.')] = quoted ?? jsonOr(value)
    // An address, perhaps: 'https://…'.
    else words.push(`${name}:${value}`)
  }
  if (words.length > 0) wanted.text = words.join(' ')
  for (const [kind, of] of Object.entries(parts)) if (Object.keys(of).length > 0) wanted[kind] = of
  return { ids, wanted }
}

/** '2h' is two hours ago. */
function timeIn(value: string): string {
  const ms = toMs(value)
  const at = Number.isNaN(ms) ? Date.parse(value) : Date.now() - ms
  if (Number.isFinite(at)) return new Date(at).toISOString()
  throw new Error(`“${value}” is no time. Write 2h for two hours ago, or a date like 2026-05-01T08:00.`)
}

function jsonOr(value: string): Json {
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

function set(into: Record<string, Json>, [first = '', ...rest]: readonly string[], value: Json): void {
  if (rest.length === 0) {
    into[first] = value
    return
  }
  const inner = { ...((into[first] as object | undefined) ?? {}) }
  set(inner, rest, value)
  into[first] = inner
}

/** So many messages are looked at for a page of those in one state. */
const scanned = 100_000

/** A request for one page: a look into the queue, or a search where more is asked for than ids. */
export function requestOf(
  { ids, wanted }: Search,
  place: MessageState | null,
  after: string | null,
  limit: number,
): { readonly route: 'peek' | 'search'; readonly body: object } {
  const page = { place, limit, ...(after === null ? {} : { after }) }
  if (ids.length > 0) return { route: 'peek', body: { ...page, ids } }
  if (Object.keys(wanted).length > 0) return { route: 'search', body: { ...page, ...wanted } }
  return { route: 'peek', body: place === null ? page : { ...page, scan: scanned } }
}
