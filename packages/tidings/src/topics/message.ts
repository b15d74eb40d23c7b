import { fromJson, type JsonObject } from '../core/json.ts'
import { fromWireMeta, type MessageMeta } from '../port/meta.ts'
import type { TopicMessage } from '../port/topic-store.ts'

/** A message in a topic. `T` is the type of its data. */
export class PublishedMessage<T> {
  readonly topic: string
  readonly offset: number
  readonly data: T
  readonly meta: MessageMeta
  readonly headers: JsonObject
  readonly publishedAt: Date

  constructor(topic: string, stored: TopicMessage, data: T) {
    this.topic = topic
    this.offset = stored.offset
    this.data = data
    this.meta = fromWireMeta(stored.meta)
    this.headers = stored.headers
    this.publishedAt = new Date(stored.publishedAt)
  }
}

/** The data as stored, not checked against a schema. */
export const toPublished = (topic: string, stored: TopicMessage) =>
  new PublishedMessage<unknown>(topic, stored, fromJson(stored.data))

/** A message that a consumer of a subscription holds. */
export class ReceivedMessage<T> extends PublishedMessage<T> {
  readonly subscription: string
  /**
   * True if this consumer had the message before, and the subscription was moved back or lost meanwhile. Also true if the
   * previous consumer died while this message was the next. Messages that the dead consumer handled in its last 100 ms may
   * come again unmarked.
   */
  readonly redelivered: boolean

  constructor(subscription: string, redelivered: boolean, topic: string, stored: TopicMessage, data: T) {
    super(topic, stored, data)
    this.subscription = subscription
    this.redelivered = redelivered
  }
}

/** A message of `for await`. */
export class ConsumedMessage<T> extends ReceivedMessage<T> {
  readonly #ack: () => Promise<boolean>

  constructor(received: ReceivedMessage<T>, stored: TopicMessage, ack: () => Promise<boolean>) {
    super(received.subscription, received.redelivered, received.topic, stored, received.data)
    this.#ack = ack
  }

  /**
   * Moves the subscription past this message and all before it.
   * @returns false, without any change, if this consumer lost the subscription or it was moved meanwhile
   * @example for await (const message of news.consume('payroll')) await message.ack()
   */
  ack(): Promise<boolean> {
    return this.#ack()
  }
}
