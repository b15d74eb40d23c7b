import { legacySubscribersTopic } from '../core/names.ts'
import type * as option from '../core/options.ts'
import type { BusDependencies } from '../messages/access.ts'
import { type Page, readPage } from '../messages/pages.ts'
import { admit, type Composed, type Outgoing } from '../messages/prepare.ts'
import type { Engine } from '../port/engine.ts'
import type { Interest } from '../port/listening.ts'
import type {
  AppendResult,
  Hold,
  Position,
  SeekMove,
  SubscriptionState,
  TopicInfo,
  TopicMessage,
  TopicSettings,
  TopicStore,
} from '../port/topic-store.ts'
import { fetchNext } from '../subscription/fetch.ts'
import { topicsOf } from '../topics/missing-topic.ts'
import type { topicOptions } from '../topics/options.ts'

/** All, by name, without those that Tidings made for itself. @throws UNSUPPORTED for an engine without topics */
export async function listTopics(engine: Engine): Promise<TopicInfo[]> {
  const topics = await topicsOf(engine).listTopics(null)
  return topics.filter(({ topic }) => topic !== legacySubscribersTopic)
}

type TopicOptionValues = option.OptionsOutput<typeof topicOptions>

/** A topic in the forms of the storage, as `StoredQueue` is a queue. */
export class StoredTopic {
  readonly name: string
  /** What holds for all messages that this topic takes. */
  readonly outgoing: Outgoing
  readonly #store: TopicStore

  readonly #dependencies: BusDependencies

  /** @throws UNSUPPORTED for an engine without topics */
  constructor(name: string, settings: TopicOptionValues, dependencies: BusDependencies) {
    this.name = name
    this.#store = topicsOf(dependencies.engine)
    this.#dependencies = dependencies
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
      delayMs: 0,
      now: () => dependencies.clock.now(),
      origin: () => dependencies.telemetry.origin(),
    }
  }

  /** Stores what another process has composed, all or none, in its order. @throws what `admit` throws */
  async append(composed: readonly Composed[]): Promise<AppendResult[]> {
    const messages = await Promise.all(composed.map((one) => admit(one, this.outgoing)))
    return this.#store.append(this.name, messages, null)
  }

  /** What to watch for. */
  get interest(): Interest {
    return `topic:${this.name}`
  }

  create(settings: TopicSettings): Promise<boolean> {
    return this.#store.createTopic(this.name, settings)
  }

  /** @throws TOPIC_NOT_FOUND */
  async info(): Promise<TopicInfo> {
    return (await this.#store.listTopics(this.name))[0]!
  }

  /** @param other what leads here, or where this leads */
  bind(other: { readonly pattern: string } | { readonly queue: string }): Promise<boolean> {
    return this.#dependencies.engine.bind({ topic: this.name, ...other })
  }

  unbind(other: { readonly pattern: string } | { readonly queue: string }): Promise<boolean> {
    return this.#dependencies.engine.unbind({ topic: this.name, ...other })
  }

  /** Messages after the offset, as many as fit into one answer. */
  readPage(after: number, limit: number): Promise<Page<TopicMessage>> {
    return readPage<TopicMessage>(limit, (count, last) => this.#store.read(this.name, last?.offset ?? after, count))
  }

  subscriptions(): Promise<SubscriptionState[]> {
    return this.#store.subscriptions(this.name, null)
  }

  /** Moves all subscriptions. @returns how many */
  seek(position: Position): Promise<number> {
    return this.#store.seek(this.name, null, position)
  }

  planSeek(position: Position): Promise<SeekMove[]> {
    return this.#store.planSeek(this.name, null, position)
  }

  subscription(name: string): StoredSubscription {
    return new StoredSubscription(this, name, this.#store, this.#dependencies)
  }
}

/** A subscription in the forms of the storage. */
export class StoredSubscription {
  readonly topic: StoredTopic
  readonly name: string
  readonly #store: TopicStore
  readonly #dependencies: BusDependencies

  constructor(topic: StoredTopic, name: string, store: TopicStore, dependencies: BusDependencies) {
    this.topic = topic
    this.name = name
    this.#store = store
    this.#dependencies = dependencies
  }

  /** @throws SUBSCRIPTION_NOT_FOUND */
  async state(): Promise<SubscriptionState> {
    return (await this.#store.subscriptions(this.topic.name, this.name))[0]!
  }

  create(from: Position): Promise<boolean> {
    return this.#store.subscribe(this.topic.name, this.name, from)
  }

  delete(): Promise<boolean> {
    return this.#store.unsubscribe(this.topic.name, this.name)
  }

  /** The next messages, as many as fit into one answer. */
  fetchPage(limit: number, patience: { waitMs: number; signal: AbortSignal }): Promise<Page<TopicMessage>> {
    const source = { ...this.#dependencies, store: this.#store, topic: this.topic.name, name: this.name }
    return fetchNext(source, patience, (cursor) => this.topic.readPage(cursor, limit))
  }

  hold(consumer: string, leaseMs: number): Promise<Hold> {
    return this.#store.hold(this.topic.name, this.name, consumer, leaseMs)
  }

  leave(receipt: string): Promise<boolean> {
    return this.#store.leave(this.topic.name, this.name, receipt)
  }

  ack(offset: number, receipt: string | null): Promise<boolean> {
    return this.#store.ack(this.topic.name, this.name, offset, receipt)
  }

  seek(position: Position): Promise<number> {
    return this.#store.seek(this.topic.name, this.name, position)
  }

  planSeek(position: Position): Promise<SeekMove[]> {
    return this.#store.planSeek(this.topic.name, this.name, position)
  }
}
