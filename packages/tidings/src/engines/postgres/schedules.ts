import type { Engine, Transaction } from '../../port/engine.ts'
import type {
  ScheduleDefinition,
  ScheduleProgress,
  ScheduleStore,
  Schedules,
  Sending,
  StoredSchedule,
} from '../../port/schedule-store.ts'
import { sendTo } from '../../port/send-to.ts'
import type { Calls } from './calls.ts'
import { statements } from './sql.gen.ts'

interface Row {
  readonly name: string
  readonly revision: string
  readonly next_run_ms: number | null
  readonly definition: string
  readonly progress: string
}

/** Schedules in a table of our own. */
export class PostgresSchedules implements ScheduleStore {
  readonly #calls: Calls
  readonly #engine: Pick<Engine, 'send' | 'publish' | 'topics' | 'transaction'>

  constructor(calls: Calls, engine: Pick<Engine, 'send' | 'publish' | 'topics' | 'transaction'>) {
    this.#calls = calls
    this.#engine = engine
  }

  async put(schedule: StoredSchedule, before: string | null, sending?: Sending): Promise<number | null> {
    if (sending === undefined) return (await this.#put(schedule, before, null)) ? 0 : null
    return this.#engine.transaction(async (transaction) =>
      (await this.#put(schedule, before, transaction)) ? sendTo(this.#engine, sending, transaction) : null,
    )
  }

  async #put(schedule: StoredSchedule, before: string | null, transaction: Transaction | null): Promise<boolean> {
    const { name, revision, nextRunAt, definition, progress } = schedule
    const texts = [JSON.stringify(definition), JSON.stringify(progress)]
    const values = [name, revision, nextRunAt, ...texts, before]
    const [row] = await this.#calls.writeWithin(transaction, statements.putSchedule, values)
    return row?.done === true
  }

  async remove(name: string, revision: string | null): Promise<boolean> {
    const [row] = await this.#calls.write(statements.removeSchedule, [name, revision])
    return row?.removed === true
  }

  async list(which: 'all' | 'due' | { readonly name: string }): Promise<Schedules> {
    const name = typeof which === 'object' ? which.name : null
    const [row] = await this.#calls.read(statements.schedules, [which === 'due', name])
    const { now, schedules, next_due_ms } = JSON.parse(row?.found as string) as {
      now: number
      schedules: Row[]
      next_due_ms: number | null
    }
    return { now, schedules: schedules.map(toSchedule), nextDueMs: next_due_ms }
  }
}

const toSchedule = ({ name, revision, next_run_ms, definition, progress }: Row): StoredSchedule => ({
  name,
  revision,
  nextRunAt: next_run_ms,
  definition: JSON.parse(definition) as ScheduleDefinition,
  progress: JSON.parse(progress) as ScheduleProgress,
})
