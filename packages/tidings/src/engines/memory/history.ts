import type { Clock } from '../../core/clock.ts'
import { isTidingsError } from '../../core/errors.ts'
import {
  addUp,
  allQueues,
  type Gauges,
  type HistoryRange,
  type HistoryRow,
  type HistoryStore,
  type HistoryTurn,
  type HistoryWriter,
  inSteps,
  keptMinutes,
  minuteOf,
  repeatMinutes,
  type StoredHistory,
  sumOf,
  type Tally,
} from '../../port/history.ts'
import { type MemoryQueue, statsOf } from './queue.ts'

interface Row extends HistoryRow {
  /** How many messages the queue had been sent. */
  readonly totalSent: number
}

/** The last days of a memory engine. */
export class MemoryHistory implements HistoryStore {
  readonly #clock: Clock
  readonly #find: (queue: string) => MemoryQueue
  /** By queue, and then by minute. */
  readonly #rows = new Map<string, Map<number, Row>>()
  readonly #noted = new Set<number>()
  /** The minute that was begun last. */
  #begun: number | null = null
  readonly writer: HistoryWriter = {
    begin: async () => this.#begin(),
    note: async (turn, queues) =>
      sumOf(queues.flatMap((queue) => this.#tryToFind(queue) ?? []).map((queue) => this.#note(turn, queue))),
    end: async ({ minute }, total) => {
      this.#tryToFind(allQueues)
      this.#noted.add(minute)
      this.#change(allQueues, minute, (row) => ({ ...row, gauges: gaugesIn(total), sent: row.sent + total.sent }))
    },
    add: async (tallies) => {
      const isThere = ({ queue }: Tally) => queue === allQueues || this.#tryToFind(queue) !== null
      for (const tally of tallies.filter(isThere)) this.#add(tally)
      return []
    },
  }

  /** @param find throws CLOSED, QUEUE_NOT_FOUND */
  constructor(clock: Clock, find: (queue: string) => MemoryQueue) {
    this.#clock = clock
    this.#find = find
  }

  /** @throws CLOSED */
  #tryToFind(queue: string): MemoryQueue | null {
    try {
      return this.#find(queue)
    } catch (error) {
      if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return null
      throw error
    }
  }

  /** What is dropped leaves nothing behind. */
  forget(queue: string): void {
    this.#rows.delete(queue)
  }

  async read(queue: string | null, range: HistoryRange): Promise<StoredHistory> {
    if (queue === null) this.#tryToFind(allQueues)
    else this.#find(queue)
    const inRange = (minute: number) => minute >= range.since - repeatMinutes && minute < range.until
    const rows = [...(this.#rows.get(queue ?? allQueues)?.values() ?? [])].filter(({ minute }) => inRange(minute))
    const noted = [...this.#noted].filter(inRange)
    return inSteps({ rows: rows.sort((a, b) => a.minute - b.minute), noted }, range, this.#clock.now())
  }

  #begin(): HistoryTurn | null {
    this.#tryToFind(allQueues)
    const minute = minuteOf(this.#clock.now())
    if (this.#begun === minute) return null
    this.#begun = minute
    const isOld = (one: number) => one < minute - keptMinutes
    for (const rows of this.#rows.values()) for (const one of rows.keys()) if (isOld(one)) rows.delete(one)
    for (const one of this.#noted) if (isOld(one)) this.#noted.delete(one)
    const earlier = [...this.#noted].filter((one) => one < minute)
    return { minute, before: earlier.length > 0 ? Math.max(...earlier) : null }
  }

  #note(turn: HistoryTurn, queue: MemoryQueue): Gauges & { readonly sent: number } {
    const { name } = queue
    const now = this.#clock.now()
    const { ready, leased, delayed, oldestReadyMs, totalSent } = statsOf(queue, now)
    const gauges = { ready, leased, delayed, readySince: oldestReadyMs === null ? null : now - oldestReadyMs }
    const earlier = [...(this.#rows.get(name)?.values() ?? [])].filter((row) => row.gauges !== null)
    const last = earlier.reduce<Row | null>((one, row) => (row.minute > (one?.minute ?? 0) ? row : one), null)
    const sent = sentSince(turn, { totalSent, createdAt: queue.createdAt }, last?.totalSent ?? null)
    const isSame = last !== null && sent === 0 && JSON.stringify(last.gauges) === JSON.stringify(gauges)
    if (!isSame || turn.minute - last.minute >= repeatMinutes)
      this.#change(name, turn.minute, (row) => ({ ...row, gauges, sent: row.sent + sent, totalSent }))
    return { ...gauges, sent }
  }

  #add({ queue, minutesAgo, ...counts }: Tally): void {
    this.#change(queue, minuteOf(this.#clock.now()) - minutesAgo, (row) => ({ ...row, ...addUp(row, counts) }))
  }

  #change(queue: string, minute: number, change: (row: Row) => Row): void {
    const rows = this.#rows.get(queue) ?? new Map<number, Row>()
    const empty = { minute, gauges: null, totalSent: 0, sent: 0, done: 0, failed: 0, dead: 0, latency: [] }
    rows.set(minute, change(rows.get(minute) ?? empty))
    this.#rows.set(queue, rows)
  }
}

const gaugesIn = ({ ready, leased, delayed, readySince }: Gauges): Gauges => ({ ready, leased, delayed, readySince })

/** @param since the last row, with how many messages the queue had been sent by then; null: there is none */
function sentSince(
  { before, minute }: HistoryTurn,
  queue: { readonly totalSent: number; readonly createdAt: number },
  since: number | null,
): number {
  if (since !== null) return Math.max(0, queue.totalSent - since)
  // What an older queue was sent before anybody looked belongs to no minute.
  return minuteOf(queue.createdAt) >= (before ?? minute - 1) ? queue.totalSent : 0
}
