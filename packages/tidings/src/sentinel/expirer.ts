import type { Clock } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import { matchesGlob } from '../core/glob.ts'
import type { Logger } from '../core/logger.ts'
import { expiryError, expiryOf } from '../messages/expiry.ts'
import { deadLetterEnding, deadLetterMeta } from '../messages/lease.ts'
import type { Engine, Settlement, StoredMessage } from '../port/engine.ts'
import type { ExpiryRule } from './options.ts'

/** In one step. */
const pageSize = 200
/** In one round; the next one goes on from there. Messages come with their data, and a long queue is looked at for ever. */
const maxLooks = 10_000
const leaseMs = 30_000

export interface ExpirerSite {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  readonly expire: readonly ExpiryRule[]
  /** Where the dead letters of a queue go; null: into the archive. */
  deadLetterQueueOf(queue: string): string | null
  /** Asked between two steps. */
  mayGoOn(): boolean
}

/** Ends messages whose time to live is over in queues that nobody reads. Those that wait are ended when they are ready. */
export class Expirer {
  readonly #site: ExpirerSite
  /** Where to go on in a queue. */
  readonly #places = new Map<string, string>()
  #expired = 0

  constructor(site: ExpirerSite) {
    this.#site = site
  }

  /** Messages that were ended so far. */
  get expired(): number {
    return this.#expired
  }

  /** Goes through all queues once. What fails in one does not keep it from the others. */
  async run(): Promise<void> {
    const { engine, expire, logger } = this.#site
    if (expire.length === 0) return
    for (const { queue } of await engine.describe(null)) {
      const rule = expire.find(({ queues }) => matchesGlob(queues, queue))
      if (rule === undefined) continue
      try {
        const count = await this.#expire(queue, rule)
        if (count > 0) logger.info({ queue, count, expired: rule.expired }, 'messages expired that nobody had read')
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) return
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND'))
          logger.warn({ error, queue }, 'expired messages could not be ended; it is tried again later')
      }
    }
  }

  async #expire(queue: string, rule: ExpiryRule): Promise<number> {
    const { engine, clock } = this.#site
    let count = 0
    for (let looks = 0; looks < maxLooks && this.#site.mayGoOn(); looks += pageSize) {
      const afterId = this.#places.get(queue) ?? null
      const page = await engine.peek(queue, { place: 'ready', limit: pageSize, afterId, ids: null })
      // The clock of the storage judges in the end.
      const due = page.filter((message) => (expiryOf(message) ?? Number.POSITIVE_INFINITY) <= clock.now())
      count += await this.#end(
        queue,
        rule,
        due.map(({ id }) => id),
      )
      if (page.length < pageSize) this.#places.delete(queue)
      else this.#places.set(queue, page.at(-1)!.id)
      if (page.length < pageSize) break
    }
    return count
  }

  /** A claim gives one message of an ordering key at a time. */
  async #end(queue: string, rule: ExpiryRule, ids: readonly string[]): Promise<number> {
    const left = new Set(ids)
    let count = 0
    while (left.size > 0) {
      const { messages } = await this.#site.engine.claim(queue, { limit: left.size, leaseMs, ids: [...left] })
      if (messages.length === 0) break
      for (const { id } of messages) left.delete(id)
      count += await this.#settle(queue, rule, messages)
    }
    return count
  }

  async #settle(queue: string, rule: ExpiryRule, messages: readonly StoredMessage[]): Promise<number> {
    const settlements = messages.map((message) => this.#settlementOf(queue, rule, message))
    const results = await this.#site.engine.settle(queue, settlements)
    const ended = results.filter(({ settled }, index) => settled && settlements[index]!.kind !== 'release').length
    this.#expired += ended
    return ended
  }

  #settlementOf(queue: string, { expired }: ExpiryRule, message: StoredMessage): Settlement {
    const { clock, deadLetterQueueOf } = this.#site
    const lease = { id: message.id, receipt: message.receipt! }
    const error = expiryError(message)
    if (error === null) return { ...lease, kind: 'release', delayMs: 0, meta: {}, uncount: true }
    if (expired === 'drop') return { ...lease, kind: 'delete' }
    const meta = deadLetterMeta(queue, message, error, clock.now())
    return { ...lease, ...deadLetterEnding(deadLetterQueueOf(queue), meta) }
  }
}
