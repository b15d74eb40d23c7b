import type { StoredMessage } from '../../port/engine.ts'

/** Under load, what lies behind the mark is looked for at least this often… */
const sweepEveryMs = 500
/** …and sweeps may take up this share of the time: a twentieth under load, a tenth when there is nothing else to do. */
const busyShare = 20
const idleShare = 10
/** What a sweep may cost without being counted. */
const cheapMs = 5

/**
 * Where one process is in one queue: the low-water mark, and when a sweep behind it is worth its cost. Every claim
 * starts at the mark and so passes over nothing that is leased, delayed or dead. A sweep walks over all of that, so it
 * is done when a claim came back short, at known due times and twice a second, but never more often than its last cost
 * allows. Losing this state costs one sweep, no more.
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

  get mark(): string {
    return String(this.#mark)
  }

  get lastKey(): string | null {
    return this.#lastKey
  }

  get #costMs(): number {
    return Math.min(...this.#costsMs)
  }

  /** Whether the next claim should sweep at once: because it is time, or because there is little else to do. */
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

  /** A message behind the mark is ready again: given back by this process. */
  lowerTo(id: string): void {
    const before = BigInt(id) - 1n
    if (before < this.#mark) this.#mark = before
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
    this.#sweptAt = sweep.endedAt
    this.#costsMs = [this.#costsMs[1], sweep.costMs]
    this.#nextDueAt = sweep.nextDueMs === null ? null : sweep.endedAt + sweep.nextDueMs
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
    const keys = messages.map(({ orderingKey }) => orderingKey).filter((key) => key !== null)
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
