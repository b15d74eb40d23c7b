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
  completedAt: number | null
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

  add(queue: string, id: string, { correlationId, completionQueue }: Tracked, now: number): void {
    let correlation = this.#correlations.get(correlationId)
    if (correlation === undefined) {
      correlation = { id: correlationId, startedAt: now, tasks: [], completionQueue: null, completedAt: null }
      this.#correlations.set(correlationId, correlation)
    }
    correlation.completionQueue ??= completionQueue
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
    this.#completeIfOver(task.correlation, now)
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
    if (isDead) this.#completeIfOver(task.correlation, now)
  }

  #completeIfOver(correlation: Correlation, now: number): void {
    const { id, tasks, completionQueue, startedAt } = correlation
    if (correlation.completedAt !== null || tasks.some(({ state }) => state === 'pending')) return
    correlation.completedAt = now
    if (completionQueue === null) return
    const count = (state: Over) => tasks.filter((task) => task.state === state).length
    this.#complete(completionQueue, {
      correlationId: id,
      done: count('done'),
      dead: count('dead'),
      cancelled: count('cancelled'),
      startedAt: new Date(startedAt).toISOString(),
      endedAt: new Date(now).toISOString(),
    })
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
      completedAt: correlation.completedAt,
      queues: queues.map((queue) => countIn(queue, correlation.tasks, running)),
    }
  }

  maintain(now: number): void {
    for (const [id, { completedAt, tasks }] of this.#correlations) {
      const isOver = completedAt !== null && !tasks.some(({ state }) => state === 'pending')
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
