import { randomInt } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../core/clock.ts'
import { nearest, TidingsError } from '../core/errors.ts'
import { checkScheduleName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { withNearestName } from '../messages/missing-queue.ts'
import { checkKey } from '../messages/options.ts'
import type { Engine } from '../port/engine.ts'
import type { ScheduleDefinition, StoredSchedule } from '../port/schedule-store.ts'
import { sendTo } from '../port/send-to.ts'
import { topicsOf, withNearestTopic } from '../topics/missing-topic.ts'
import { hasNoTime, inPlace, parseDeclared } from './declared.ts'
import { type ScheduleInfo, toInfo } from './info.ts'
import { messageAt } from './messages.ts'
import { dueAt, occurrencesOf } from './occurrences.ts'
import { conflictOption, type DeclaredSchedule, parseSchedule, type ScheduleOptions } from './options.ts'
import { removeWaiting } from './replace.ts'
import { newRevision } from './revision.ts'

/** Of tries, where others change the same schedule at the same time. */
const mostTries = 50
const mostRuns = 1_000

export interface PutTerms {
  readonly onConflict: 'update' | 'keep'
  /** Only in the place of this revision; null: where there is none. Left out: whatever is there. */
  readonly before?: string | null | undefined
  /** Switches it, whatever it was declared as. Left out: that stays, unless the declaration says something else now. */
  readonly enabled?: boolean | undefined
}

/** @public */
export const declareOptions = { onConflict: conflictOption } as const
export type DeclareOptions = option.OptionsInput<typeof declareOptions>

/**
 * Schedules: what is to be sent by the clock. They are stored; every process with a worker, a subscriber or a sentinel, and
 * every server, sends what is due, each occurrence once.
 */
export class Schedules {
  readonly #engine: Engine
  readonly #clock: Clock

  constructor({ engine, clock }: { engine: Engine; clock: Clock }) {
    this.#engine = engine
    this.#clock = clock
  }

  /** As `Bus.schedule`. */
  async put(name: string, options: ScheduleOptions): Promise<ScheduleInfo> {
    checkScheduleName(name)
    const { definition, onConflict } = await parseSchedule(options, () => this.#clock.now())
    return toInfo((await this.store(name, definition, { onConflict }))!)
  }

  /**
   * Declares all schedules of an owner, by name: those that it declared before and does not name any more are removed.
   * Schedules of others stay.
   * @throws as `Bus.schedule`, before anything is changed; SCHEDULE_OWNED where another owner has a name
   * @example await bus.schedules.declare('billing', { nightly: { cron: '0 2 * * *', queue: 'reports' } })
   */
  async declare(
    owner: string,
    schedules: Readonly<Record<string, DeclaredSchedule>>,
    options?: DeclareOptions,
  ): Promise<ScheduleInfo[]> {
    checkKey(owner, 'owner')
    const { onConflict } = option.parseOptions(declareOptions, options, 'declare')
    if (typeof schedules !== 'object' || schedules === null)
      throw option.typeError('schedules', schedules, 'an object with schedules by name')
    const definitions = await Promise.all(
      Object.entries(schedules).map(
        async ([name, declared]) =>
          [name, await parseDeclared(owner, name, declared, () => this.#clock.now())] as const,
      ),
    )
    const { now, schedules: there } = await this.#engine.schedules.list('all')
    for (const [name, definition] of definitions)
      await inPlace(name, async () => {
        const before = there.find((one) => one.name === name)
        checkOwner(before, definition)
        await this.#check(name, definition, before, now)
      })
    const declared: ScheduleInfo[] = []
    for (const [name, definition] of definitions)
      declared.push(toInfo((await inPlace(name, () => this.store(name, definition, { onConflict })))!))
    const gone = there.filter(({ name, definition }) => definition.owner === owner && !Object.hasOwn(schedules, name))
    for (const { name } of gone) await this.#engine.schedules.remove(name, null)
    return declared
  }

  /** @example for (const { name, nextRunAt } of await bus.schedules.list()) console.log(name, nextRunAt) */
  async list(): Promise<ScheduleInfo[]> {
    return (await this.#engine.schedules.list('all')).schedules.map(toInfo)
  }

  /**
   * @throws SCHEDULE_NOT_FOUND
   * @example const { nextRunAt, lastRunAt } = await bus.schedules.get('nightly')
   */
  async get(name: string): Promise<ScheduleInfo> {
    return toInfo((await this.#find(name)).schedule)
  }

  /**
   * What it has sent stays. @returns false if there was none
   * @example await bus.schedules.remove('nightly')
   */
  async remove(name: string): Promise<boolean> {
    return this.#engine.schedules.remove(checkScheduleName(name), null)
  }

  /**
   * Lets it send again; what would have been due meanwhile is not made up for. Declaring it again, with the same `enabled`,
   * does not undo this.
   * @returns false if it was enabled @throws SCHEDULE_NOT_FOUND
   * @example await bus.schedules.enable('nightly')
   */
  enable(name: string): Promise<boolean> {
    return this.#switch(name, true)
  }

  /**
   * It sends nothing until it is enabled, whoever declares it meanwhile.
   * @returns false if it was disabled @throws SCHEDULE_NOT_FOUND
   * @example await bus.schedules.disable('nightly')
   */
  disable(name: string): Promise<boolean> {
    return this.#switch(name, false)
  }

  /**
   * When it will send, at most 1,000 times.
   * @throws SCHEDULE_NOT_FOUND, RANGE
   * @example const [first] = await bus.schedules.next('nightly', 5)
   */
  async next(name: string, count = 1): Promise<Date[]> {
    if (!Number.isInteger(count) || count < 1 || count > mostRuns)
      throw new TidingsError('RANGE', `count is ${String(count)}; it must be between 1 and ${mostRuns}`)
    const { schedule } = await this.#find(name)
    const { definition, progress } = schedule
    const left = definition.timing.limit === null ? count : Math.min(count, definition.timing.limit - progress.runs)
    const occurrences = await occurrencesOf(definition.timing, progress.anchor)
    const found: number[] = []
    for (let one = schedule.nextRunAt === null ? null : progress.occurrence; one !== null && found.length < left; ) {
      found.push(dueAt(name, one, definition.timing))
      one = occurrences.after(one)
    }
    return found.map((time) => new Date(time))
  }

  /**
   * Sends a message now, beside its occurrences, also where it is disabled.
   * @returns false if `overlap: 'skip'` held it back, or nothing is bound to its routing key
   * @throws SCHEDULE_NOT_FOUND, QUEUE_NOT_FOUND, TOPIC_NOT_FOUND
   * @example await bus.schedules.runNow('nightly')
   */
  async runNow(name: string): Promise<boolean> {
    const { schedule, now } = await this.#find(name)
    await removeWaiting(this.#engine, schedule)
    const { target } = schedule.definition
    return (await sendTo(this.#engine, { target, messages: [messageAt(schedule, now)] }, null)) > 0
  }

  /**
   * For what is asked in the form of the storage.
   * @returns null if another revision is there than the terms allow
   * @internal
   */
  async store(name: string, definition: ScheduleDefinition, terms: PutTerms): Promise<StoredSchedule | null> {
    for (let tries = 0; tries < mostTries; tries++) {
      const { now, schedules } = await this.#engine.schedules.list({ name })
      const there = schedules[0]
      if (terms.before !== undefined && (there?.revision ?? null) !== terms.before) return null
      checkOwner(there, definition)
      const isSwitch = terms.enabled !== undefined && terms.enabled !== there?.progress.enabled
      const isKept = there !== undefined && (terms.onConflict === 'keep' || isSame(there.definition, definition))
      if (isKept && !isSwitch) return there
      const schedule = await this.#check(name, definition, there, now, terms.enabled)
      if ((await this.#engine.schedules.put(schedule, there?.revision ?? null)) !== null)
        return this.#asStored(schedule)
      // Schedules of a second are changed each second.
      await new Promise((resolve) => setTimeout(resolve, randomInt(10)))
    }
    throw busy(name)
  }

  /** A server works the times out by itself. */
  async #asStored(schedule: StoredSchedule): Promise<StoredSchedule> {
    if (this.#engine.supports.has('schedules')) return schedule
    return (await this.#engine.schedules.list({ name: schedule.name })).schedules[0] ?? schedule
  }

  /** What would be stored. @throws SCHEDULE_NEVER, CRON_INVALID, QUEUE_NOT_FOUND, TOPIC_NOT_FOUND */
  async #check(
    name: string,
    definition: ScheduleDefinition,
    there: StoredSchedule | undefined,
    now: number,
    switched?: boolean,
  ): Promise<StoredSchedule> {
    const { timing } = definition
    const goesOn = there !== undefined && isSame(there.definition.timing, timing)
    const anchor = goesOn ? there.progress.anchor : (timing.startAt ?? now)
    const occurrences = await occurrencesOf(timing, anchor)
    const staysAs = there?.definition.enabled === definition.enabled ? there.progress.enabled : definition.enabled
    const enabled = switched ?? staysAs
    // What was not sent while it was disabled is not made up for; what is over stays so.
    const isCounted = goesOn && (there.progress.enabled === enabled || there.progress.occurrence === null)
    const occurrence = isCounted ? there.progress.occurrence : occurrences.after(now)
    if (occurrence === null && !goesOn) throw hasNoTime(name)
    if (there === undefined || !isSame(there.definition, definition)) await this.#checkTarget(definition)
    return {
      name,
      revision: newRevision(),
      nextRunAt: enabled && occurrence !== null ? dueAt(name, occurrence, timing) : null,
      definition,
      progress: {
        enabled,
        anchor,
        occurrence,
        lastOccurrence: there?.progress.lastOccurrence ?? null,
        runs: goesOn ? there.progress.runs : 0,
        createdAt: there?.progress.createdAt ?? now,
        changedAt: now,
      },
    }
  }

  async #checkTarget({ target }: ScheduleDefinition): Promise<void> {
    if ('queue' in target) await withNearestName(this.#engine, target.queue, () => this.#engine.describe(target.queue))
    if (!('topic' in target)) return
    const topics = topicsOf(this.#engine)
    await withNearestTopic(topics, target, () => topics.listTopics(target.topic))
  }

  async #switch(name: string, enabled: boolean): Promise<boolean> {
    for (let tries = 0; tries < mostTries; tries++) {
      const { definition, progress, revision } = (await this.#find(name)).schedule
      if (progress.enabled === enabled) return false
      const terms = { onConflict: 'update', before: revision, enabled } as const
      if ((await this.store(name, definition, terms)) !== null) return true
    }
    throw busy(name)
  }

  async #find(name: string): Promise<{ now: number; schedule: StoredSchedule }> {
    checkScheduleName(name)
    const { now, schedules } = await this.#engine.schedules.list({ name })
    if (schedules[0] !== undefined) return { now, schedule: schedules[0] }
    const all = await this.#engine.schedules.list('all')
    const meant = nearest(
      name,
      all.schedules.map((one) => one.name),
    )
    throw new TidingsError('SCHEDULE_NOT_FOUND', `schedule '${name}' does not exist`, {
      details: { schedule: name },
      ...(meant ? { hint: `Did you mean '${meant}'?` } : {}),
    })
  }
}

/** A schedule that was declared is its owner's. @throws SCHEDULE_OWNED */
function checkOwner(there: StoredSchedule | undefined, { owner }: ScheduleDefinition): void {
  if (there === undefined || there.definition.owner === owner) return
  const holder = there.definition.owner
  const whose = holder === null ? 'was made by hand' : `is declared by '${holder}'`
  throw new TidingsError('SCHEDULE_OWNED', `schedule '${there.name}' ${whose}`, {
    details: { schedule: there.name, owner: holder },
  })
}

/** Compared as it is stored. */
const isSame = (one: unknown, other: unknown) => isDeepStrictEqual(stored(one), stored(other))
const stored = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

const busy = (name: string) =>
  new TidingsError('STORAGE_BUSY', `schedule '${name}' is changed again and again by others`, {
    details: { schedule: name },
  })
