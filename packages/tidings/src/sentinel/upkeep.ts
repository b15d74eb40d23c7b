import type { Clock, Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { Service } from '../core/service.ts'
import type { Engine } from '../port/engine.ts'
import type { Wakeups } from '../port/wakeups.ts'
import { Firer } from '../schedules/firer.ts'
import { noteHistory } from './history-notes.ts'

const intervalMs = 30_000
/** The first round comes after a random part of this, so that processes that start together do not coincide. */
const firstMs = 5_000

export interface UpkeepDependencies {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  readonly wakeups: Wakeups
}

/**
 * Does what time asks for. Sends what schedules have due, and maintains the storage periodically: forgets expired records, moves delayed messages into queues that only other clients
 * read. Any number of processes may do it: the storage admits one at a time, or the result is the same.
 */
export class Upkeep extends Service {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #firer: Firer | undefined
  #timer: Timer | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(dependencies: UpkeepDependencies) {
    super()
    const { engine, clock, logger } = dependencies
    this.#engine = engine
    this.#clock = clock
    this.#logger = logger
    this.#firer = engine.supports.has('schedules') ? new Firer(dependencies) : undefined
  }

  protected override async onStart(): Promise<void> {
    this.#arm(Math.random() * firstMs)
    await this.#firer?.start()
  }

  protected override async onStop(): Promise<void> {
    this.#timer?.cancel()
    await Promise.all([this.#running, this.#firer?.stop()])
  }

  #arm(milliseconds: number): void {
    this.#timer = this.#clock.after(milliseconds, () => {
      this.#running = this.#maintain()
    })
  }

  async #maintain(): Promise<void> {
    // Before the rest, after which a storage may go to sleep.
    await this.#noteHistory()
    try {
      await this.#engine.maintain({ kind: 'due' })
    } catch (error) {
      if (isTidingsError(error, 'CLOSED')) return
      this.#logger.warn({ err: loggable(error) }, 'upkeep of the storage failed; it is tried again later')
    }
    if (this.state === 'running') this.#arm(intervalMs)
  }

  /** Only a figure is missing where this cannot be done, for example for want of rights: another process may have them. */
  async #noteHistory(): Promise<void> {
    try {
      await noteHistory(this.#engine)
    } catch (error) {
      this.#logger.debug({ err: loggable(error) }, 'the figures of this minute could not be noted')
    }
  }
}
