import { type Milestone, usualMilestones } from '../../port/correlation.ts'
import type { Completion, CorrelationState, NewMessage, TaskCounts } from '../../port/engine.ts'
import { pairsOf, toMap } from './calling.ts'
import type { Driver } from './driver.ts'
import { groupBy } from './groups.ts'
import { correlationKey, keysOf } from './keys.ts'
import type { Encoded } from './messages.ts'

const keptMs = 30 * 86_400_000
const repeatable = { repeatable: true }

/** An event of a task, as in correlate.lua. */
export type TaskEvent = readonly [what: string, task: string, ...rest: (string | number)[]]

/** Something that is going to be a task: in which queue, of which correlation. */
export interface Task {
  readonly task: string
  readonly queue: string
  readonly correlation: string
  readonly completionQueue: string | null
  readonly milestones?: readonly Milestone[]
}

/** The message about a milestone of a correlation. */
export interface Reached {
  /** An id as of an outbox entry. */
  readonly entry: string
  readonly queue: string
  readonly message: Encoded
}

/** The tasks of correlations: each correlation is a hash in a slot of its own. */
export class Correlations {
  readonly #driver: Driver

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** Counts tasks before their messages are stored: until then the end of another task could look like the last one. */
  async note(tasks: readonly Task[]): Promise<void> {
    const groups = groupBy(tasks, ({ correlation }) => correlation)
    for (const [correlation, group] of groups) {
      const naming = group.find(({ completionQueue }) => completionQueue !== null)
      const named = naming ? [naming.completionQueue, ...(naming.milestones ?? usualMilestones)].join(' ') : ''
      await this.#tell(
        correlation,
        named,
        group.map(({ task, queue }) => ['note', task, queue]),
      )
    }
  }

  /** @returns the messages about milestones that are reached and are not stored yet */
  async tell(correlation: string, events: readonly TaskEvent[]): Promise<Reached[]> {
    const answer = await this.#tell(correlation, '', events)
    if (answer === null) return []
    const [queue = '', startedAt, ...tellings] = answer
    return pairsOf(tellings).map(([milestone, telling]) => {
      const [endedAt = 0, done = 0, dead = 0, cancelled = 0] = telling.split(' ').map(Number)
      const completion: Completion = {
        milestone: milestone as Milestone,
        correlationId: correlation,
        done,
        dead,
        cancelled,
        startedAt: new Date(Number(startedAt)).toISOString(),
        endedAt: new Date(endedAt).toISOString(),
      }
      const meta = { queue_name: queue, correlation_id: correlation }
      return {
        entry: `${endedAt.toString(36).padStart(9, '0')}-${milestone}`,
        queue,
        message: [`[${JSON.stringify(meta)},{}]\n${JSON.stringify(completion)}`, ''],
      }
    })
  }

  /** The message about a milestone is stored. */
  async told(correlation: string, entry: string): Promise<void> {
    const key = correlationKey(correlation)
    await this.#driver.call(key, ['HDEL', key, tellField(entry)])
  }

  /** Whether the milestone is reached and its message is not stored. */
  async isUntold(correlation: string, entry: string): Promise<boolean> {
    const key = correlationKey(correlation)
    return (await this.#driver.call(key, ['HEXISTS', key, tellField(entry)])) === 1
  }

  async state(correlation: string): Promise<CorrelationState | null> {
    const key = correlationKey(correlation)
    const answer = (await this.#driver.call(key, ['HGETALL', key])) as string[]
    const fields = toMap(answer)
    const startedAt = fields.get('started')
    if (startedAt === undefined) return null
    const counts = new Map<string, Record<'pending' | 'running' | 'done' | 'dead' | 'cancelled', number>>()
    const add = (queue: string, state: keyof Omit<TaskCounts, 'queue'>, count: number) => {
      const own = counts.get(queue) ?? { pending: 0, running: 0, done: 0, dead: 0, cancelled: 0 }
      own[state] += count
      counts.set(queue, own)
    }
    for (const [field, value] of fields) {
      const [, state, queue] = /^count (\S+) (\S+)$/.exec(field) ?? []
      if (queue !== undefined) add(queue, state as 'done', Number(value))
    }
    const open = [...fields].flatMap(([field, value]) => toOpenTask(field, value))
    const running = await this.#running(open)
    for (const { task, queue } of open) add(queue, running.has(task) ? 'running' : 'pending', 1)
    return {
      startedAt: Number(startedAt),
      completedAt: timeIn(fields, 'completed'),
      failedAt: timeIn(fields, 'failed'),
      doneAt: timeIn(fields, 'done'),
      queues: [...counts.keys()].sort().map((queue) => ({ queue, ...counts.get(queue)! })),
    }
  }

  /** Those in the hands of a reader, of tasks by the queues that have their messages. */
  async #running(open: readonly OpenTask[]): Promise<ReadonlySet<string>> {
    const holders = [...groupBy(open, ({ holder }) => holder)]
    const found = await Promise.all(
      holders.map(async ([holder, group]) => {
        const tasks = group.map(({ task }) => task)
        const flags = (await this.#driver.run(
          'running',
          keysOf(holder),
          [JSON.stringify(tasks)],
          repeatable,
        )) as number[]
        return tasks.filter((_, index) => flags[index] === 1)
      }),
    )
    return new Set(found.flat())
  }

  #tell(correlation: string, queue: string, events: readonly TaskEvent[]) {
    const args = [queue, keptMs, JSON.stringify(events)]
    return this.#driver.run('correlate', [correlationKey(correlation)], args, repeatable) as Promise<string[] | null>
  }
}

const tellField = (entry: string) => `tell ${entry.slice(entry.indexOf('-') + 1)}`

const timeIn = (fields: ReadonlyMap<string, string>, name: string) => {
  const time = fields.get(name)
  return time === undefined ? null : Number(time)
}

/** Names of tasks. The task of a published copy is this name and the queue. */
export const toTasks = (messages: readonly NewMessage[], nonce: string) =>
  messages.map((message, index) => (message.tracked ? `${nonce}/${index}` : undefined))

interface OpenTask {
  readonly task: string
  readonly queue: string
  readonly holder: string
}

function toOpenTask(field: string, value: string): OpenTask[] {
  const [state, queue, holder] = value.split(' ')
  if (!field.startsWith('task ') || state !== 'pending' || queue === undefined || holder === undefined) return []
  return [{ task: field.slice('task '.length), queue, holder }]
}
