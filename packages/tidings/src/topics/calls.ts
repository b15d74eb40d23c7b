import { isTidingsError } from '../core/errors.ts'
import { Batcher } from '../messages/batcher.ts'
import type { NewMessage } from '../port/engine.ts'
import { type Limits, sizeOf } from '../port/limits.ts'
import type { AppendResult, TopicSettings, TopicStore } from '../port/topic-store.ts'

/** The calls of one process for one topic, grouped so that single messages share a call. */
export class TopicCalls {
  readonly #store: TopicStore
  readonly #topic: string
  readonly #appends: Batcher<NewMessage, AppendResult>
  #ensured = false
  #creating: Promise<unknown> | undefined

  constructor(storage: { readonly limits: Limits }, store: TopicStore, topic: string) {
    this.#store = store
    this.#topic = topic
    this.#appends = new Batcher((messages) => store.append(topic, messages, null), storage, sizeOf)
  }

  get isBusy(): boolean {
    return this.#creating !== undefined || this.#appends.isBusy
  }

  async idle(): Promise<void> {
    await this.#creating?.catch(() => {})
    await this.#appends.idle()
  }

  append(message: NewMessage): Promise<AppendResult> {
    return this.#appends.add(message)
  }

  /** Creates the topic once for all callers that found it missing at the same time, so that they keep their order. */
  async createMissing(settings: TopicSettings): Promise<void> {
    this.#creating ??= this.#store.createTopic(this.#topic, settings).finally(() => {
      this.#creating = undefined
    })
    await this.#creating
    this.#ensured = true
  }

  /** Creates the topic if it is missing; asks the storage only the first time. */
  async ensure(settings: TopicSettings): Promise<void> {
    if (this.#ensured) return
    try {
      // Creating an existing topic would replace its settings.
      await this.#store.listTopics(this.#topic)
      this.#ensured = true
    } catch (error) {
      if (!isTidingsError(error, 'TOPIC_NOT_FOUND')) throw error
      await this.createMissing(settings)
    }
  }

  /** Called when the topic may be gone. */
  forget(): void {
    this.#ensured = false
  }
}
