import type { Clock, Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { Service } from '../core/service.ts'
import type { Engine } from '../port/engine.ts'
import type { StoredSchedule } from '../port/schedule-store.ts'
import type { Wakeups, Watch } from '../port/wakeups.ts'
import { messageOf } from './messages.ts'
import { dueAt, occurrencesOf } from './occurrences.ts'
import { planOf } from './plan.ts'
import { removeWaiting } from './replace.ts'
import { newRevision } from './revision.ts'

/** How often it is looked without a cause, where nobody tells of schedules that others put. */
const slowMs = 15_000
/** The same where the storage tells of them, and looks itself for what it may have missed to tell. */
const seldomMs = 60_000
/** After a failure. */
const againMs = 5_000

interface Dependencies {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  readonly wakeups: Wakeups
}

/**
 * Sends what schedules ask for, at the time when it is due by the clock of the storage. Any number of processes may do it:
 * each occurrence is claimed with its sending, in one step.
 */
export class Firer extends Service {
  readonly #dependencies: Dependencies
  #watch: Promise<Watch | null> | undefined
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #looking: Promise<void> = Promise.resolve()
  #isLooking = false
  /** Somebody woke it while it was looking. */
  #isWokenAgain = false
  readonly #failing = new Set<string>()

  constructor(dependencies: Dependencies) {
    super()
    this.#dependencies = dependencies
  }

  protected override async onStart(): Promise<void> {
    const woken = (dueMs: number) => this.#lookIn(dueMs)
    // Where nothing can be listened to, the slow look has to do.
    this.#watch = this.#dependencies.wakeups.subscribe({ interests: ['schedules'], woken }).catch(() => null)
    void this.#watch.then(() => this.#lookIn(0))
  }

  protected override async onStop(): Promise<void> {
    this.#timer?.cancel()
    void this.#watch?.then((watch) => watch?.close())
    await this.#looking
  }

  #lookIn(milliseconds: number): void {
    if (this.state !== 'running') return
    if (this.#isLooking) {
      this.#isWokenAgain ||= milliseconds <= 0
      if (milliseconds <= 0) return
    }
    const at = this.#dependencies.clock.steady() + milliseconds
    if (at >= this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    this.#timer = this.#dependencies.clock.after(milliseconds, () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.#looking = this.#looking.then(() => this.#look())
    })
  }

  async #look(): Promise<void> {
    if (this.state !== 'running') return
    this.#isLooking = true
    this.#isWokenAgain = false
    const nextMs = await this.#fireAll()
    this.#isLooking = false
    this.#lookIn(this.#isWokenAgain ? 0 : nextMs)
  }

  /** @returns in how many milliseconds to look again */
  async #fireAll(): Promise<number> {
    const { engine, wakeups } = this.#dependencies
    // Who sleeps looks when something is known to be due.
    const looksMs = wakeups.lookMs('schedules')
    const longestMs = looksMs === null ? slowMs : Number.isFinite(looksMs) ? seldomMs : Number.POSITIVE_INFINITY
    try {
      const { now, schedules, nextDueMs } = await engine.schedules.list('due')
      this.#failing.delete('')
      const waits = await Promise.all(schedules.map((schedule) => this.#tryToFire(schedule, now)))
      return Math.max(0, Math.min(longestMs, nextDueMs ?? longestMs, ...waits))
    } catch (error) {
      if (isTidingsError(error, 'CLOSED')) return Number.POSITIVE_INFINITY
      this.#warnOnce('', error, 'schedules could not be looked at; it is tried again')
      // Another process has the rights that this one lacks.
      return isTidingsError(error, 'PERMISSION_DENIED') ? 10 * slowMs : againMs
    }
  }

  /** @returns in how many milliseconds it is due again */
  async #tryToFire(schedule: StoredSchedule, now: number): Promise<number> {
    try {
      const nextMs = await this.#fire(schedule, now)
      this.#failing.delete(schedule.name)
      return nextMs
    } catch (error) {
      if (!isTidingsError(error, 'CLOSED'))
        this.#warnOnce(schedule.name, error, `schedule '${schedule.name}' could not send; it is tried again`)
      return againMs
    }
  }

  #warnOnce(name: string, error: unknown, text: string): void {
    if (!this.#failing.has(name)) this.#dependencies.logger.warn({ err: loggable(error) }, text)
    this.#failing.add(name)
  }

  async #fire(schedule: StoredSchedule, now: number): Promise<number> {
    const { engine, logger } = this.#dependencies
    const { name, definition, progress, revision } = schedule
    const occurrences = await occurrencesOf(definition.timing, progress.anchor)
    const { sending, skipped, next } = planOf(schedule, occurrences, now)
    const nextRunAt = next === null ? null : dueAt(name, next, definition.timing)
    const after: StoredSchedule = {
      ...schedule,
      revision: newRevision(),
      nextRunAt,
      progress: {
        ...progress,
        occurrence: next,
        lastOccurrence: sending.at(-1) ?? progress.lastOccurrence,
        runs: progress.runs + sending.length,
      },
    }
    // Of several at once only the last would be left.
    const sent = definition.overlap === 'replace' ? sending.slice(-1) : sending
    const messages = sent.map((occurrence) => messageOf(schedule, occurrence, occurrences))
    if (messages.length > 0) await removeWaiting(engine, schedule)
    const stored =
      messages.length > 0
        ? await engine.schedules.put(after, revision, { target: definition.target, messages })
        : await engine.schedules.put(after, revision)
    // Another process was at it, or somebody changed it: those who listen hear of that.
    if (stored === null) return nextRunAt === null ? Number.POSITIVE_INFINITY : Math.max(1, nextRunAt - now)
    if (skipped > 0) logger.info({ schedule: name, skipped, missed: definition.missed }, 'occurrences were missed')
    if ('queue' in definition.target && stored < messages.length)
      logger.info({ schedule: name, skipped: messages.length - stored }, 'the message before is still there')
    return nextRunAt === null ? Number.POSITIVE_INFINITY : nextRunAt - now
  }
}
