import type * as option from '../core/options.ts'
import { admit, type Composed, type Outgoing } from '../messages/prepare.ts'
import type { AppendResult, TopicStore } from '../port/topic-store.ts'
import type { topicOptions } from '../topics/options.ts'

type TopicSettings = option.OptionsOutput<typeof topicOptions>

/** A topic in the forms of the storage, as `StoredQueue` is a queue. */
export class StoredTopic {
  readonly name: string
  /** What holds for all messages that this topic takes. */
  readonly outgoing: Outgoing
  readonly #store: TopicStore

  constructor(name: string, settings: TopicSettings, store: TopicStore, now: () => number) {
    this.name = name
    this.#store = store
    const { schema, serializer, maxMessageBytes } = settings
    this.outgoing = {
      queue: null,
      destination: `topic '${name}'`,
      routingKey: null,
      schema,
      serializer,
      maxMessageBytes,
      bare: false,
      ttlMs: null,
      now,
    }
  }

  /** Stores what another process has composed, all or none, in its order. @throws what `admit` throws */
  async append(composed: readonly Composed[]): Promise<AppendResult[]> {
    const messages = await Promise.all(composed.map((one) => admit(one, this.outgoing)))
    return this.#store.append(this.name, messages, null)
  }
}
