import { Figures, family, sample } from '../port/figures.ts'
import type { Telemetry } from '../port/telemetry.ts'
import { Worker, type WorkerStats } from '../worker/worker.ts'

const outcomes = ['succeeded', 'failed', 'deadLettered', 'expired', 'leaseLost'] as const
type Counts = Record<(typeof outcomes)[number], number>

const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** What a bus and its workers have done. What a worker did still counts after it has stopped. */
export class BusFigures {
  readonly #telemetry: Telemetry
  readonly #ended = new Map<string, Counts>()
  #calls: Figures | undefined

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry
  }

  /** @param running what has stopped; only workers count */
  ended(running: object): void {
    if (running instanceof Worker) add(this.#ended, running.queue, running.stats())
  }

  /** As Prometheus reads it. Calls are counted from the first time on. */
  text(running: Iterable<object>): string {
    if (this.#calls === undefined) {
      this.#calls = new Figures()
      this.#telemetry.observe(this.#calls.observer)
    }
    return this.#calls.text() + this.#workersText([...running].filter((one) => one instanceof Worker))
  }

  #workersText(workers: readonly Worker[]): string {
    const counts = new Map([...this.#ended].map(([queue, one]) => [queue, { ...one }]))
    const running = new Map([...counts.keys()].map((queue) => [queue, 0]))
    for (const worker of workers) {
      const stats = worker.stats()
      add(counts, worker.queue, stats)
      running.set(worker.queue, (running.get(worker.queue) ?? 0) + stats.running)
    }
    const ended = 'tidings_worker_messages_total'
    const now = 'tidings_worker_running'
    const endings = [...counts].flatMap(([queue, one]) =>
      outcomes.map((outcome) => sample(ended, { queue, outcome: snakeCase(outcome) }, one[outcome])),
    )
    return [
      family(ended, 'counter', 'Attempts of the workers of this process, by their end.', endings),
      family(
        now,
        'gauge',
        'Messages in handlers now.',
        [...running].map(([queue, count]) => sample(now, { queue }, count)),
      ),
    ].join('')
  }
}

function add(counts: Map<string, Counts>, queue: string, stats: WorkerStats): void {
  const before = counts.get(queue)
  const sum = (outcome: keyof Counts) => (before?.[outcome] ?? 0) + stats[outcome]
  counts.set(queue, Object.fromEntries(outcomes.map((outcome) => [outcome, sum(outcome)])) as Counts)
}
