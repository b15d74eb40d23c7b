import { type HistoryPoint, type HistoryRange, minuteMs, type StoredHistory } from '../port/history.ts'

/** The history of a queue as it travels. */
export interface WireHistory {
  /** Null: all queues together. */
  readonly queue_name: string | null
  readonly since: string
  readonly until: string
  readonly step_minutes: number
  readonly points: readonly WireHistoryPoint[]
  readonly latency: readonly { readonly up_to_ms: number | null; readonly count: number }[]
}

export interface WireHistoryPoint {
  readonly at: string
  readonly ready: number | null
  readonly leased: number | null
  readonly delayed: number | null
  readonly oldest_ready_ms: number | null
  readonly sent: number
  readonly done: number
  readonly failed: number
  readonly dead: number
}

/** What stands in the query of a request for it. */
export const historyQuery = ({ since, until, step }: HistoryRange): string => {
  const time = (minute: number) => encodeURIComponent(new Date(minute * minuteMs).toISOString())
  return `since=${time(since)}&until=${time(until)}&step=${step}`
}

export const fromWireHistory = ({ points, latency }: WireHistory): StoredHistory => ({
  points: points.map(fromWirePoint),
  latency: latency.map(({ count }) => count),
})

function fromWirePoint({ at, ready, leased, delayed, oldest_ready_ms, ...counts }: WireHistoryPoint): HistoryPoint {
  const { sent, done, failed, dead } = counts
  const isKnown = ready !== null && leased !== null && delayed !== null
  const gauges = isKnown ? { ready, leased, delayed, oldestReadyMs: oldest_ready_ms } : null
  return { at: Date.parse(at), gauges, sent, done, failed, dead }
}
