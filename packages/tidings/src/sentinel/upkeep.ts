import type { Clock, Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { Service } from '../core/service.ts'
import type { Engine } from '../port/engine.ts'

const intervalMs = 30_000
/** The first round comes after a random part of this, so that processes that start together do not coincide. */
const firstMs = 5_000

/**
 * Maintains the storage periodically: forgets expired records, moves delayed messages into queues that only other clients
 * read. Any number of processes may do it: the storage admits one at a time, or the result is the same.
 */
export class Upkeep extends Service {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #logger: Logger
  #timer: Timer | undefined
  #running: Promise<void> = Promise.resolve()

  constructor({ engine, clock, logger }: { engine: Engine; clock: Clock; logger: Logger }) {
    super()
    this.#engine = engine
    this.#clock = clock
    this.#logger = logger
  }

  protected override async onStart(): Promise<void> {
    this.#arm(Math.random() * firstMs)
  }

  protected override async onStop(): Promise<void> {
    this.#timer?.cancel()
    await this.#running
  }

  #arm(milliseconds: number): void {
    this.#timer = this.#clock.after(milliseconds, () => {
      this.#running = this.#maintain()
    })
  }

  async #maintain(): Promise<void> {
    try {
      await this.#engine.maintain({ kind: 'due' })
    } catch (error) {
      if (isTidingsError(error, 'CLOSED')) return
      this.#logger.warn({ error }, 'upkeep of the storage failed; it is tried again later')
    }
    if (this.state === 'running') this.#arm(intervalMs)
  }
}
