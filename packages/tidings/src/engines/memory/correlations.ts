import { type Milestone, usualMilestones } from '../../port/correlation.ts'
import type { Completion, CorrelationState, TaskCounts, Tracked } from '../../port/engine.ts'

const keptMs = 30 * 86_400_000

type Over = 'done' | 'dead' | 'cancelled'

interface Task {
  readonly correlation: Correlation
  /** The queue that it counts for. */
  queue: string
  /** The queue that has its message. */
  heldIn: string
  state: 'pending' | Over
}

interface Correlation {
  readonly id: string
  readonly startedAt: number
  readonly tasks: Task[]
  completionQueue: string | null
  told: readonly Milestone[]
  readonly reached: Map<Milestone, number>
}

/** The tasks of correlations, by the messages that stand for them. */
export class Correlations {
  readonly #correlations = new Map<string, Correlation>()
  readonly #tasks = new Map<string, Task>()
  readonly #complete: (queue: string, completion: Completion) => void

  /** @param complete stores the message that tells of a completion */
  constructor(complete: (queue: string, completion: Completion) => void) {
    this.#complete = complete
  }

  add(queue: string, id: string, { correlationId, ...tracked }: Tracked, now: number): void {
    let correlation = this.#correlations.get(correlationId)
    if (correlation === undefined) {
      correlation = {
        id: correlationId,
        startedAt: now,
        tasks: [],
        completionQueue: null,
        told: [],
        reached: new Map(),
      }
      this.#correlations.set(correlationId, correlation)
    }
    if (correlation.completionQueue === null) {
      correlation.completionQueue = tracked.completionQueue
      correlation.told = tracked.milestones ?? usualMilestones
    }
    const task: Task = { correlation, queue, heldIn: queue, state: 'pending' }
    correlation.tasks.push(task)
    this.#tasks.set(keyOf(queue, id), task)
  }

  /** A message has gone. What is over already stays so. */
  end(queue: string, id: string, state: Over, now: number): void {
    const task = this.#tasks.get(keyOf(queue, id))
    this.#tasks.delete(keyOf(queue, id))
    if (task?.state !== 'pending') return
    task.state = state
    this.#look(task.correlation, now)
  }

  /** A message has moved. */
  move(from: string, id: string, to: string, newId: string, isDead: boolean, now: number): void {
    const task = this.#tasks.get(keyOf(from, id))
    if (task === undefined) return
    this.#tasks.delete(keyOf(from, id))
    this.#tasks.set(keyOf(to, newId), task)
    task.heldIn = to
    if (!isDead) task.queue = to
    if (isDead && task.state === 'pending') task.state = 'dead'
    if (!isDead && task.state === 'dead') task.state = 'pending'
    if (isDead) this.#look(task.correlation, now)
  }

  /** A task has ended. */
  #look({ id, tasks, completionQueue, told, reached, startedAt }: Correlation, now: number): void {
    const count = (state: Task['state']) => tasks.filter((task) => task.state === state).length
    const [left, done, dead, cancelled] = [count('pending'), count('done'), count('dead'), count('cancelled')]
    const [start, end] = [new Date(startedAt).toISOString(), new Date(now).toISOString()]
    const counts = { correlationId: id, done, dead, cancelled, startedAt: start, endedAt: end }
    const reach = (milestone: Milestone, isSo: boolean) => {
      if (!isSo || reached.has(milestone)) return
      reached.set(milestone, now)
      if (completionQueue !== null && told.includes(milestone))
        this.#complete(completionQueue, { milestone, ...counts })
    }
    reach('anyFailed', dead > 0)
    reach('allDone', left + dead + cancelled === 0)
    reach('allEnded', left === 0)
  }

  /** @param isLeased whether the message with this key is in the hands of a reader */
  stateOf(id: string, isLeased: (queue: string, messageId: string) => boolean): CorrelationState | null {
    const correlation = this.#correlations.get(id)
    if (correlation === undefined) return null
    const running = new Set<Task>()
    for (const [key, task] of this.#tasks) {
      const [queue, messageId] = key.split('/') as [string, string]
      if (task.correlation === correlation && task.state === 'pending' && isLeased(queue, messageId)) running.add(task)
    }
    const queues = [...new Set(correlation.tasks.map((task) => task.queue))].sort()
    return {
      startedAt: correlation.startedAt,
      completedAt: correlation.reached.get('allEnded') ?? null,
      failedAt: correlation.reached.get('anyFailed') ?? null,
      doneAt: correlation.reached.get('allDone') ?? null,
      queues: queues.map((queue) => countIn(queue, correlation.tasks, running)),
    }
  }

  maintain(now: number): void {
    for (const [id, { reached, tasks }] of this.#correlations) {
      const completedAt = reached.get('allEnded')
      const isOver = completedAt !== undefined && !tasks.some(({ state }) => state === 'pending')
      if (!isOver || completedAt + keptMs > now) continue
      this.#correlations.delete(id)
      for (const [key, { correlation }] of this.#tasks) if (correlation.id === id) this.#tasks.delete(key)
    }
  }
}

function countIn(queue: string, tasks: readonly Task[], running: ReadonlySet<Task>): TaskCounts {
  const own = tasks.filter((task) => task.queue === queue)
  const count = (state: Task['state']) => own.filter((task) => task.state === state).length
  const inHand = own.filter((task) => running.has(task)).length
  return {
    queue,
    pending: count('pending') - inHand,
    running: inHand,
    done: count('done'),
    dead: count('dead'),
    cancelled: count('cancelled'),
  }
}

/** No name of a queue has a slash. */
const keyOf = (queue: string, id: string) => `${queue}/${id}`

/** The message that tells of a completion, in its queue. */
export const completionMessage = (queue: string, completion: Completion, now: number) => ({
  data: JSON.stringify(completion),
  meta: { queue_name: queue, correlation_id: completion.correlationId },
  headers: {},
  priority: 0,
  orderingKey: null,
  group: null,
  sentAt: now,
  visibleAt: now,
})
