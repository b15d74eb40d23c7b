/** A row is about one queue, or about the whole storage, and one minute. */
export const minuteMs = 60_000
export const minuteOf = (time: number): number => Math.floor(time / minuteMs)

/** For how many minutes rows are kept: seven days. */
export const historyMinutes = 7 * 1_440
/** Figures that stay as they are get a row after so many minutes, so that older rows can be forgotten. */
export const repeatMinutes = 1_440
/** A storage forgets rows that are older. Nothing reads those. */
export const keptMinutes = historyMinutes + repeatMinutes

/** The ends of the classes of latency, in milliseconds; one more class is open. */
export const latencyBoundsMs: readonly number[] = [
  ...[5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000],
  ...[60_000, 300_000, 900_000, 3_600_000],
]

/** The class of a latency, by its place. */
export function latencyClass(milliseconds: number): number {
  const at = latencyBoundsMs.findIndex((bound) => milliseconds <= bound)
  return at === -1 ? latencyBoundsMs.length : at
}

/** What lies in a queue at one moment, or in all of them together. */
export interface Gauges {
  readonly ready: number
  readonly leased: number
  readonly delayed: number
  /** Since when the oldest ready message is; null if none is ready. */
  readonly readySince: number | null
}

/** What was counted in one minute. */
export interface Counts {
  /** Messages whose work is done: deleted, archived or popped. */
  readonly done: number
  /** Attempts that failed, and are followed by others. */
  readonly failed: number
  /** Messages that became dead letters. */
  readonly dead: number
  /** How many messages came to a reader, by class of latency; classes at the end without one may be left out. */
  readonly latency: readonly number[]
}

/** What one process counted. */
export interface Tally extends Counts {
  /** `allQueues`: in all of them. */
  readonly queue: string
  /** How many minutes before this one. */
  readonly minutesAgo: number
}

export interface TallyFailure {
  readonly tallies: readonly Tally[]
  readonly error: unknown
}

export interface HistoryRow extends Counts {
  readonly minute: number
  /** Null: they are as in the row before. */
  readonly gauges: Gauges | null
  /** How many messages the queue had been sent since the row before with gauges. */
  readonly sent: number
}

export interface HistoryRows {
  readonly rows: readonly HistoryRow[]
  /** The minutes in which somebody looked at the queues. */
  readonly noted: readonly number[]
}

/** In minutes since 1970, whole steps; `until` is not part of it. */
export interface HistoryRange {
  readonly since: number
  readonly until: number
  /** In minutes. */
  readonly step: number
}

export interface HistoryPoint extends Omit<Counts, 'latency'> {
  /** In milliseconds since 1970: where the step begins. */
  readonly at: number
  /** As last noted in the step; null: nobody looked. */
  readonly gauges: (Omit<Gauges, 'readySince'> & { readonly oldestReadyMs: number | null }) | null
  readonly sent: number
}

export interface StoredHistory {
  /** One for every step. */
  readonly points: readonly HistoryPoint[]
  /** By class, all of them. */
  readonly latency: readonly number[]
}

/** A minute that one process notes the gauges of. */
export interface HistoryTurn {
  readonly minute: number
  /** The last minute that was noted before; null: none is known. */
  readonly before: number | null
}

/** The part of the port for what queues looked like in the last days. Its rules are those of `Engine`. */
export interface HistoryStore {
  /** @param queue null: the whole storage @throws QUEUE_NOT_FOUND */
  read(queue: string | null, range: HistoryRange): Promise<StoredHistory>
  /** Left out: another process writes, behind the storage. */
  readonly writer?: HistoryWriter
}

export interface HistoryWriter {
  /** @returns this minute, for the one process that is to note it; null for others, and where the storage is not to be woken */
  begin(): Promise<HistoryTurn | null>
  /**
   * Notes gauges and what was sent. A queue in which nothing changed gets no row. The cost is bounded: what is too much to be
   * counted is estimated. What is not there, or cannot be looked at, is left out.
   * @returns all of them together
   */
  note(turn: HistoryTurn, queues: readonly string[]): Promise<Gauges & { readonly sent: number }>
  /** Notes those of the whole storage. */
  end(turn: HistoryTurn, total: Gauges & { readonly sent: number }): Promise<void>
  /**
   * Adds to the rows of queues, and of the whole storage, which the caller has summed up. A queue that is not there is left out.
   * @returns what was not added where the rest was, and why
   */
  add(tallies: readonly Tally[]): Promise<readonly TallyFailure[]>
}

/**
 * Puts rows into steps.
 * @param rows by minute, from up to `repeatMinutes` before the range on
 * @param now the last noted minute may not be over
 */
export function inSteps(
  { rows, noted }: HistoryRows,
  { since, until, step }: HistoryRange,
  now: number,
): StoredHistory {
  const latency = new Array<number>(latencyBoundsMs.length + 1).fill(0)
  const steps = Array.from({ length: Math.ceil((until - since) / step) }, (_, index) => ({
    ...{ at: (since + index * step) * minuteMs, sent: 0, done: 0, failed: 0, dead: 0 },
    lastNoted: null as number | null,
  }))
  const stepOf = (minute: number) => (minute < since ? undefined : steps[Math.floor((minute - since) / step)])
  for (const row of rows) {
    const into = stepOf(row.minute)
    if (into === undefined) continue
    for (const name of ['sent', 'done', 'failed', 'dead'] as const) into[name] += row[name]
    for (const [at, count] of row.latency.entries()) latency[at]! += count
  }
  for (const minute of noted) {
    const into = stepOf(minute)
    if (into) into.lastNoted = Math.max(minute, into.lastNoted ?? 0)
  }
  const withGauges = rows.filter(({ gauges }) => gauges !== null)
  let next = 0
  const points = steps.map(({ lastNoted, ...counts }): HistoryPoint => {
    if (lastNoted === null) return { ...counts, gauges: null }
    while (next < withGauges.length && withGauges[next]!.minute <= lastNoted) next++
    const { gauges = null } = withGauges[next - 1] ?? {}
    return { ...counts, gauges: gauges && gaugesAt(gauges, Math.min(now, (lastNoted + 1) * minuteMs)) }
  })
  return { points, latency }
}

function gaugesAt({ readySince, ...counts }: Gauges, moment: number): HistoryPoint['gauges'] {
  return { ...counts, oldestReadyMs: readySince === null ? null : Math.max(0, moment - readySince) }
}

/** Nothing in no queue. */
export const noGauges = { ready: 0, leased: 0, delayed: 0, readySince: null, sent: 0 } as const

export function sumOf(all: readonly (Gauges & { readonly sent: number })[]): Gauges & { readonly sent: number } {
  const sum = (name: 'ready' | 'leased' | 'delayed' | 'sent') => all.reduce((so, one) => so + one[name], 0)
  const times = all.flatMap(({ readySince }) => readySince ?? [])
  return {
    ...{ ready: sum('ready'), leased: sum('leased'), delayed: sum('delayed'), sent: sum('sent') },
    readySince: times.length > 0 ? times.reduce((first, one) => Math.min(first, one)) : null,
  }
}

/** The whole storage, where it stands among the names of queues. */
export const allQueues = ''

export const addUp = (one: Counts, other: Counts): Counts => ({
  done: one.done + other.done,
  failed: one.failed + other.failed,
  dead: one.dead + other.dead,
  latency: Array.from(
    { length: Math.max(one.latency.length, other.latency.length) },
    (_, at) => (one.latency[at] ?? 0) + (other.latency[at] ?? 0),
  ),
})
