import type { StoredMessage } from '../port/engine.ts'

/** Dead letters that failed alike. */
export interface LetterGroup {
  /** The error, with '#' for what differs: numbers and ids. */
  readonly error: string
  readonly count: number
  /** When the first and the last of them failed; null where that is not known. */
  readonly firstAt: Date | null
  readonly lastAt: Date | null
  /** The id of one of them in the dead-letter queue: the last. */
  readonly exampleId: string
}

const mostLength = 200
const noError = 'no error is known'

/** The first line of an error without what differs from message to message. Of a group it is the group. */
export function errorGroupOf(error: unknown): string {
  if (typeof error !== 'string' || error.trim() === '') return noError
  const [line = ''] = error.trim().split(/\r?\n/)
  return line
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, '#')
    .replace(/\b(0x)?(?=[0-9a-f]*\d)[0-9a-f]{6,}\b/gi, '#')
    .replace(/\d+/g, '#')
    .slice(0, mostLength)
}

/** Counts dead letters by their error. */
export class LetterGroups {
  readonly #groups = new Map<string, LetterGroup>()

  add({ id, meta }: Pick<StoredMessage, 'id' | 'meta'>): void {
    const error = errorGroupOf(meta.error_message)
    const at = timeOf(meta.dead_lettered_at)
    const before = this.#groups.get(error)
    this.#groups.set(error, {
      error,
      count: (before?.count ?? 0) + 1,
      firstAt: earlier(before?.firstAt ?? null, at),
      lastAt: later(before?.lastAt ?? null, at),
      exampleId: id,
    })
  }

  /** The largest first. */
  largest(limit: number): LetterGroup[] {
    return [...this.#groups.values()].sort((a, b) => b.count - a.count || (a.error < b.error ? -1 : 1)).slice(0, limit)
  }
}

const earlier = (a: Date | null, b: Date | null) => (a === null || (b !== null && b < a) ? b : a)
const later = (a: Date | null, b: Date | null) => (a === null || (b !== null && b > a) ? b : a)

/** Other programs may have written anything there. */
function timeOf(written: unknown): Date | null {
  const time = typeof written === 'string' ? Date.parse(written) : Number.NaN
  return Number.isNaN(time) ? null : new Date(time)
}
