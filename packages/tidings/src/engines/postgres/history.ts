import {
  type Gauges,
  type HistoryRange,
  type HistoryRow,
  type HistoryStore,
  type HistoryTurn,
  type HistoryWriter,
  inSteps,
  keptMinutes,
  repeatMinutes,
  type StoredHistory,
  type Tally,
} from '../../port/history.ts'
import { fromAnswer } from './answer.ts'
import type { Calls } from './calls.ts'
import { statements } from './sql.gen.ts'

type Sums = Gauges & { readonly sent: number }

type Row = readonly [
  minute: number,
  ready: number | null,
  leased: number,
  delayed: number,
  readySince: number | null,
  sent: number,
  done: number,
  failed: number,
  dead: number,
  latency: number[],
]

/** History in a table of our own. */
export class PostgresHistory implements HistoryStore {
  readonly #calls: Calls
  readonly writer: HistoryWriter

  /** @param sleeps whether the server is not to be woken now */
  constructor(calls: Calls, sleeps: () => boolean) {
    this.#calls = calls
    this.writer = {
      begin: async () => {
        if (sleeps()) return null
        const [turn] = fromAnswer(await calls.write(statements.beginHistory, [keptMinutes]))
        return (turn as HistoryTurn | undefined) ?? null
      },
      note: async ({ minute, before }, queues) => {
        const values = [minute, before, repeatMinutes, JSON.stringify(queues)]
        const [row] = await calls.write(statements.noteHistory, values)
        return JSON.parse(row?.total as string) as Sums
      },
      end: async ({ minute }, total) =>
        void (await calls.write(statements.endHistory, [minute, JSON.stringify(total)])),
      add: async (tallies) => {
        await calls.write(statements.addHistory, [JSON.stringify(tallies.map(toEntry))])
        return []
      },
    }
  }

  async read(queue: string | null, range: HistoryRange): Promise<StoredHistory> {
    const minutes = [range.since - repeatMinutes, range.until]
    const [row] = await (queue === null
      ? this.#calls.read(statements.historyOfAll, minutes)
      : this.#calls.read(statements.historyOf, [queue, ...minutes]))
    const { now, rows, noted } = JSON.parse(row?.found as string) as { now: number; rows: Row[]; noted: number[] }
    return inSteps({ rows: rows.map(toRow), noted }, range, now)
  }
}

const toEntry = ({ queue, minutesAgo, done, failed, dead, latency }: Tally) => [
  ...[queue, minutesAgo, done, failed, dead],
  latency,
]

function toRow([minute, ready, leased, delayed, readySince, ...counts]: Row): HistoryRow {
  const [sent, done, failed, dead, latency] = counts
  return {
    minute,
    gauges: ready === null ? null : { ready, leased, delayed, readySince },
    sent,
    done,
    failed,
    dead,
    latency,
  }
}
