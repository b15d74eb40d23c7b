import * as option from '../core/options.ts'
import type { Position, SubscriptionState, TopicMessage } from '../port/topic-store.ts'
import { PublishedMessage } from '../topics/message.ts'
import { withNearestTopic } from '../topics/missing-topic.ts'
import {
  type CreateSubscriptionOptions,
  checkOffset,
  createSubscriptionOptions,
  type FetchOptions,
  fetchOptions,
  type PositionInput,
  parsePosition,
} from '../topics/options.ts'
import type { SubscriptionAccess } from './access.ts'
import { fetchNext } from './fetch.ts'

/** A named, durable cursor on a topic. `T` is the type of the data. */
export class Subscription<T = unknown> {
  readonly topic: string
  readonly name: string
  readonly #access: SubscriptionAccess<T>

  constructor(access: SubscriptionAccess<T>) {
    this.topic = access.topic
    this.name = access.name
    this.#access = access
  }

  /** Creates it, and the topic if that is missing and may be created. @returns false if it was there: it stays as it is */
  async create(options?: CreateSubscriptionOptions): Promise<boolean> {
    const { from } = option.parseOptions(createSubscriptionOptions, options, 'create')
    return this.#existing(() => this.#access.ensure(from))
  }

  /** @returns false if there was none */
  delete(): Promise<boolean> {
    return this.#existing(() => this.#access.store.unsubscribe(this.topic, this.name))
  }

  /** How far it has read, and who reads it. @throws SUBSCRIPTION_NOT_FOUND */
  state(): Promise<SubscriptionState> {
    return this.#existing(async () => (await this.#access.store.subscriptions(this.topic, this.name))[0]!)
  }

  /**
   * The messages after the cursor, which stays where it is: the same come again until `ack`. Nobody is kept from doing
   * the same meanwhile; where that matters, use `consume` or `subscribe`.
   * @throws BODY_INVALID if the schema refuses the first, with its offset in `details`; those before another are
   *   returned. SUBSCRIPTION_NOT_FOUND
   */
  async fetch(options?: FetchOptions): Promise<PublishedMessage<T>[]> {
    const { limit, wait, signal } = option.parseOptions(fetchOptions, options, 'fetch')
    const read = async (cursor: number) => {
      return { messages: await this.#access.store.read(this.topic, cursor, limit), more: false }
    }
    return this.#existing(async () => {
      const { messages } = await fetchNext(this.#access, { waitMs: wait, signal }, read)
      return this.#decodeAll(messages)
    })
  }

  /**
   * Moves the cursor forward to the offset: it and all before it are read. Never back, and never past the end.
   * @throws SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   */
  async ack(offset: number): Promise<void> {
    checkOffset(offset, 'offset')
    await this.#existing(() => this.#access.store.ack(this.topic, this.name, offset, null))
  }

  /**
   * Moves the cursor, so that the next message to be read is that of the offset, the first one of the time, the first
   * that is there or the next new one. A consumer that is at work goes on from there.
   * @throws SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   */
  async seek(position: PositionInput): Promise<void> {
    await this.#move(parsePosition(position, 'position'))
  }

  /** Moves the cursor back, so that so many messages are read again. @throws SUBSCRIPTION_NOT_FOUND; TYPE, RANGE */
  async rollBack(count: number): Promise<void> {
    await this.#move({ back: checkOffset(count, 'count') })
  }

  async #move(position: Position): Promise<void> {
    await this.#existing(() => this.#access.store.seek(this.topic, this.name, position))
  }

  async #decodeAll(stored: readonly TopicMessage[]): Promise<PublishedMessage<T>[]> {
    const messages: PublishedMessage<T>[] = []
    for (const one of stored) {
      try {
        messages.push(new PublishedMessage(this.topic, one, await this.#access.decode(one)))
      } catch (error) {
        if (messages.length === 0) throw error
        break
      }
    }
    return messages
  }

  #existing<R>(call: () => Promise<R>): Promise<R> {
    return withNearestTopic(this.#access.store, { topic: this.topic, subscription: this.name }, call)
  }
}
