import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Engine } from '../port/engine.ts'
import type { ArchiveRule } from './options.ts'
import { archiveRuleOf } from './rules.ts'

/** In one step: none of them takes long, and what each costs beside the removing does not count for much. */
const batchSize = 5_000

export interface PrunerSite {
  readonly engine: Engine
  readonly logger: Logger
  readonly archives: readonly ArchiveRule[]
  /** Asked between two steps. */
  mayGoOn(): boolean
}

/** Removes archived messages that nobody wants to keep any longer. */
export class Pruner {
  readonly #site: PrunerSite
  #pruned = 0

  constructor(site: PrunerSite) {
    this.#site = site
  }

  /** Messages that were removed so far. */
  get pruned(): number {
    return this.#pruned
  }

  /** Goes through all archives once. What fails in one does not keep it from the others. */
  async run(): Promise<void> {
    const { engine, archives, logger } = this.#site
    if (archives.length === 0) return
    for (const { queue } of await engine.describe(null)) {
      const rule = archiveRuleOf(archives, queue)
      if (rule === null) continue
      try {
        const count = await this.#prune(queue, rule)
        if (count > 0) logger.info({ queue, count }, 'archived messages were removed')
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) return
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND'))
          logger.warn({ error, queue }, 'an archive could not be pruned; it is tried again later')
      }
    }
  }

  async #prune(queue: string, { keepFor, keep }: ArchiveRule): Promise<number> {
    let count = 0
    while (this.#site.mayGoOn()) {
      const removed = await this.#site.engine.maintain({
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
