import type { Logger } from '../core/logger.ts'
import type { QueueOptions } from '../messages/options.ts'
import type {
  Binding,
  CorrelationState,
  Engine,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  RoutedMessage,
  StatsOptions,
} from '../port/engine.ts'
import type { QueueFigures } from '../port/pause.ts'
import { inOrder, type ProcessInfo } from '../port/processes.ts'
import type { ScheduleStore } from '../port/schedule-store.ts'
import type { TopicInfo } from '../port/topic-store.ts'
import { Upkeep, type UpkeepDependencies } from '../sentinel/upkeep.ts'
import type { TopicOptions } from '../topics/options.ts'
import { withDefaults } from './bus-options.ts'
import { type History, type HistoryOptions, readHistory } from './history.ts'
import { listQueues, type QueueListOptions, statsOfQueues } from './queue-list.ts'
import type { StoredQueue } from './stored-queue.ts'
import { listTopics, type StoredTopic } from './stored-topic.ts'

/** What a server passes on of a bus, in the forms of the storage. */
export interface StoredBus {
  /** What the storage is called, and can do. */
  readonly storage: Pick<Engine, 'name' | 'supports'>
  /** @param defaults for what the application did not configure for this queue */
  queue(name: string, defaults?: QueueOptions): StoredQueue
  /** @throws UNSUPPORTED where there are no topics */
  topic(name: string, defaults?: TopicOptions): StoredTopic
  /** By name, without those that Tidings made for itself. */
  queues(options?: QueueListOptions): Promise<QueueInfo[]>
  /** By name. @throws UNSUPPORTED where there are none */
  topics(): Promise<TopicInfo[]>
  /** Of all queues, by queue and pattern. */
  bindings(): Promise<Binding[]>
  /** Options of queues do not hold for copies, as with `Bus.publish`. */
  publish(messages: readonly RoutedMessage[]): Promise<PublishedCopy[][]>
  /** What is put goes through `Bus.schedules`. */
  readonly schedules: Pick<ScheduleStore, 'list' | 'remove'>
  correlation(id: string): Promise<CorrelationState | null>
  /** As `Bus.processes`. */
  processes(): Promise<ProcessInfo[]>
  /** What `stats` tells of one queue, but for its settings. */
  counts(queue: string, options: StatsOptions): Promise<QueueStats>
  /** The figures of the queues that are wanted, by name. */
  stats(isWanted: (queue: string) => boolean, options?: QueueListOptions): Promise<QueueFigures[]>
  /** @param queue null: all together @throws QUEUE_NOT_FOUND; RANGE, TYPE */
  history(queue: string | null, options?: HistoryOptions): Promise<History>
  /** Does what time asks for in the storage. */
  maintain(): Promise<void>
  /** What does so now and then once it is started. */
  upkeep(logger: Logger): Upkeep
}

/** What gives out queues and topics. */
interface Destinations {
  queue(name: string, options?: QueueOptions): { readonly stored: StoredQueue }
  topic(name: string, options?: TopicOptions): { readonly stored: StoredTopic }
}

/** @param dependencies of the bus; optionsOf: what the application configured for a queue */
export function storedBus(
  bus: Destinations,
  dependencies: UpkeepDependencies & { optionsOf(queue: string): QueueOptions | undefined },
): StoredBus {
  const { engine, optionsOf } = dependencies
  return {
    storage: engine,
    queue: (name, defaults) => bus.queue(name, withDefaults(optionsOf(name), defaults)).stored,
    topic: (name, defaults) => bus.topic(name, defaults).stored,
    queues: (options) => listQueues(engine, options),
    topics: () => listTopics(engine),
    bindings: () => engine.bindings(null),
    publish: (messages) => engine.publish(messages, null),
    schedules: engine.schedules,
    correlation: (id) => engine.correlation(id),
    processes: async () => inOrder(await engine.processes()),
    counts: (queue, options) => engine.stats(queue, options),
    stats: (isWanted, options) => statsOfQueues(dependencies, isWanted, options),
    history: (queue, options) => readHistory(dependencies, queue, options),
    maintain: async () => void (await engine.maintain({ kind: 'due' })),
    upkeep: (logger) => new Upkeep({ ...dependencies, logger }),
  }
}
