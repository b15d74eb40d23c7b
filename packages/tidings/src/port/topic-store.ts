import type { JsonObject } from '../core/json.ts'
import type { NewMessage, Transaction } from './types.ts'

/**
 * The part of the port for topics; an engine with the feature 'topics' has it as `topics`. Its rules are those of
 * `Engine`. A topic that does not exist is TOPIC_NOT_FOUND, a subscription that does not exist
 * SUBSCRIPTION_NOT_FOUND. Queues, topics and the subscriptions of one topic have their names apart from each other.
 *
 * Offsets are whole numbers: the first message of a topic has 1, and every further one the next number, without gaps.
 * A message has its offset from the moment in which readers can see it, so that nobody who has read up to an offset
 * can have passed over a message before it, however late its transaction committed. Nobody who publishes waits for an
 * open transaction of somebody else.
 */
export interface TopicStore {
  /**
   * Creates what is missing. Settings that are given replace those of a topic that is there.
   * @returns true if it was created now
   */
  createTopic(topic: string, settings: TopicSettings): Promise<boolean>
  /** Removes the topic with its messages, subscriptions and rules. @returns false if there was none */
  dropTopic(topic: string): Promise<boolean>
  /** All topics, or only the one that is named, by name in the order of bytes. */
  listTopics(topic: string | null): Promise<TopicInfo[]>

  /**
   * Puts messages at the end of the topic, in their order. A duplicate, of an earlier one in the batch too, is stored
   * nowhere, neither in linked queues. Priority, ordering key, delay and target are for the copies in linked queues;
   * the topic has the message at once.
   * @param transaction as for `Engine.send`
   */
  append(topic: string, messages: readonly NewMessage[], transaction: Transaction | null): Promise<AppendResult[]>
  /** Messages with an offset above `after`, ascending. Changes nothing. */
  read(topic: string, after: number, limit: number): Promise<TopicMessage[]>

  /** Creates the subscription at the position if it is missing. @returns true if it was created now */
  subscribe(topic: string, subscription: string, from: Position): Promise<boolean>
  /** @returns false if there was none */
  unsubscribe(topic: string, subscription: string): Promise<boolean>
  /** All subscriptions of the topic, or only the one that is named, by name in the order of bytes. */
  subscriptions(topic: string, subscription: string | null): Promise<SubscriptionState[]>

  /**
   * Makes `consumer` the one active consumer of the subscription for `leaseMs` from now, or goes on with that. It can
   * be had when nobody holds it, when the holder's lease has run out, and by the holder itself.
   * @param consumer names one consumer among all processes, for ever
   * @param held as in `ClaimRequest`
   */
  hold(topic: string, subscription: string, consumer: string, leaseMs: number, held?: boolean): Promise<Hold>
  /** Ends the hold, so that another consumer need not wait for its end. @returns false if the receipt was stale */
  leave(topic: string, subscription: string, receipt: string): Promise<boolean>
  /**
   * Moves the cursor forward to `offset`, but never back and never past the end of the topic.
   * @param receipt of the hold; stale once another consumer has the subscription, or its cursor was moved by `seek`.
   *   That the lease has run out alone does not make it so. Null: whoever holds it.
   * @returns false if the receipt was stale; nothing was changed then
   */
  ack(topic: string, subscription: string, offset: number, receipt: string | null): Promise<boolean>
  /**
   * Moves the cursor of the subscription, or of all, and makes receipts stale.
   * @returns how many subscriptions there were to be moved
   */
  seek(topic: string, subscription: string | null, position: Position): Promise<number>
  /** What the same call of `seek` would do, by name in the order of bytes. Nothing is moved, and receipts stay good. */
  planSeek(topic: string, subscription: string | null, position: Position): Promise<SeekMove[]>
}

/** How a subscription is moved: from the one cursor to the other. */
export interface SeekMove {
  readonly subscription: string
  readonly from: number
  readonly to: number
}

/** What is left out, or null as a limit, is not set; retention is replaced as a whole. */
export interface TopicSettings {
  /** For people. Default: ''. */
  readonly description?: string
  /** Default: everything is kept. */
  readonly retention?: Retention
}

/**
 * What upkeep removes, oldest first, if any of these asks for it. Bounds are met soon after, not at every moment.
 * A removed offset is never given again.
 */
export interface Retention {
  /** Messages that are older. */
  readonly maxAgeMs: number | null
  /** As many as lie above this size of data, meta and headers, as the storage counts them. */
  readonly maxBytes: number | null
  /** What every subscription has read; nothing while there is no subscription. */
  readonly whenRead: boolean
}

export interface TopicInfo {
  readonly topic: string
  readonly description: string
  readonly retention: Retention
  readonly createdAt: number
  /** The oldest message that is still there; one above `lastOffset` if there is none. */
  readonly firstOffset: number
  /** The newest message, be it still there or not; 0 if there never was one. */
  readonly lastOffset: number
  /** The size of what is there, as the storage counts it. */
  readonly bytes: number
  readonly subscriptions: number
  /** The patterns that lead here, and the queues that it leads to, in the order of bytes. */
  readonly patterns: readonly string[]
  readonly queues: readonly string[]
}

export interface AppendResult {
  /** Its offset, or that of the first if this is a duplicate; null while its transaction has not committed. */
  readonly offset: number | null
  readonly duplicate: boolean
}

export interface TopicMessage {
  readonly offset: number
  /** JSON text. */
  readonly data: string
  readonly meta: JsonObject
  readonly headers: JsonObject
  /** When the topic took it; never before that of an earlier offset. */
  readonly publishedAt: number
}

/**
 * A place between two messages.
 * - earliest, latest: before the oldest message that is there; after the newest
 * - offset: before the message of this offset or, if it is gone, the next one that is there
 * - time: before the first message that was published at this time or later
 * - back: this many messages before the place where the subscription is. Only for `seek`.
 *
 * None lies outside of what is there: between the ends, the nearer one is meant.
 */
export type Position =
  | 'earliest'
  | 'latest'
  | { readonly offset: number }
  | { readonly time: number }
  | { readonly back: number }

export interface SubscriptionState {
  readonly subscription: string
  /** Read up to and including this offset. */
  readonly cursor: number
  /** Messages after the cursor that are there. */
  readonly lag: number
  /** Messages after the cursor that retention removed before they were read; not part of the lag. */
  readonly missed: number
  readonly createdAt: number
  /** When the cursor was last moved; null if never. */
  readonly movedAt: number | null
  /** Who holds it now; null if nobody does. */
  readonly consumer: string | null
}

/**
 * `held`: the subscription is the consumer's. Otherwise somebody else's, for at most `retryMs` from now.
 *
 * `vanished` is how many holders in a row went away without leaving at the message that is the next one to be read: each
 * time another consumer took over from one whose lease had run out. Nobody vanishes where there is nothing to read, and
 * the holder who comes back itself has not vanished. The count is for that message: it begins anew when another one is
 * the next, and with every `seek`.
 */
export type Hold =
  | { readonly held: true; readonly receipt: string; readonly cursor: number; readonly vanished: number }
  | { readonly held: false; readonly retryMs: number }
