import type { Clock } from '../../core/clock.ts'
import type { Engine } from '../../port/engine.ts'
import type { ScheduleStore, Schedules, Sending, StoredSchedule } from '../../port/schedule-store.ts'
import { sendTo } from '../../port/send-to.ts'

/** The schedules of a memory engine. */
export class MemorySchedules implements ScheduleStore {
  readonly #schedules = new Map<string, StoredSchedule>()
  readonly #engine: Pick<Engine, 'open' | 'send' | 'publish' | 'topics'>
  readonly #clock: Clock
  readonly #wake: (dueMs: number) => void

  /** @param engine its `open` throws CLOSED; @param wake one is due in so many milliseconds */
  constructor(
    engine: Pick<Engine, 'open' | 'send' | 'publish' | 'topics'>,
    clock: Clock,
    wake: (dueMs: number) => void,
  ) {
    this.#engine = engine
    this.#clock = clock
    this.#wake = wake
  }

  async put(schedule: StoredSchedule, before: string | null, sending?: Sending): Promise<number | null> {
    await this.#engine.open()
    const there = this.#schedules.get(schedule.name)
    if (there?.revision === schedule.revision) return 0
    if ((there?.revision ?? null) !== before) return null
    this.#schedules.set(schedule.name, structuredClone(schedule))
    const stored = sending === undefined ? 0 : await this.#send(sending, there)
    if (schedule.nextRunAt !== null) this.#wake(Math.max(0, schedule.nextRunAt - this.#clock.now()))
    return stored
  }

  async #send(sending: Sending, former: StoredSchedule | undefined): Promise<number> {
    try {
      return await sendTo(this.#engine, sending, null)
    } catch (error) {
      if (former !== undefined) this.#schedules.set(former.name, former)
      throw error
    }
  }

  async remove(name: string, revision: string | null): Promise<boolean> {
    await this.#engine.open()
    const there = this.#schedules.get(name)
    if (there === undefined || (revision !== null && there.revision !== revision)) return false
    return this.#schedules.delete(name)
  }

  async list(which: 'all' | 'due' | { readonly name: string }): Promise<Schedules> {
    await this.#engine.open()
    const now = this.#clock.now()
    const all = [...this.#schedules.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    if (which === 'due') {
      const timed = all.filter((one) => one.nextRunAt !== null).sort((a, b) => a.nextRunAt! - b.nextRunAt!)
      const due = timed.filter((one) => one.nextRunAt! <= now)
      const next = timed[due.length]
      return { now, schedules: structuredClone(due), nextDueMs: next ? next.nextRunAt! - now : null }
    }
    const found = which === 'all' ? all : all.filter(({ name }) => name === which.name)
    return { now, schedules: structuredClone(found), nextDueMs: null }
  }
}
