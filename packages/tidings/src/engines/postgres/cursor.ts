import type { StoredMessage } from '../../port/engine.ts'

/** Under load, what lies behind the mark is looked for at least this often… */
const sweepEveryMs = 500
/** …and sweeps may take up this share of the time: a twentieth under load, a tenth when there is nothing else to do. */
const busyShare = 20
const idleShare = 10
/** What a sweep may cost without being counted… */
const cheapMs = 5
/** …and as part of a claim. */
const waitedForMs = 10

/** Of so many messages in hand the keys are known. */
const mostKeys = 10_000

/** What a walk beside the claims has seen. */
export interface Walk {
  /** Of messages that are ready, oldest first; at most as many as one step tells. */
  readonly ids: readonly string[]
  /** The queue has priorities, which come first. */
  readonly sorted: boolean
  /** The last message that was passed; null if there was none. */
  readonly reached: string | null
  /** Whether all was seen up to there. */
  readonly ended: boolean
  readonly costMs: number
  readonly nextDueMs: number | null
}

/**
 * Where one process is in one queue: the low-water mark, and when a sweep behind it is worth its cost. Every claim
 * starts at the mark and so passes over nothing that is leased, delayed or dead. A sweep walks over all of that, so it
 * is done when a claim came back short, at known due times and twice a second, but never more often than its last cost
 * allows; a cheap one as part of a claim, another one beside the claims. Losing this state costs one sweep, no more.
 */
export class Cursor {
  /** Plain messages up to this id were claimed, or are left to the next sweep. */
  #mark = 0n
  /** The ordering key that was served last; the next one has its turn. */
  #lastKey: string | null = null
  #sweptAt = Number.NEGATIVE_INFINITY
  /** The cost of the last two sweeps; the smaller counts, since a single slow one may be chance. */
  #costsMs: readonly [number, number] = [0, 0]
  /** Whether the last claim came back short, so that the next one is likely to as well. */
  #short = true
  #nextDueAt: number | null = null
  /** What a walk has found. */
  #found: readonly string[] = []

  /** The keys of messages that this process may have in hand, by their ids. */
  readonly #keys = new Map<string, string>()
  /** Keys that this process has made way in, where a claim looks first: it does not look at all keys. */
  #freed = new Set<string>()

  get mark(): string {
    return String(this.#mark)
  }

  get lastKey(): string | null {
    return this.#lastKey
  }

  get #costMs(): number {
    return Math.min(...this.#costsMs)
  }

  /** Whether a sweep would keep a claim waiting for too long. */
  get sweepsBeside(): boolean {
    return this.#costMs > waitedForMs
  }

  /** Whether a sweep is due: because it is time, or because there is little else to do. */
  shouldSweep(now: number): boolean {
    const isDue = now - this.#sweptAt >= Math.max(sweepEveryMs, this.#costMs * busyShare)
    return isDue || (this.#short && this.maySweep(now))
  }

  /** Whether a sweep is affordable, now that there is nothing more in front of the mark. */
  maySweep(now: number): boolean {
    return this.#sweepAllowedIn(now) <= 0
  }

  #sweepAllowedIn(now: number): number {
    if (this.#costMs <= cheapMs) return 0
    return this.#sweptAt + this.#costMs * idleShare - now
  }

  get hasKeys(): boolean {
    return this.#keys.size > 0
  }

  /** A lease has ended, by this process. */
  noteEnd(id: string): void {
    const key = this.#keys.get(id)
    if (key === undefined) return
    this.#keys.delete(id)
    this.#freed.add(key)
  }

  takeFreed(): readonly string[] {
    if (this.#freed.size === 0) return []
    const freed = [...this.#freed]
    this.#freed = new Set()
    return freed
  }

  /** A message behind the mark is ready again: given back by this process. */
  lowerTo(id: string): void {
    const before = BigInt(id) - 1n
    if (before < this.#mark) this.#mark = before
  }

  get hasFound(): boolean {
    return this.#found.length > 0
  }

  /** Messages that a walk found, which claims take by their ids. */
  takeFound(limit: number): readonly string[] {
    const taken = this.#found.slice(0, limit)
    this.#found = this.#found.slice(limit)
    return taken
  }

  putBack(ids: readonly string[]): void {
    this.#found = [...ids, ...this.#found]
  }

  /** Something may have come up behind the mark. */
  expectSweep(): void {
    this.#sweptAt = Number.NEGATIVE_INFINITY
  }

  /** @param full whether it brought all that was asked for */
  noteClaim(messages: readonly StoredMessage[], full: boolean): void {
    this.#short = !full
    const last = lastPlainId(messages)
    if (last !== null && last > this.#mark) this.#mark = last
    this.#noteKey(messages)
  }

  /**
   * @param sweep full: it brought all that was asked for, so that there may be more where it stopped; costMs: its time
   *   on the server
   */
  noteSweep(
    messages: readonly StoredMessage[],
    sweep: { full: boolean; endedAt: number; costMs: number; nextDueMs: number | null },
  ): void {
    const last = lastPlainId(messages)
    if (last !== null && (sweep.full || last > this.#mark)) this.#mark = last
    this.#noteKey(messages)
    this.#short = !sweep.full
    this.#swept(sweep)
  }

  /** @param upTo where the mark was; null if the walk went on to the end, since there was nothing in front of the mark */
  noteWalk({ ids, sorted, reached, ended, ...cost }: Walk, upTo: string | null, endedAt: number): void {
    const isHidden = upTo === null && ids.length === 0 && reached !== null
    // Claims need not walk over what is hidden in front of the mark.
    if (isHidden && BigInt(reached) > this.#mark) this.#mark = BigInt(reached)
    if (!sorted) this.#found = ids
    else if (ids.length > 0) this.lowerTo(ids[0]!)
    this.#swept({ ...cost, endedAt, nextDueMs: ended ? cost.nextDueMs : 0 })
  }

  #swept({ endedAt, costMs, nextDueMs }: { endedAt: number; costMs: number; nextDueMs: number | null }): void {
    this.#sweptAt = endedAt
    this.#costsMs = [this.#costsMs[1], costMs]
    this.#nextDueAt = nextDueMs === null ? null : endedAt + nextDueMs
  }

  /** In how many whole milliseconds to look again, as far as is known. */
  nextDueMs(now: number, sweptJustNow: boolean): number | null {
    const due = this.#nextDueAt === null ? null : Math.max(0, Math.ceil(this.#nextDueAt - now))
    if (sweptJustNow) return due
    // What a sweep would have found is still unknown.
    const sweepIn = Math.max(1, Math.ceil(this.#sweepAllowedIn(now)))
    return due === null ? sweepIn : Math.min(due, sweepIn)
  }

  /** Keys are served in a circle: the one served last is the greatest after which the walk did not begin anew. */
  #noteKey(messages: readonly StoredMessage[]): void {
    const keys: string[] = []
    for (const { id, orderingKey } of messages) {
      if (orderingKey === null) continue
      keys.push(orderingKey)
      this.#keys.set(id, orderingKey)
      if (this.#keys.size > mostKeys) this.#keys.delete(this.#keys.keys().next().value as string)
    }
    if (keys.length === 0) return
    const before = this.#lastKey
    const wrapped = before === null ? [] : keys.filter((key) => key <= before)
    this.#lastKey = (wrapped.length > 0 ? wrapped : keys).toSorted().at(-1) as string
  }
}

/** Only plain messages move the mark; the others are found by indexes of their own. */
function lastPlainId(messages: readonly StoredMessage[]): bigint | null {
  let last: bigint | null = null
  for (const { id, orderingKey, priority } of messages) {
    if (orderingKey !== null || priority !== 0) continue
    const plain = BigInt(id)
    if (last === null || plain > last) last = plain
  }
  return last
}
