import type { Bus } from 'tidings/internal/bus/bus'
import type { Clock } from 'tidings/internal/core/clock'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { QueueStats } from 'tidings/internal/port/engine'

/** What was last counted of a queue. */
export interface Counted {
  readonly figures: QueueStats
  /** When, in milliseconds since 1970. */
  readonly at: number
  readonly costMs: number
}

/** So many messages of a queue are looked at. */
const countedUpTo = 10_000
/** So many queues are counted at a time. */
const atOnce = 4
/** For so long an answer waits for what is being counted. */
const patienceMs = 100
/** Figures are good for so long, and for so many times what it cost to count them. */
const freshMs = 2_000
const freshCosts = 20

/**
 * The figures of all queues for everybody who looks. Counting is dear with many queues, so each is counted once in a while
 * however many look, those first of which the least is known; what is not counted yet comes with a later look. What lies far
 * behind in a queue is estimated.
 */
export class QueueBoard {
  readonly #bus: Bus
  readonly #clock: Clock
  readonly #counted = new Map<string, Counted>()
  readonly #running = new Map<string, Promise<void>>()
  /** In the order in which they are to be counted. */
  #waiting: string[] = []

  constructor(bus: Bus, clock: Clock) {
    this.#bus = bus
    this.#clock = clock
  }

  /** @param queues all that there are of the storage, or those that are asked for @returns what is known of these */
  async look(queues: readonly string[]): Promise<ReadonlyMap<string, Counted>> {
    const startedAt = this.#clock.steady()
    this.#waiting = queues
      .filter((queue) => !this.#running.has(queue) && !this.#isFresh(queue))
      .sort((a, b) => (this.#counted.get(a)?.at ?? 0) - (this.#counted.get(b)?.at ?? 0))
    for (;;) {
      this.#countNext()
      const leftMs = patienceMs - (this.#clock.steady() - startedAt)
      if (this.#running.size === 0 || leftMs <= 0) break
      await this.#nextOrAfter(leftMs)
    }
    // What is known waits for the next look: what nobody looks at is not counted again.
    this.#waiting = this.#waiting.filter((queue) => !this.#counted.has(queue))
    return new Map(queues.flatMap((queue) => (this.#counted.has(queue) ? [[queue, this.#counted.get(queue)!]] : [])))
  }

  #isFresh(queue: string): boolean {
    const known = this.#counted.get(queue)
    return known !== undefined && this.#clock.now() - known.at < Math.max(freshMs, known.costMs * freshCosts)
  }

  async #nextOrAfter(milliseconds: number): Promise<void> {
    let stop = () => {}
    const timeUp = new Promise<void>((resolve) => {
      const timer = this.#clock.after(milliseconds, resolve)
      stop = () => timer.cancel()
    })
    await Promise.race([timeUp, ...this.#running.values()])
    stop()
  }

  #countNext(): void {
    while (this.#running.size < atOnce && this.#waiting.length > 0) this.#count(this.#waiting.shift()!)
  }

  #count(queue: string): void {
    const startedAt = this.#clock.steady()
    const counting = this.#bus.stored
      .counts(queue, { upTo: countedUpTo })
      .then((figures) => {
        this.#counted.set(queue, { figures, at: this.#clock.now(), costMs: this.#clock.steady() - startedAt })
      })
      .catch((error: unknown) => {
        // It was dropped. Of what fails the last figures stay, with their time.
        if (isTidingsError(error, 'QUEUE_NOT_FOUND')) this.#counted.delete(queue)
      })
      .finally(() => {
        this.#running.delete(queue)
        this.#countNext()
      })
    this.#running.set(queue, counting)
  }
}
