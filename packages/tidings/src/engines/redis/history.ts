import {
  allQueues,
  type Counts,
  type Gauges,
  type HistoryRange,
  type HistoryRow,
  type HistoryStore,
  type HistoryTurn,
  type HistoryWriter,
  inSteps,
  keptMinutes,
  minuteMs,
  repeatMinutes,
  type StoredHistory,
  sumOf,
  type Tally,
  type TallyFailure,
} from '../../port/history.ts'
import { toMap } from './calling.ts'
import type { Driver } from './driver.ts'
import { groupBy } from './groups.ts'
import { historyKey, keyOf, keysOf } from './keys.ts'

const repeatable = { repeatable: true }
const once = { repeatable: false }
/** Queues in one step, during which the server does nothing else. */
const notedAtOnce = 100
/** An hour expires as a whole. */
const keptMs = (keptMinutes + 60) * minuteMs

type Sums = Gauges & { readonly sent: number }
type NoteAnswer = [ready: number, leased: number, delayed: number, since: number | null, sent: number] | null
type ReadAnswer = [now: number, hours: (number | string[])[]]

/** History in hashes of an hour each: those of a queue in its slot, those of the whole storage beside the names of queues. */
export class RedisHistory implements HistoryStore {
  readonly #driver: Driver
  readonly writer: HistoryWriter = {
    begin: async () => (this.#driver.wakefulness.needsUpkeep ? this.#driver.whileOpen(() => this.#begin()) : null),
    note: (turn, queues) =>
      this.#driver.whileOpen(async () => {
        const parts = this.#driver.partsOf(queues, notedAtOnce)
        const noted = await Promise.all(parts.map((some) => this.#note(turn, some)))
        return sumOf(noted.flat())
      }),
    end: ({ minute }, { ready, leased, delayed, readySince, sent }) =>
      this.#driver.whileOpen(async () => {
        const gauges = [ready, leased, delayed, readySince ?? '-'].join(' ')
        await this.#driver.run('history-end', [historyKey], [minute, gauges, sent, keptMs], once)
      }),
    add: (tallies) =>
      this.#driver.whileOpen(async () => {
        const byQueue = [...groupBy(tallies, ({ queue }) => queue)]
        // A node of a cluster may be away.
        return (await Promise.all(byQueue.map(([queue, own]) => this.#add(queue, own)))).flat()
      }),
  }

  constructor(driver: Driver) {
    this.#driver = driver
  }

  async #begin(): Promise<HistoryTurn | null> {
    const answer = await this.#driver.run('history-begin', [historyKey], [keptMs], once)
    if (answer === null) return null
    const [minute, before] = answer as [number, number | null]
    return { minute, before }
  }

  /** Of those that are there. */
  async #note({ minute, before }: HistoryTurn, queues: readonly string[]): Promise<Sums[]> {
    const args = [minute, before ?? '', repeatMinutes, keptMs]
    const [first, ...others] = queues.flatMap(keysOf)
    const answers = (await this.#driver.run('history-note', [first!, ...others], args, repeatable)) as NoteAnswer[]
    return answers.flatMap((answer) => {
      if (answer === null) return []
      const [ready, leased, delayed, readySince, sent] = answer
      return { ready, leased, delayed, readySince, sent }
    })
  }

  async #add(queue: string, tallies: readonly Tally[]): Promise<readonly TallyFailure[]> {
    const counts = tallies.flatMap(({ minutesAgo, done, failed, dead, latency }) => [
      minutesAgo,
      [done, failed, dead, ...latency.slice(0, latency.findLastIndex((count) => count > 0) + 1)].join(' '),
    ])
    try {
      await this.#driver.run('history-add', [keyFor(queue)], [kindOf(queue), keptMs, ...counts], once)
      return []
    } catch (error) {
      return [{ tallies, error }]
    }
  }

  read(queue: string | null, range: HistoryRange): Promise<StoredHistory> {
    return this.#driver.whileOpen(async () => {
      const name = queue ?? allQueues
      const from = range.since - repeatMinutes
      const args = [kindOf(name), Math.floor(from / 60), Math.floor((range.until - 1) / 60)]
      const [now, found] = (await this.#driver.run('history-read', [keyFor(name)], args, repeatable)) as ReadAnswer
      const rows = rowsIn(found, from, range.until)
      const noted = queue === null ? rows : await this.#rowsOfAll(args, from, range.until)
      return inSteps({ rows, noted: noted.filter(({ gauges }) => gauges).map(({ minute }) => minute) }, range, now)
    })
  }

  async #rowsOfAll([, ...hours]: readonly (string | number)[], from: number, until: number): Promise<HistoryRow[]> {
    const args = [kindOf(allQueues), ...hours]
    const [, found] = (await this.#driver.run('history-read', [historyKey], args, repeatable)) as ReadAnswer
    return rowsIn(found, from, until)
  }
}

const kindOf = (queue: string) => (queue === allQueues ? 'all' : 'queue')
const keyFor = (queue: string) => (queue === allQueues ? historyKey : keyOf(queue, 'meta'))

/** By minute. */
function rowsIn(hours: readonly (number | string[])[], from: number, until: number): HistoryRow[] {
  const rows: HistoryRow[] = []
  for (let at = 0; at < hours.length; at += 2) {
    const first = (hours[at] as number) * 60
    const fields = toMap(hours[at + 1] as string[])
    for (let minute = Math.max(from, first); minute < Math.min(until, first + 60); minute++) {
      const gauges = fields.get(`g${minute - first}`)
      const counts = fields.get(`c${minute - first}`)
      if (gauges ?? counts) rows.push({ minute, ...toGauges(gauges), ...toCounts(counts) })
    }
  }
  return rows
}

function toGauges(text: string | undefined): Pick<HistoryRow, 'gauges' | 'sent'> {
  if (text === undefined) return { gauges: null, sent: 0 }
  const [ready, leased, delayed, since, sent] = text.split(' ')
  const readySince = since === '-' ? null : Number(since)
  const gauges = { ready: Number(ready), leased: Number(leased), delayed: Number(delayed), readySince }
  return { gauges, sent: Number(sent) }
}

function toCounts(text = ''): Counts {
  const [done = 0, failed = 0, dead = 0, ...latency] = text.split(' ').map(Number)
  return { done, failed, dead, latency }
}
