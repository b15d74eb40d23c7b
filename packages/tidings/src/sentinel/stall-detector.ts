import type { Clock } from '../core/clock.ts'
import type { Engine, QueueStats } from '../port/engine.ts'

/** The oldest ready messages at one check, and how often each had been read. */
interface Sample {
  readonly since: number
  readonly messages: ReadonlyMap<string, number>
}

/** Small, because messages come with their data. */
const sampleSize = 3

/**
 * Determines for how long nobody has worked on a queue with ready messages. Counts do not suffice, because senders change
 * them too. A queue is stalled while its oldest messages stay ready and unread, and no message is leased.
 */
export class StallDetector {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #samples = new Map<string, Sample>()

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine
    this.#clock = clock
  }

  /** @returns milliseconds since the first check that found the queue untouched */
  async stalledMs({ queue, ready, leased }: QueueStats): Promise<number> {
    if (ready === 0 || leased > 0) {
      this.#samples.delete(queue)
      return 0
    }
    const sample = this.#samples.get(queue)
    if (sample && (await this.#isUntouched(queue, sample))) return this.#clock.now() - sample.since
    const since = this.#clock.now()
    this.#samples.set(queue, { since, messages: await this.#peek(queue, null) })
    return 0
  }

  forget(): void {
    this.#samples.clear()
  }

  async #isUntouched(queue: string, { messages }: Sample): Promise<boolean> {
    const now = await this.#peek(queue, [...messages.keys()])
    return messages.size > 0 && [...messages].every(([id, readCount]) => now.get(id) === readCount)
  }

  async #peek(queue: string, ids: readonly string[] | null): Promise<Map<string, number>> {
    const ready = await this.#engine.peek(queue, { place: 'ready', limit: sampleSize, afterId: null, ids })
    return new Map(ready.map(({ id, readCount }) => [id, readCount]))
  }
}
