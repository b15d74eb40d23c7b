import type { BusDependencies } from '../messages/access.ts'
import type { Position, TopicMessage, TopicStore } from '../port/topic-store.ts'

/** The dependencies of a subscription's consumer. */
export interface SubscriptionAccess<T> extends BusDependencies {
  readonly topic: string
  readonly name: string
  readonly store: TopicStore
  /** Creates the subscription if it is missing, and the topic if that is allowed. @returns true if it was made now */
  ensure(from: Position): Promise<boolean>
  /** The data as the user's type. @throws BODY_INVALID if the schema refuses it */
  decode(stored: TopicMessage): T | Promise<T>
  /** Registers a running consumer with the bus, so that closing the bus stops it. @throws CLOSED */
  adopt(running: Running): void
}

export interface Running {
  readonly finished: Promise<void>
  stop(): Promise<unknown>
}
