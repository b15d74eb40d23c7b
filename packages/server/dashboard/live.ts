import { signal } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiError, asError } from './api.ts'
import { isReading } from './reading.ts'

const everyMs = 2_000
const afterErrorMs = 5_000
const kept = 60

/** Grows with every change that the person makes: what is shown is asked for again. */
const changes = signal(0)
export const changed = (): void => {
  changes.value += 1
}

/** What was shown last, so that going back shows it at once. */
const memory = new Map<string, unknown>()

export interface Live<T> {
  /** Null: nothing has come yet. */
  readonly data: T | null
  readonly error: ApiError | null
}

/**
 * Asks again and again, while the page is visible. What takes long is asked for less often, so that the page never
 * keeps a server busy for more than a tenth of the time.
 * @param key says what is asked for; another key begins anew. Null: nothing is asked for.
 * @param once asks again only after a change
 * @param keeps shows what came for the key before until something has come for the new one
 * @param every how long to wait before it is asked again, in ms
 */
export function useLive<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  { once = false, every = everyMs, keeps = false } = {},
): Live<T> {
  const [, draw] = useState(0)
  const state = useRef<Live<T> & { key: string | null }>({ key: null, data: null, error: null })
  if (state.current.key !== key) {
    const known = key === null ? null : ((memory.get(key) as T | undefined) ?? null)
    state.current = { key, data: known ?? (keeps ? state.current.data : null), error: null }
  }
  const change = changes.value
  const latest = useRef(load)
  latest.current = load

  useEffect(() => {
    if (key === null) return
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const show = (found: Partial<Live<T>>) => {
      if (stop.signal.aborted) return
      state.current = { ...state.current, error: null, ...found }
      draw((count) => count + 1)
    }
    const look = async () => {
      const start = performance.now()
      let wait = every
      try {
        const data = await latest.current(stop.signal)
        remember(key, data)
        show({ data })
        wait = Math.max(every, (performance.now() - start) * 9)
      } catch (error) {
        if (stop.signal.aborted) return
        show({ error: asError(error) })
        wait = afterErrorMs
      }
      if (!stop.signal.aborted && (!once || state.current.error)) timer = setTimeout(next, wait)
    }
    const next = () => {
      if (document.visibilityState === 'visible') void look()
      else document.addEventListener('visibilitychange', next, { once: true, signal: stop.signal })
    }
    next()
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [key, change])
  return state.current
}

function remember(key: string, data: unknown): void {
  memory.delete(key)
  memory.set(key, data)
  if (memory.size > kept) memory.delete(memory.keys().next().value!)
}

export interface Held<T> {
  readonly rows: readonly T[]
  /** How many rows are there that are not shown yet. */
  readonly fresh: number
  isGone(row: T): boolean
  show(): void
}

/**
 * The rows of a list as a person can read them: while somebody reads, the rows that are shown keep their places, with
 * their newest figures; further ones are counted.
 * @param list names the list; another name begins anew
 */
export function useHeld<T>(list: string, rows: readonly T[] | null, keyOf: (row: T) => string): Held<T> {
  const shown = useRef<{ list: string; rows: readonly T[] } | null>(null)
  const [, draw] = useState(0)
  const now = rows ?? []
  const byKey = new Map(now.map((row) => [keyOf(row), row]))
  const before = shown.current
  const holds = isReading.value && before !== null && before.list === list && before.rows.length > 0
  const held = holds ? before.rows.map((row) => byKey.get(keyOf(row)) ?? row) : now
  shown.current = rows === null && !holds ? before : { list, rows: held }
  const known = holds ? new Set(held.map(keyOf)) : null
  return {
    rows: held,
    fresh: known === null ? 0 : now.filter((row) => !known.has(keyOf(row))).length,
    isGone: (row) => holds && !byKey.has(keyOf(row)),
    show() {
      shown.current = { list, rows: now }
      draw((count) => count + 1)
    },
  }
}
