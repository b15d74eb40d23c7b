import type { StoredMessage } from '../../engine.ts'

/** Under load, what lies behind the mark is looked for at least this often… */
const sweepEveryMs = 1_000
/** …and sweeps may take up this share of the time: a twentieth under load, a tenth when there is nothing else to do. */
const busyShare = 20
const idleShare = 10

/**
 * Where one process is in one queue: the low-water mark, and when a sweep behind it is worth its cost. Every claim
 * starts at the mark and so passes over nothing that is leased, delayed or dead. A sweep walks over all of that, so it
 * is done when a claim came back short, at known due times and once a second, but never more often than its last cost
 * allows. Losing this state costs one sweep, no more.
 */
export class Cursor {
  /** Plain messages up to this id were claimed, or are left to the next sweep. */
  #mark = 0n
  /** The ordering key that was served last; the next one has its turn. */
  #lastKey: string | null = null
  #sweptAt = Number.NEGATIVE_INFINITY
  #sweepCostMs = 0
  #nextDueAt: number | null = null

  get mark(): string {
    return String(this.#mark)
  }

  get lastKey(): string | null {
    return this.#lastKey
  }

  /** Whether the next claim should begin with a sweep, even if there is enough in front of the mark. */
  sweepIsDue(now: number): boolean {
    return now - this.#sweptAt >= Math.max(sweepEveryMs, this.#sweepCostMs * busyShare)
  }

  /** Whether a sweep is affordable, now that there is nothing more in front of the mark. */
  maySweep(now: number): boolean {
    return this.#sweepAllowedIn(now) <= 0
  }

  #sweepAllowedIn(now: number): number {
    return this.#sweptAt + this.#sweepCostMs * idleShare - now
  }

  noteClaim(messages: readonly StoredMessage[]): void {
    const last = lastPlainId(messages)
    if (last !== null && last > this.#mark) this.#mark = last
    this.#noteKey(messages)
  }

  /** @param full whether the sweep brought all that was asked for, so that there may be more where it stopped */
  noteSweep(
    messages: readonly StoredMessage[],
    sweep: { full: boolean; startedAt: number; endedAt: number; nextDueMs: number | null },
  ): void {
    const last = lastPlainId(messages)
    if (last !== null && (sweep.full || last > this.#mark)) this.#mark = last
    this.#noteKey(messages)
    this.#sweptAt = sweep.endedAt
    this.#sweepCostMs = sweep.endedAt - sweep.startedAt
    this.#nextDueAt = sweep.nextDueMs === null ? null : sweep.endedAt + sweep.nextDueMs
  }

  /** In how many milliseconds to look again, as far as is known. */
  nextDueMs(now: number, sweptJustNow: boolean): number | null {
    const due = this.#nextDueAt === null ? null : Math.max(0, this.#nextDueAt - now)
    if (sweptJustNow) return due
    // What a sweep would have found is still unknown.
    const sweepIn = Math.max(1, Math.ceil(this.#sweepAllowedIn(now)))
    return due === null ? sweepIn : Math.min(due, sweepIn)
  }

  #noteKey(messages: readonly StoredMessage[]): void {
    const key = messages.findLast((message) => message.orderingKey !== null)?.orderingKey
    if (key !== undefined) this.#lastKey = key
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
