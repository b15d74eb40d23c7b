import { TidingsError } from '../core/errors.ts'
import type * as option from '../core/options.ts'
import type { queueOptions } from '../messages/options.ts'
import { admit, type Composed, type Outgoing } from '../messages/prepare.ts'
import type { Engine, SendResult, SendTerms, Transaction } from '../port/engine.ts'

export type QueueSettings = option.OptionsOutput<typeof queueOptions>

/**
 * A queue in the forms of the storage: `Queue` gives them types, and the HTTP server passes them on. What the queue's
 * options say holds for both. Where the queue is missing, no other name is told: the caller may not know it.
 */
export class StoredQueue {
  readonly name: string
  /** What holds for all messages that this queue is sent. */
  readonly outgoing: Outgoing
  readonly terms: SendTerms
  readonly #settings: QueueSettings
  readonly #engine: Engine

  constructor(name: string, settings: QueueSettings, engine: Engine, now: () => number) {
    this.name = name
    this.#settings = settings
    this.#engine = engine
    const { schema, serializer, maxMessageBytes, envelope, ttl, maxLength, durability } = settings
    this.outgoing = {
      queue: name,
      destination: `queue '${name}'`,
      routingKey: null,
      schema,
      serializer,
      maxMessageBytes,
      bare: envelope === 'none',
      ttlMs: ttl,
      now,
    }
    this.terms = { maxLength: maxLength ?? undefined, durability: durability === 'fsync' ? durability : undefined }
  }

  /**
   * Stores what another process has composed, all or none, in its order.
   * @param terms of the sender; the stricter ones hold, these or the queue's
   * @throws TRANSACTION_REQUIRED; what `admit` throws
   */
  async send(composed: readonly Composed[], terms: SendTerms): Promise<SendResult[]> {
    this.checkTransaction(null)
    const messages = await Promise.all(composed.map((one) => admit(one, this.outgoing)))
    return this.#engine.send(this.name, messages, null, stricter(this.terms, terms))
  }

  /** @throws TRANSACTION_REQUIRED */
  checkTransaction(tx: Transaction | null): void {
    if (tx === null && this.#settings.requireTransaction)
      throw new TidingsError('TRANSACTION_REQUIRED', `queue '${this.name}' takes messages only within a transaction`, {
        details: { queue: this.name },
      })
  }
}

function stricter(one: SendTerms, other: SendTerms): SendTerms {
  const lengths = [one.maxLength, other.maxLength].filter((length) => length !== undefined)
  return {
    maxLength: lengths.length > 0 ? Math.min(...lengths) : undefined,
    durability: one.durability ?? other.durability,
  }
}
