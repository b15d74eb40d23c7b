import { computed, signal } from '@preact/signals'
import type { Query } from './api.ts'

/**
 * Every view has an address behind the '#', so that no server and no proxy has to know it:
 * `#/queues/orders/messages?state=ready`.
 */
export interface Place {
  readonly path: readonly string[]
  readonly query: URLSearchParams
}

function read(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  return { path: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) }
}

/** A '%' that stands for nothing is taken as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const place = signal(read())
export const pathText = computed(() => place.value.path.join('/'))
addEventListener('hashchange', () => {
  place.value = read()
})

export function href(path: readonly string[], query: Query = {}): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== '') search.set(name, String(value))
  const text = search.toString()
  return `#/${path.map(encodeURIComponent).join('/')}${text && `?${text}`}`
}

export const toQueue = (queue: string, ...rest: readonly string[]) => href(['queues', queue, ...rest])
export const toMessage = (queue: string, id: string) => toQueue(queue, 'messages', id)

export function go(to: string): void {
  location.hash = to
}

/** Changes the query of this view; what is null is taken away. Leaves no entry in the history where `replace`. */
export function changeQuery(change: Query, { replace = false } = {}): void {
  const { path, query } = place.value
  const to = href(path, { ...Object.fromEntries(query), ...change })
  if (replace) {
    history.replaceState(null, '', to)
    place.value = read()
  } else go(to)
}
