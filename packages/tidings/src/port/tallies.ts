import type { Clock, Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import type { Settlement, SettleResult, StoredMessage } from './engine.ts'
import {
  addUp,
  allQueues,
  type Counts,
  type HistoryWriter,
  latencyBoundsMs,
  latencyClass,
  minuteMs,
  minuteOf,
  type Tally,
} from './history.ts'

/** Rows go out after a random part of this in the next minute, so that processes do not come together. */
const spreadMs = 5_000
/** What could not be added is tried again for so many minutes. */
const patienceMinutes = 10

type Ended = 'done' | 'failed' | 'dead'
type Row = Record<Ended, number> & { readonly latency: number[] }

interface Dependencies {
  readonly writer: HistoryWriter
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * What this process hands out and settles, counted by queue and minute, and added to the history once a minute. Nothing is
 * called where nothing was counted. A process that is killed takes along what it counted since.
 */
export class Tallies {
  readonly #writer: HistoryWriter
  readonly #clock: Clock
  readonly #logger: Logger
  /** By minute, and then by queue. */
  #minutes = new Map<number, Map<string, Row>>()
  #timer: Timer | undefined
  #flushing: Promise<void> = Promise.resolve()
  #closed = false

  constructor({ writer, clock, logger }: Dependencies) {
    this.#writer = writer
    this.#clock = clock
    this.#logger = logger
  }

  /** @param heldMs how long ago they were claimed */
  handed(queue: string, messages: readonly StoredMessage[], heldMs = 0): void {
    for (const { readCount, lastReadAt, sentAt } of messages) {
      if (readCount !== 1 || lastReadAt === null) continue
      const at = latencyClass(Math.max(0, lastReadAt - sentAt) + heldMs)
      for (const row of this.#rows(queue)) row.latency[at]!++
    }
  }

  popped(queue: string, messages: readonly StoredMessage[]): void {
    this.handed(queue, messages)
    if (messages.length > 0) for (const row of this.#rows(queue)) row.done += messages.length
  }

  settled(queue: string, settlements: readonly Settlement[], results: readonly SettleResult[]): void {
    for (const [index, settlement] of settlements.entries()) {
      const ended = results[index]?.settled ? endOf(settlement) : null
      if (ended !== null) for (const row of this.#rows(queue)) row[ended]++
    }
  }

  /** That of a queue, and that of the whole storage. */
  #rows(queue: string): readonly Row[] {
    const minute = minuteOf(this.#clock.now())
    return [this.#row(minute, queue), this.#row(minute, allQueues)]
  }

  #row(minute: number, queue: string): Row {
    const rows = this.#minutes.get(minute) ?? new Map<string, Row>()
    this.#minutes.set(minute, rows)
    const row = rows.get(queue) ?? nothing()
    rows.set(queue, row)
    if (this.#timer === undefined && !this.#closed) this.#arm()
    return row
  }

  #arm(): void {
    const leftMs = minuteMs - (this.#clock.now() % minuteMs)
    this.#timer = this.#clock.after(leftMs + Math.random() * spreadMs, () => {
      this.#timer = undefined
      void this.flush()
    })
    this.#timer.unref?.()
  }

  /** Adds what was counted so far. Never rejects. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flush())
    return this.#flushing
  }

  /** For the last time. */
  close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    return this.flush()
  }

  async #flush(): Promise<void> {
    const now = minuteOf(this.#clock.now())
    const minutes = this.#minutes
    this.#minutes = new Map()
    const tallies = [...minutes].flatMap(([minute, rows]) =>
      [...rows].map(([queue, row]) => ({ queue, minutesAgo: Math.max(0, now - minute), ...row })),
    )
    if (tallies.length === 0) return
    const failures = await this.#writer.add(tallies).catch((error: unknown) => [{ tallies, error }])
    for (const { tallies, error } of failures) this.#failed(tallies, error, now)
  }

  #failed(tallies: readonly Tally[], error: unknown, now: number): void {
    this.#logger.debug({ err: loggable(error) }, 'the history of the queues could not be written')
    // It may have been added.
    if (isTidingsError(error, 'OUTCOME_UNKNOWN') || !isTidingsError(error) || !error.retryable) return
    for (const { queue, minutesAgo, ...counts } of tallies)
      if (minutesAgo < patienceMinutes) this.#takeBack(now - minutesAgo, queue, counts)
  }

  #takeBack(minute: number, queue: string, counts: Counts): void {
    const row = this.#row(minute, queue)
    const { latency, ...ended } = addUp(row, counts)
    Object.assign(row, ended)
    row.latency.splice(0, latency.length, ...latency)
  }
}

const nothing = (): Row => ({ done: 0, failed: 0, dead: 0, latency: latencyBoundsMs.map(() => 0).concat(0) })

const has = (meta: JsonObject, field: string) => (meta[field] ?? null) !== null

/** What a settlement counts as; null: as nothing, for example where a message is given back. */
function endOf(settlement: Settlement): Ended | null {
  if (settlement.kind === 'delete') return 'done'
  const { kind, meta } = settlement
  if (kind === 'release') return !settlement.uncount && has(meta, 'error_message') ? 'failed' : null
  if (has(meta, 'dead_lettered_at')) return 'dead'
  return kind === 'archive' && !has(meta, 'cancelled_at') ? 'done' : null
}
