import type * as option from '../core/options.ts'
import type { BusDependencies } from '../messages/access.ts'
import { type KnownSettings, limitAgeMs } from '../messages/known-settings.ts'
import { defaultLeaseMs, messageBytesOption, type queueOptions } from '../messages/options.ts'
import type { Outgoing } from '../messages/prepare.ts'
import type { QueueSettings } from '../messages/settings.ts'
import { stricter } from '../messages/terms.ts'
import type { SendTerms } from '../port/engine.ts'
import { storedDeadLetterQueue } from './dead-letter-paths.ts'

type QueueOptionValues = option.OptionsOutput<typeof queueOptions>

interface Rules {
  readonly known: QueueSettings | undefined
  readonly outgoing: Outgoing
  readonly terms: SendTerms
  readonly deadLetterQueue: string | null
}

/**
 * What holds for a queue at the moment: what its options say in this process, else what is stored for it, else what Tidings takes.
 * Of limits the stricter one holds.
 */
export class QueueRules {
  readonly #name: string
  readonly #own: QueueOptionValues
  readonly #settings: KnownSettings
  readonly #base: Omit<Outgoing, 'maxMessageBytes' | 'ttlMs' | 'delayMs'>
  #last: Rules | undefined

  constructor(
    name: string,
    own: QueueOptionValues,
    settings: KnownSettings,
    { clock, telemetry }: Pick<BusDependencies, 'clock' | 'telemetry'>,
  ) {
    this.#name = name
    this.#own = own
    this.#settings = settings
    this.#base = {
      queue: name,
      destination: `queue '${name}'`,
      routingKey: null,
      schema: own.schema,
      serializer: own.serializer,
      bare: own.envelope === 'none',
      now: () => clock.now(),
      origin: () => telemetry.origin(),
    }
  }

  /** What holds for a message that is sent now. */
  get outgoing(): Outgoing {
    const settings = this.#settings.latest(limitAgeMs)
    if (!(settings instanceof Promise)) return this.#rules.outgoing
    const { maxMessageBytes, ttl } = this.#own
    const pending = settings.then(() => this.#rules.outgoing)
    // The data may be refused before.
    pending.catch(() => {})
    return {
      ...this.#base,
      maxMessageBytes: maxMessageBytes ?? messageBytesOption.defaultValue,
      ttlMs: ttl,
      delayMs: 0,
      pending,
    }
  }

  /** As far as is known. */
  get terms(): SendTerms {
    return this.#rules.terms
  }

  /** As far as is known. */
  get deadLetterQueue(): string | null {
    return this.#rules.deadLetterQueue
  }

  /** @param settings that are stored for the queue */
  deadLetterQueueIn(settings: Pick<QueueSettings, 'deadLetter'>): string | null {
    const { deadLetter } = this.#own
    return deadLetter === null ? storedDeadLetterQueue(this.#name, settings) : deadLetter || null
  }

  /** Where the settings are not known yet, reads them. @throws as `KnownSettings.latest` */
  async ready(): Promise<void> {
    await this.#settings.latest()
  }

  /** @param given by the reader; null: the queue says it */
  async leaseMs(given: number | null): Promise<number> {
    await this.ready()
    return given ?? this.#settings.known?.lease ?? defaultLeaseMs
  }

  /** Worked out anew only when the settings were read anew. */
  get #rules(): Rules {
    const { known } = this.#settings
    if (this.#last === undefined || this.#last.known !== known) this.#last = this.#workOut(known)
    return this.#last
  }

  #workOut(known: QueueSettings | undefined): Rules {
    const { maxMessageBytes, ttl, maxLength, durability } = this.#own
    const stored = known ?? {}
    const sizes = [maxMessageBytes, stored.maxMessageBytes].filter((size) => size != null)
    return {
      known,
      outgoing: {
        ...this.#base,
        maxMessageBytes: sizes.length > 0 ? Math.min(...sizes) : messageBytesOption.defaultValue,
        ttlMs: ttl ?? stored.ttl ?? null,
        delayMs: stored.delay ?? 0,
      },
      terms: stricter(
        { maxLength: maxLength ?? undefined, durability: durability === 'fsync' ? durability : undefined },
        { maxLength: stored.maxLength },
      ),
      deadLetterQueue: this.deadLetterQueueIn(stored),
    }
  }
}
