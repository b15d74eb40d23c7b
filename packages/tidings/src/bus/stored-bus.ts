import type { QueueOptions } from '../messages/options.ts'
import type { PublishedCopy, RoutedMessage } from '../port/engine.ts'
import type { TopicOptions } from '../topics/options.ts'
import type { StoredQueue } from './stored-queue.ts'
import type { StoredTopic } from './stored-topic.ts'

/** What of a bus a server passes on, in the forms of the storage. */
export interface StoredBus {
  /** @param defaults for what the application did not configure for this queue */
  queue(name: string, defaults?: QueueOptions): StoredQueue
  /** @throws UNSUPPORTED where there are no topics */
  topic(name: string, defaults?: TopicOptions): StoredTopic
  /** Options of queues do not hold for copies, as with `Bus.publish`. */
  publish(messages: readonly RoutedMessage[]): Promise<PublishedCopy[][]>
}
