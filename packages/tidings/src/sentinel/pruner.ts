import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { type QueueSettings, readSettings } from '../messages/settings.ts'
import type { Engine } from '../port/engine.ts'
import type { ArchiveRule } from './options.ts'
import { archiveRuleOf } from './rules.ts'

/** Messages in one step: small enough to be quick, large enough that the overhead of a step does not matter. */
const batchSize = 5_000

type Retention = NonNullable<QueueSettings['retention']>

export interface PrunerDependencies {
  readonly engine: Engine
  readonly logger: Logger
  readonly archives: readonly ArchiveRule[]
  /** Asked before each step. */
  mayGoOn(): boolean
}

/** Removes archived messages beyond the limits of the archive rules, and of queues for which no rule is given. */
export class Pruner {
  readonly #dependencies: PrunerDependencies
  #pruned = 0

  constructor(dependencies: PrunerDependencies) {
    this.#dependencies = dependencies
  }

  /** Messages removed so far. */
  get pruned(): number {
    return this.#pruned
  }

  /** Goes through all archives once. A failure in one archive does not stop the others. */
  async run(): Promise<void> {
    const { engine, archives, logger } = this.#dependencies
    for (const { queue, settings = {} } of await engine.describe(null)) {
      const rule = archiveRuleOf(archives, queue) ?? readSettings(settings).retention
      if (rule === undefined) continue
      try {
        const count = await this.#prune(queue, rule)
        if (count > 0) logger.info({ queue, count }, 'archived messages were removed')
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) return
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND'))
          logger.warn({ err: loggable(error), queue }, 'an archive could not be pruned; it is tried again later')
      }
    }
  }

  async #prune(queue: string, { keepFor = null, keep = null }: Retention): Promise<number> {
    let count = 0
    while (this.#dependencies.mayGoOn()) {
      const removed = await this.#dependencies.engine.maintain({
        kind: 'archive',
        queue,
        archivedForMs: keepFor,
        keep,
        limit: batchSize,
      })
      count += removed
      this.#pruned += removed
      if (removed < batchSize) break
    }
    return count
  }
}
