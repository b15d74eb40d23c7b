import type { Clock } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import { matchesGlob } from '../core/glob.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { expiryError, expiryOf } from '../messages/expiry.ts'
import { deadLetterEnding, deadLetterMeta } from '../messages/lease.ts'
import type { Engine, Settlement, StoredMessage } from '../port/engine.ts'
import type { ExpiryRule } from './options.ts'
import type { DeadLetterQueueOf } from './snapshot.ts'

/** Messages in one step. */
const pageSize = 200
/** Messages in one round, a bound because messages come with their data. The next round goes on from there. */
const maxPeeked = 10_000
const leaseMs = 30_000

export interface ExpirerDependencies {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  readonly expire: readonly ExpiryRule[]
  readonly deadLetterQueueOf: DeadLetterQueueOf
  /** Asked before each step. */
  mayGoOn(): boolean
}

/** What becomes of expired messages of one queue. */
interface Rule extends Pick<ExpiryRule, 'expired'> {
  readonly deadLetterQueue: string | null
}

/** Ends expired messages in queues that nobody reads. A delayed message is ended once it is ready. */
export class Expirer {
  readonly #dependencies: ExpirerDependencies
  /** The position of the next round, by queue. */
  readonly #positions = new Map<string, string>()
  #expired = 0

  constructor(dependencies: ExpirerDependencies) {
    this.#dependencies = dependencies
  }

  /** Messages ended so far. */
  get expired(): number {
    return this.#expired
  }

  /** Goes through all queues once. A failure in one queue does not stop the others. */
  async run(): Promise<void> {
    const { engine, expire, logger, deadLetterQueueOf } = this.#dependencies
    if (expire.length === 0) return
    for (const { queue, settings } of await engine.describe(null)) {
      const found = expire.find(({ queues }) => matchesGlob(queues, queue))
      if (found === undefined) continue
      const rule = { expired: found.expired, deadLetterQueue: deadLetterQueueOf(queue, settings) }
      try {
        const count = await this.#expire(queue, rule)
        if (count > 0) logger.info({ queue, count, expired: rule.expired }, 'messages expired that nobody had read')
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) return
        if (!isTidingsError(error, 'QUEUE_NOT_FOUND'))
          logger.warn({ err: loggable(error), queue }, 'expired messages could not be ended; it is tried again later')
      }
    }
  }

  async #expire(queue: string, rule: Rule): Promise<number> {
    const { engine, clock } = this.#dependencies
    let count = 0
    for (let peeked = 0; peeked < maxPeeked && this.#dependencies.mayGoOn(); peeked += pageSize) {
      const afterId = this.#positions.get(queue) ?? null
      const page = await engine.peek(queue, { place: 'ready', limit: pageSize, afterId, ids: null })
      // A first filter by this clock; the storage's clock decides in the end.
      const due = page.filter((message) => (expiryOf(message) ?? Number.POSITIVE_INFINITY) <= clock.now())
      count += await this.#end(
        queue,
        rule,
        due.map(({ id }) => id),
      )
      if (page.length < pageSize) this.#positions.delete(queue)
      else this.#positions.set(queue, page.at(-1)!.id)
      if (page.length < pageSize) break
    }
    return count
  }

  /** Repeats the claim, because one claim gives only one message of an ordering key. */
  async #end(queue: string, rule: Rule, ids: readonly string[]): Promise<number> {
    const left = new Set(ids)
    let count = 0
    while (left.size > 0) {
      const { messages } = await this.#dependencies.engine.claim(queue, { limit: left.size, leaseMs, ids: [...left] })
      if (messages.length === 0) break
      for (const { id } of messages) left.delete(id)
      count += await this.#settle(queue, rule, messages)
    }
    return count
  }

  async #settle(queue: string, rule: Rule, messages: readonly StoredMessage[]): Promise<number> {
    const settlements = messages.map((message) => this.#settlementOf(queue, rule, message))
    const results = await this.#dependencies.engine.settle(queue, settlements)
    const ended = results.filter(({ settled }, index) => settled && settlements[index]!.kind !== 'release').length
    this.#expired += ended
    return ended
  }

  #settlementOf(queue: string, { expired, deadLetterQueue }: Rule, message: StoredMessage): Settlement {
    const { clock } = this.#dependencies
    const lease = { id: message.id, receipt: message.receipt! }
    const error = expiryError(message)
    if (error === null) return { ...lease, kind: 'release', delayMs: 0, meta: {}, uncount: true }
    if (expired === 'drop') return { ...lease, kind: 'delete' }
    const meta = deadLetterMeta(queue, message, error, clock.now())
    return { ...lease, ...deadLetterEnding(deadLetterQueue, meta) }
  }
}
