import { fromJson, type JsonObject } from '../core/json.ts'
import { fromWireMeta, type MessageMeta } from '../messages/message.ts'
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

/** A message in the hands of a consumer of a subscription. */
export class ReceivedMessage<T> extends PublishedMessage<T> {
  readonly subscription: string
  /**
   * Whether this consumer was given the message before, since the subscription was moved back or the hold of it was lost
   * meanwhile; or the consumer before went away without leaving while this message was the next. Of what that one did
   * with others in the 100 ms before, nobody knows.
   */
  readonly redelivered: boolean

  constructor(subscription: string, redelivered: boolean, topic: string, stored: TopicMessage, data: T) {
    super(topic, stored, data)
    this.subscription = subscription
    this.redelivered = redelivered
  }
}

/** What `for await` gives. */
export class ConsumedMessage<T> extends ReceivedMessage<T> {
  readonly #ack: () => Promise<boolean>

  constructor(received: ReceivedMessage<T>, stored: TopicMessage, ack: () => Promise<boolean>) {
    super(received.subscription, received.redelivered, received.topic, stored, received.data)
    this.#ack = ack
  }

  /**
   * Moves the subscription past this message, and with it past all before it.
   * @returns false if the subscription is no longer this consumer's, or was moved meanwhile; nothing was changed then
   */
  ack(): Promise<boolean> {
    return this.#ack()
  }
}
