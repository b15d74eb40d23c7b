import { isTidingsError } from '../../core/errors.ts'
import type { Engine } from '../../port/engine.ts'
import type { ScheduleStore, Schedules, Sending, StoredSchedule } from '../../port/schedule-store.ts'
import { sendTo } from '../../port/send-to.ts'
import { pairsOf } from './calling.ts'
import type { Driver } from './driver.ts'
import { scheduleKeys } from './keys.ts'
import type { Registry } from './registry.ts'

const repeatable = { repeatable: true }
/** The process that put a schedule sends at once; what is older was left by a crash. */
const leftMs = 1_000

type Answer = readonly [now: number, records: string[], lookMs: number | null, left: string[]]
type StoredRecord = Pick<StoredSchedule, 'name' | 'nextRunAt' | 'definition' | 'progress'>

/**
 * Schedules, all in one slot. What one of them sends may lie in another slot, so the script that puts the next time keeps
 * the messages beside the schedules until they are sent: by the process that put it or, after a crash, by whoever looks for
 * what is due. Their dedup ids make a repetition harmless.
 */
export class RedisSchedules implements ScheduleStore {
  readonly #driver: Driver
  readonly #queues: Registry
  readonly #topics: Registry
  readonly #engine: Pick<Engine, 'send' | 'publish' | 'topics'>

  constructor(driver: Driver, queues: Registry, topics: Registry, engine: Pick<Engine, 'send' | 'publish' | 'topics'>) {
    this.#driver = driver
    this.#queues = queues
    this.#topics = topics
    this.#engine = engine
  }

  put(schedule: StoredSchedule, before: string | null, sending?: Sending): Promise<number | null> {
    return this.#driver.whileOpen(async () => {
      if (sending !== undefined) await this.#mustHave(sending.target)
      const { revision, ...record } = schedule
      const messages = sending === undefined ? '' : JSON.stringify(sending)
      const args = [record.name, revision, JSON.stringify(record), record.nextRunAt ?? '', before ?? '', messages]
      const answer = await this.#driver.run('schedule-put', scheduleKeys, args, repeatable)
      if (answer === 0) return null
      return sending === undefined ? 0 : this.#send(revision, sending)
    })
  }

  async #mustHave(target: Sending['target']): Promise<void> {
    if ('queue' in target) await this.#queues.mustHave(target.queue)
    if ('topic' in target) await this.#topics.mustHave(target.topic)
  }

  async #send(revision: string, sending: Sending): Promise<number> {
    const [, , key] = scheduleKeys
    const isSent = () => this.#driver.call(key, ['HDEL', key, revision])
    try {
      const stored = await sendTo(this.#engine, sending, null)
      await isSent()
      return stored
    } catch (error) {
      if (isTidingsError(error, 'QUEUE_NOT_FOUND') || isTidingsError(error, 'TOPIC_NOT_FOUND')) {
        // It was dropped in this moment, with what was in it.
        await isSent()
        return 0
      }
      // It is kept, and sent with the next look for what is due.
      return sending.messages.length
    }
  }

  remove(name: string, revision: string | null): Promise<boolean> {
    return this.#driver.whileOpen(async () => {
      const [schedules, due] = scheduleKeys
      const args = [name, revision ?? '']
      return (await this.#driver.run('schedule-remove', [schedules, due], args, { repeatable: false })) === 1
    })
  }

  list(which: 'all' | 'due' | { readonly name: string }): Promise<Schedules> {
    return this.#driver.whileOpen(async () => {
      const args = [...(typeof which === 'string' ? [which, ''] : ['one', which.name]), leftMs]
      const answer = await this.#driver.run('schedule-list', scheduleKeys, args, repeatable)
      const [now, records, nextDueMs, left] = answer as Answer
      for (const [revision, messages] of pairsOf(left)) await this.#send(revision, JSON.parse(messages) as Sending)
      const schedules = records.map(toSchedule)
      if (which !== 'due') schedules.sort((a, b) => (a.name < b.name ? -1 : 1))
      return { now, schedules, nextDueMs }
    })
  }
}

function toSchedule(text: string): StoredSchedule {
  const end = text.indexOf(' ')
  return { revision: text.slice(0, end), ...(JSON.parse(text.slice(end + 1)) as StoredRecord) }
}
