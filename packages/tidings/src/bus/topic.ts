import { dated } from '../core/dated.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import { checkQueueName, checkSubscriptionName, checkTopicName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { validate } from '../core/schema.ts'
import { unpack } from '../core/serializer.ts'
import type { BusDependencies } from '../messages/access.ts'
import { withNearestName } from '../messages/missing-queue.ts'
import { type SendEntry, type TxOptions, txOption } from '../messages/options.ts'
import { checkTransactions, prepare, prepareBatch } from '../messages/prepare.ts'
import type { Engine, NewMessage, Transaction } from '../port/engine.ts'
import type { AppendResult, Position, SeekMove, TopicMessage, TopicSettings, TopicStore } from '../port/topic-store.ts'
import type { Running, SubscriptionAccess } from '../subscription/access.ts'
import { TopicConsumer } from '../subscription/consumer.ts'
import type { SubscriptionHandler } from '../subscription/handler.ts'
import type { SubscribeOptions, TopicConsumeOptions } from '../subscription/options.ts'
import { Subscriber } from '../subscription/subscriber.ts'
import { Subscription } from '../subscription/subscription.ts'
import type { TopicCalls } from '../topics/calls.ts'
import { type ConsumedMessage, type PublishedMessage, toPublished } from '../topics/message.ts'
import { topicsOf, withNearestTopic } from '../topics/missing-topic.ts'
import {
  type PositionInput,
  parsePosition,
  type SeekOptions,
  seekOptions,
  type TopicOptions,
  type TopicPublishOptions,
  type TopicReadOptions,
  topicOptions,
  topicPublishOptions,
  topicReadOptions,
} from '../topics/options.ts'
import type { SubscriptionState, TopicInfo } from '../topics/states.ts'
import { Iteration } from '../worker/iteration.ts'
import type { QueueOrName } from './publisher.ts'
import { StoredTopic } from './stored-topic.ts'

/** What a topic gets from its bus. */
export interface TopicDependencies extends BusDependencies {
  /** The calls of a topic, which all its users in this process share, so that they travel in batches. */
  topicCallsOf(store: TopicStore, topic: string): TopicCalls
  /** Tells the bus of what runs, so that closing the bus stops it. @throws CLOSED */
  adopt(running: Running): void
}

/**
 * A named log. Every subscription has a cursor of its own and gets all messages, in their order.
 * `In` is the type of the data to publish, `Out` that of the data read; they differ where the schema transforms.
 */
export class Topic<In = unknown, Out = In> {
  readonly name: string
  /** Tells it from a queue where either may be given. */
  readonly kind = 'topic'
  readonly #options: option.OptionsOutput<typeof topicOptions>
  readonly #dependencies: TopicDependencies
  readonly #engine: Engine
  readonly #store: TopicStore
  readonly #calls: TopicCalls
  /** The same in the forms of the storage. */
  readonly stored: StoredTopic

  /** @throws UNSUPPORTED for an engine without topics; TOPIC_NAME_INVALID, TYPE and the like */
  constructor(name: string, options: TopicOptions | undefined, dependencies: TopicDependencies) {
    this.name = checkTopicName(name)
    this.#options = option.parseOptions(topicOptions, options, 'topic')
    this.#dependencies = dependencies
    this.#engine = dependencies.engine
    this.#store = topicsOf(this.#engine)
    this.#calls = dependencies.topicCallsOf(this.#store, name)
    this.stored = new StoredTopic(name, this.#options, dependencies)
  }

  /**
   * Creates the topic. One that is there gets the description and the retention, where they are given.
   * @returns true if it was created now
   * @example await news.create()
   */
  create(): Promise<boolean> {
    return this.#store.createTopic(this.name, this.#settings())
  }

  /**
   * Removes the topic, its messages and its subscriptions. @returns false if there was none
   * @example await news.drop()
   */
  drop(): Promise<boolean> {
    this.#calls.forget()
    return this.#store.dropTopic(this.name)
  }

  /**
   * @throws TOPIC_NOT_FOUND
   * @example const { lastOffset } = await news.info()
   */
  info(): Promise<TopicInfo> {
    return this.#existing(async () => dated((await this.#store.listTopics(this.name))[0]!))
  }

  /**
   * Puts one message at the end. Messages published in the same tick travel together.
   * @returns its offset, once it is stored for good; null with `tx`, since it gets one when that commits. A duplicate
   *   has the offset of the first message of its dedup id.
   * @throws BODY_NOT_JSON and other errors of the input, before anything is stored; OUTCOME_UNKNOWN if the connection
   *   broke before the answer came
   * @example const { offset } = await news.publish({ title: 'Open' })
   */
  async publish(data: In, options?: TopicPublishOptions): Promise<AppendResult> {
    const { tx, ...parsed } = option.parseOptions(topicPublishOptions, options, 'publish')
    // Awaiting only what is asynchronous keeps messages of one tick in their order.
    const prepared = prepare(data, parsed, this.stored.outgoing)
    const message = prepared instanceof Promise ? await prepared : prepared
    if (tx) return (await this.#appendWithin(tx, [message]))[0]!
    return this.#creating(() => this.#calls.append(message))
  }

  /**
   * Puts up to 10,000 messages at the end, in their order: all or none.
   * @example await news.publishBatch([{ data: { title: 'Open' } }, { data: { title: 'Closed' } }])
   */
  async publishBatch(entries: readonly SendEntry<In>[], options?: TxOptions): Promise<AppendResult[]> {
    const { tx } = option.parseOptions(txOption, options, 'publishBatch')
    const messages = await prepareBatch(entries, 'publishBatch', this.stored.outgoing)
    if (tx) return this.#appendWithin(tx, messages)
    return this.#creating(() => this.#store.append(this.name, messages, null))
  }

  /**
   * Looks at messages, by offset, without changing anything. The data is as stored, not checked against the schema.
   * @example const firsts = await news.read({ after: 0, limit: 10 })
   */
  async read(options?: TopicReadOptions): Promise<PublishedMessage<unknown>[]> {
    const { after, limit } = option.parseOptions(topicReadOptions, options, 'read')
    const stored = await this.#existing(() => this.#store.read(this.name, after, limit))
    return stored.map((message) => toPublished(this.name, message))
  }

  /**
   * A subscription by its name. Touches the storage only when it is used. @throws SUBSCRIPTION_NAME_INVALID
   * @example const { lag } = await news.subscription('payroll').state()
   */
  subscription(name: string): Subscription<Out> {
    return new Subscription(this.#access(name))
  }

  /**
   * All subscriptions, by name.
   * @example for (const { subscription, lag } of await news.subscriptions()) console.log(subscription, lag)
   */
  subscriptions(): Promise<SubscriptionState[]> {
    return this.#existing(async () => (await this.#store.subscriptions(this.name, null)).map(dated))
  }

  /**
   * Starts a consumer that calls the handler for every message, in order. Creates the subscription if it is missing.
   * @example const subscriber = news.subscribe('payroll', ({ data }) => console.log(data), { from: 'earliest' })
   */
  subscribe(subscription: string, handler: SubscriptionHandler<Out>, options?: SubscribeOptions): Subscriber<Out> {
    const subscriber = new Subscriber(this.#access(subscription), handler, options)
    this.#dependencies.adopt(subscriber)
    void subscriber.start()
    return subscriber
  }

  /**
   * Messages one after the other, for `for await`. The subscription, which is created if it is missing, passes a
   * message when the loop asks for the next one; it does not pass the one at hand when the loop ends by `break` or an
   * error.
   * @example for await (const message of news.consume('payroll')) console.log(message.offset)
   */
  consume(subscription: string, options?: TopicConsumeOptions): Iteration<ConsumedMessage<Out>> {
    return new Iteration(new TopicConsumer(this.#access(subscription), options))
  }

  /**
   * Moves all subscriptions, or one; `seek(0)` begins again at the first message that is there.
   * @returns how many were moved
   * @throws TOPIC_NOT_FOUND, SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   * @example await news.seek(0, { subscription: 'payroll' })
   */
  async seek(position: PositionInput, options?: SeekOptions): Promise<number> {
    const parsed = parsePosition(position, 'position')
    const { subscription } = option.parseOptions(seekOptions, options, 'seek')
    if (subscription === null) return this.#existing(() => this.#store.seek(this.name, null, parsed))
    await this.subscription(subscription).seek(position)
    return 1
  }

  /**
   * What the same call of `seek` would do, and moves nothing.
   * @returns for each subscription by name its cursor: from where to where
   * @throws TOPIC_NOT_FOUND, SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   * @example for (const { subscription, to } of await news.planSeek('earliest')) console.log(subscription, to)
   */
  async planSeek(position: PositionInput, options?: SeekOptions): Promise<SeekMove[]> {
    const parsed = parsePosition(position, 'position')
    const { subscription } = option.parseOptions(seekOptions, options, 'planSeek')
    return this.#existing(() => this.#store.planSeek(this.name, subscription, parsed))
  }

  /**
   * From now on, what the topic takes goes into the queue too, where many can work on it at a time.
   * @returns true if it was bound now
   * @throws QUEUE_NOT_FOUND
   * @example await news.bind('newsletters')
   */
  async bind(queue: QueueOrName): Promise<boolean> {
    const rule = { topic: this.name, queue: nameOf(queue) }
    return withNearestName(this.#engine, rule.queue, () => this.#creating(() => this.#engine.bind(rule)))
  }

  /**
   * @returns false if it was not bound
   * @example await news.unbind('newsletters')
   */
  async unbind(queue: QueueOrName): Promise<boolean> {
    const rule = { topic: this.name, queue: nameOf(queue) }
    return withNearestName(this.#engine, rule.queue, () => this.#existing(() => this.#engine.unbind(rule)))
  }

  #settings(): TopicSettings {
    const { description, retention } = this.#options
    return { ...(description === null ? {} : { description }), ...(retention === null ? {} : { retention }) }
  }

  #access(subscription: string): SubscriptionAccess<Out> {
    const name = checkSubscriptionName(subscription)
    const { engine, telemetry, wakeups, life, clock, logger } = this.#dependencies
    return {
      topic: this.name,
      name,
      engine,
      telemetry,
      wakeups,
      life,
      store: this.#store,
      clock,
      logger,
      ensure: (from: Position) => this.#creating(() => this.#store.subscribe(this.name, name, from)),
      decode: (stored) => this.#decode(stored),
      adopt: (running) => this.#dependencies.adopt(running),
    }
  }

  #decode(stored: TopicMessage): Out | Promise<Out> {
    const { schema, serializer } = this.#options
    const what = `data of message ${stored.offset} in topic '${this.name}'`
    try {
      const data = unpack(stored, serializer, what)
      if (!schema) return data as Out
      const checked = validate(schema, data, what)
      return (checked instanceof Promise ? checked.catch((error) => this.#refuse(stored, error)) : checked) as Out
    } catch (error) {
      return this.#refuse(stored, error)
    }
  }

  #refuse({ offset }: TopicMessage, error: unknown): never {
    if (!isTidingsError(error, 'BODY_INVALID')) throw error
    const details = { ...error.details, topic: this.name, offset }
    throw new TidingsError(error.code, error.message, { details })
  }

  /** Creates the topic and tries again where it is missing and may be created. */
  async #creating<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      if (!isTidingsError(error, 'TOPIC_NOT_FOUND')) throw error
      if (!this.#options.create) return this.#existing(() => Promise.reject(error))
      await this.#calls.createMissing(this.#settings())
      return call()
    }
  }

  /** A failed statement would spoil the application's transaction, so the topic is made sure of before. */
  async #appendWithin(tx: Transaction, messages: NewMessage[]): Promise<AppendResult[]> {
    checkTransactions(this.#engine)
    if (this.#options.create) await this.#calls.ensure(this.#settings())
    try {
      return await this.#existing(() => this.#store.append(this.name, messages, tx))
    } catch (error) {
      // It was dropped by somebody else; the next transaction finds it again.
      if (isTidingsError(error, 'TOPIC_NOT_FOUND')) this.#calls.forget()
      throw error
    }
  }

  #existing<T>(call: () => Promise<T>): Promise<T> {
    return withNearestTopic(this.#store, { topic: this.name }, call)
  }
}

const nameOf = (queue: QueueOrName) => checkQueueName(typeof queue === 'string' ? queue : queue?.name)
