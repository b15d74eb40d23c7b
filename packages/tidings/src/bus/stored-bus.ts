import type { Logger } from '../core/logger.ts'
import type { QueueOptions } from '../messages/options.ts'
import type { CorrelationState, Engine, PublishedCopy, RoutedMessage } from '../port/engine.ts'
import type { QueueFigures } from '../port/pause.ts'
import type { ScheduleStore } from '../port/schedule-store.ts'
import type { Upkeep } from '../sentinel/upkeep.ts'
import type { TopicOptions } from '../topics/options.ts'
import type { QueueListOptions } from './queue-list.ts'
import type { StoredQueue } from './stored-queue.ts'
import type { StoredTopic } from './stored-topic.ts'

/** What a server passes on of a bus, in the forms of the storage. */
export interface StoredBus {
  /** What the storage is called, and can do. */
  readonly storage: Pick<Engine, 'name' | 'supports'>
  /** @param defaults for what the application did not configure for this queue */
  queue(name: string, defaults?: QueueOptions): StoredQueue
  /** @throws UNSUPPORTED where there are no topics */
  topic(name: string, defaults?: TopicOptions): StoredTopic
  /** Options of queues do not hold for copies, as with `Bus.publish`. */
  publish(messages: readonly RoutedMessage[]): Promise<PublishedCopy[][]>
  /** What is put goes through `Bus.schedules`. */
  readonly schedules: Pick<ScheduleStore, 'list' | 'remove'>
  correlation(id: string): Promise<CorrelationState | null>
  /** The figures of the queues that are wanted, by name. */
  stats(isWanted: (queue: string) => boolean, options?: QueueListOptions): Promise<QueueFigures[]>
  /** Does what time asks for in the storage. */
  maintain(): Promise<void>
  /** What does so now and then once it is started. */
  upkeep(logger: Logger): Upkeep
}
