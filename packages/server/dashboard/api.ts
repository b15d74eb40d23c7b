import { signal } from '@preact/signals'
import { keep, kept } from './store.ts'
import type { Session } from './wire.ts'

/** An error as the API tells it. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  readonly code: string
  readonly hint: string

  constructor(
    status: number,
    { code = '', message = '', hint = '' }: { code?: string; message?: string; hint?: string },
  ) {
    super(message || `The server answered ${status}.`)
    this.status = status
    this.code = code
    this.hint = hint
  }
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>

export interface Request {
  readonly query?: Query
  readonly body?: unknown
  readonly signal?: AbortSignal
  /** Data as JSON text, so that no integer is rounded. */
  readonly exact?: boolean
}

const tokenKey = 'tidings-token'

/** `tidings dashboard` prints it behind the `#`, from where it must not go into the history. */
const [, handed] = /^#token=([\w.~-]+)$/.exec(location.hash) ?? []
if (handed !== undefined) {
  keep('sessionStorage', tokenKey, handed)
  history.replaceState(null, '', location.pathname + location.search)
  dispatchEvent(new HashChangeEvent('hashchange'))
}

/** The token of the person who looks; it ends with the tab. */
export const token = signal(kept('sessionStorage', tokenKey) ?? '')
export const session = signal<Session | null>(null)
/** How often the session has ended by itself. */
export const endings = signal(0)

/** How far the clock of the server is ahead of that of the viewer, in ms; small differences are none. */
export const clockSkew = signal(0)

export function keepToken(given: string): void {
  token.value = given
  keep('sessionStorage', tokenKey, given || null)
}

/** Beside the place of this script, so that any path in front of it works, and a document without a slash at its end. */
const script = import.meta.url
const api = new URL('../api/', script).href

const part = encodeURIComponent

/** The path of a route with the names in their places; every name is encoded. */
export const path = (strings: TemplateStringsArray, ...names: readonly string[]) =>
  strings.reduce((all, text, index) => all + part(names[index - 1]!) + text)

function address(to: string, query: Query = {}): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined) continue
    for (const one of Array.isArray(value) ? value : [value]) search.append(name, String(one))
  }
  const text = search.toString()
  return `${api}${to}${text && `?${text}`}`
}

/**
 * Asks the API.
 * @throws ApiError; NETWORK where nobody answered
 */
export async function call<T>(method: Method, to: string, request: Request = {}): Promise<T> {
  const { query, body, signal, exact } = request
  const headers: Record<string, string> = { accept: 'application/json' }
  if (method !== 'GET') headers['x-tidings-dashboard'] = '1'
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (exact) headers['tidings-data'] = 'text'
  if (token.value) headers.authorization = `Bearer ${token.value}`
  const init: RequestInit = { method, headers, cache: 'no-store', credentials: 'same-origin' }
  if (body !== undefined) init.body = JSON.stringify(body)
  if (signal) init.signal = signal
  const response = await fetch(address(to, query), init).catch((error: unknown) => {
    if (signal?.aborted) throw error
    throw new ApiError(0, {
      code: 'NETWORK',
      message: 'The server does not answer.',
      hint: 'It is asked again as long as this page is open.',
    })
  })
  readClock(response.headers.get('date'))
  const text = await response.text()
  // The token may have been taken back meanwhile.
  if (response.status === 401 && session.value !== null) {
    session.value = null
    endings.value += 1
  }
  if (response.ok) return (text === '' ? null : JSON.parse(text)) as T
  throw new ApiError(response.status, errorIn(text))
}

function readClock(date: string | null): void {
  const ahead = date === null ? Number.NaN : Date.parse(date) - Date.now()
  if (Number.isFinite(ahead)) clockSkew.value = Math.abs(ahead) < 3_000 ? 0 : ahead
}

function errorIn(text: string): { code?: string; message?: string; hint?: string } {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    return {}
  }
}

/** Whatever went wrong, as an error to be shown. */
export const asError = (caught: unknown): ApiError =>
  caught instanceof ApiError
    ? caught
    : new ApiError(0, { message: caught instanceof Error ? caught.message : String(caught) })

export const get = <T>(to: string, request?: Request) => call<T>('GET', to, request)
export const post = <T>(to: string, body: unknown = {}, request?: Request) => call<T>('POST', to, { ...request, body })
/** Reads by a request with a body. */
export const ask = <T>(to: string, body: unknown, signal: AbortSignal) => post<T>(to, body, { signal, exact: true })

/** Whether the person may do what takes this scope; where the server does not tell, the answer to the attempt does. */
export const may = (scope: 'send' | 'receive' | 'admin' | 'read'): boolean => {
  const { readOnly = true, scopes } = session.value ?? {}
  return !readOnly && (scopes === undefined || scopes.includes(scope))
}

export async function openSession(signal?: AbortSignal): Promise<void> {
  const found = await get<Session>('session', signal && { signal })
  session.value = found
}
