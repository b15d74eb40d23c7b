import type { Clock } from '../core/clock.ts'
import type { Engine, QueueStats } from '../port/engine.ts'

/** The oldest messages that were ready at a look, and how often each had been read. */
interface Sample {
  readonly since: number
  readonly messages: ReadonlyMap<string, number>
}

/** Few, since they come with their data. */
const sampleSize = 3

/**
 * For how long messages have been ready in a queue that nobody touches. The counts of a queue do not tell: a sender
 * changes them, too. So the oldest messages are looked at: as long as all of them are still ready and unread since, and
 * none is in hand, nobody works on the queue.
 */
export class Stillness {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #samples = new Map<string, Sample>()

  constructor(engine: Engine, clock: Clock) {
    this.#engine = engine
    this.#clock = clock
  }

  /** @returns milliseconds since the first look that found it so */
  async of({ queue, ready, leased }: QueueStats): Promise<number> {
    if (ready === 0 || leased > 0) {
      this.#samples.delete(queue)
      return 0
    }
    const sample = this.#samples.get(queue)
    if (sample && (await this.#isUntouched(queue, sample))) return this.#clock.now() - sample.since
    const since = this.#clock.now()
    this.#samples.set(queue, { since, messages: await this.#look(queue, null) })
    return 0
  }

  forget(): void {
    this.#samples.clear()
  }

  async #isUntouched(queue: string, { messages }: Sample): Promise<boolean> {
    const now = await this.#look(queue, [...messages.keys()])
    return messages.size > 0 && [...messages].every(([id, readCount]) => now.get(id) === readCount)
  }

  async #look(queue: string, ids: readonly string[] | null): Promise<Map<string, number>> {
    const ready = await this.#engine.peek(queue, { place: 'ready', limit: sampleSize, afterId: null, ids })
    return new Map(ready.map(({ id, readCount }) => [id, readCount]))
  }
}
