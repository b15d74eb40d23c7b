import { dated } from '../core/dated.ts'
import * as option from '../core/options.ts'
import type { Position, TopicMessage } from '../port/topic-store.ts'
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
import type { SubscriptionState } from '../topics/states.ts'
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

  /**
   * Creates the subscription, and the topic if that is missing and may be created. @returns false if it existed: it is not changed
   * @example await news.subscription('payroll').create({ from: 'latest' })
   */
  async create(options?: CreateSubscriptionOptions): Promise<boolean> {
    const { from } = option.parseOptions(createSubscriptionOptions, options, 'create')
    return this.#existing(() => this.#access.ensure(from))
  }

  /**
   * @returns false if the subscription did not exist
   * @example await news.subscription('payroll').delete()
   */
  delete(): Promise<boolean> {
    return this.#existing(() => this.#access.store.unsubscribe(this.topic, this.name))
  }

  /**
   * The cursor, the lag and the current consumer. @throws SUBSCRIPTION_NOT_FOUND
   * @example const { cursor, lag } = await news.subscription('payroll').state()
   */
  state(): Promise<SubscriptionState> {
    return this.#existing(async () => dated((await this.#access.store.subscriptions(this.topic, this.name))[0]!))
  }

  /**
   * The messages after the cursor. The cursor stays: the same messages come again until `ack`. Other callers may fetch the
   * same messages meanwhile; `consume` and `subscribe` exclude that.
   * @throws BODY_INVALID if the schema refuses the first message, with its offset in `details`; if it refuses a later one,
   *   the messages before that are returned. SUBSCRIPTION_NOT_FOUND
   * @example const messages = await news.subscription('payroll').fetch({ limit: 10 })
   */
  async fetch(options?: FetchOptions): Promise<PublishedMessage<T>[]> {
    const { limit, wait, signal } = option.parseOptions(fetchOptions, options, 'fetch')
    const read = async (cursor: number) => {
      return { messages: await this.#access.store.read(this.topic, cursor, limit), more: false }
    }
    return this.#existing(async () => {
      const { messages } = await fetchNext(this.#access, { waitMs: wait, signal }, read)
      const { topic: destination, name: subscription, telemetry } = this.#access
      telemetry.received({ destination, subscription }, messages)
      return this.#decodeAll(messages)
    })
  }

  /**
   * Moves the cursor forward to the offset: the message there and all before it count as read. Never back, never past the end.
   * @throws SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   * @example await news.subscription('payroll').ack(17)
   */
  async ack(offset: number): Promise<void> {
    checkOffset(offset, 'offset')
    await this.#existing(() => this.#access.store.ack(this.topic, this.name, offset, null))
  }

  /**
   * Moves the cursor. The next message read is the one at the offset, the first at or after the time, the earliest or the
   * next new one. A running consumer goes on from there.
   * @throws SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   * @example await news.subscription('payroll').seek('earliest')
   */
  async seek(position: PositionInput): Promise<void> {
    await this.#move(parsePosition(position, 'position'))
  }

  /**
   * Moves the cursor back by `count` messages, which are read again. @throws SUBSCRIPTION_NOT_FOUND; TYPE, RANGE
   * @example await news.subscription('payroll').rollBack(10)
   */
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
