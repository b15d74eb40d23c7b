import * as option from '../core/options.ts'
import type { Session } from './session.ts'
import { date, queueName, type Row } from './values.ts'

/** PGMQ takes an interval of ids (`'10000'`) or of time (`'1 day'`). */
export const partitionOptions = {
  partitionInterval: option.text("How much one partition holds: a number of messages, or a time like '1 day'.", {
    default: '10000',
  }),
  retentionInterval: option.text('Partitions older than this, in messages or time, are dropped.', {
    default: '100000',
  }),
  premake: option.integer('How many partitions are made ahead.', {
    default: null,
    defaultText: "PGMQ's own",
    min: 1,
    max: 10_000,
  }),
} as const
export type PgmqPartitionOptions = option.OptionsInput<typeof partitionOptions>

/** A queue as PGMQ lists it. */
export interface PgmqQueue {
  /** As it was given to `create`; its tables are named in lower case. */
  readonly name: string
  readonly createdAt: Date
  readonly isPartitioned: boolean
  readonly isUnlogged: boolean
}

export interface PgmqMetrics {
  readonly queueName: string
  readonly queueLength: number
  /** Missing where the queue is empty. */
  readonly newestMsgAgeSec?: number
  /** Missing where the queue is empty. */
  readonly oldestMsgAgeSec?: number
  /** Of all time. */
  readonly totalMessages: number
  readonly scrapeTime: Date
  readonly queueVisibleLength: number
  /** Messages that found no partition; missing where there are no partitions, and on PGMQ before 1.13. */
  readonly defaultPartitionLength?: number
}

/** `pgmq.queue`: what is done with whole queues. */
export class PgmqQueues {
  readonly #session: Session

  /** @internal */
  constructor(session: Session) {
    this.#session = session
  }

  /**
   * Creates a queue; one that is there stays as it is. SQL: `pgmq.create`.
   * @param name at most 47 characters
   * @throws QUEUE_NAME_INVALID
   * @example await pgmq.queue.create('orders')
   */
  async create(name: string): Promise<void> {
    await this.#session.all('create', queueName(name))
  }

  /**
   * Creates a queue that is faster, and empty after a crash of the server. SQL: `pgmq.create_unlogged`.
   * @throws QUEUE_NAME_INVALID, UNSUPPORTED
   * @example await pgmq.queue.createUnlogged('clicks')
   */
  async createUnlogged(name: string): Promise<void> {
    await this.#session.all('createUnlogged', queueName(name))
  }

  /**
   * Creates a queue in partitions, by the extension pg_partman. SQL: `pgmq.create_partitioned`.
   * @throws QUEUE_NAME_INVALID, UNSUPPORTED without pg_partman
   * @example await pgmq.queue.createPartitioned('audit', { partitionInterval: '1 day', retentionInterval: '30 days' })
   */
  async createPartitioned(name: string, options?: PgmqPartitionOptions): Promise<void> {
    const { premake, ...own } = option.parseOptions(partitionOptions, options, 'createPartitioned')
    const values = [queueName(name), own.partitionInterval, own.retentionInterval]
    if (premake === null) await this.#session.all('createPartitioned', ...values)
    else await this.#session.all('createPartitionedAhead', ...values, String(premake))
  }

  /**
   * Renames the archive to `a_<queue>_old` and makes a new one in partitions; rows are not moved. SQL:
   * `pgmq.convert_archive_partitioned`.
   * @throws QUEUE_NAME_INVALID, UNSUPPORTED without pg_partman
   * @example await pgmq.queue.convertArchivePartitioned('audit', { partitionInterval: '1 month' })
   */
  async convertArchivePartitioned(name: string, options?: PgmqPartitionOptions): Promise<void> {
    const own = option.parseOptions(partitionOptions, options, 'convertArchivePartitioned')
    const values = [queueName(name), own.partitionInterval, own.retentionInterval, String(own.premake ?? 10)]
    await this.#session.all('convertArchivePartitioned', ...values)
  }

  /**
   * Removes a queue with all its messages and its archive. SQL: `pgmq.drop_queue`.
   * @returns whether it was there
   * @example await pgmq.queue.drop('orders') // true
   */
  async drop(name: string): Promise<boolean> {
    return this.#session.one<boolean>('drop', queueName(name))
  }

  /**
   * Removes all messages of a queue, hidden ones too; not its archive. SQL: `pgmq.purge_queue`.
   * @returns how many they were
   * @throws QUEUE_NOT_FOUND
   * @example const removed = await pgmq.queue.purge('orders')
   */
  async purge(name: string): Promise<number> {
    return this.#session.one<number>('purge', queueName(name))
  }

  /**
   * Does nothing any more; here for programs that call it. SQL: `pgmq.detach_archive`.
   * @example await pgmq.queue.detachArchive('orders')
   */
  async detachArchive(name: string): Promise<void> {
    await this.#session.all('detachArchive', queueName(name))
  }

  /**
   * All queues. SQL: `pgmq.list_queues`.
   * @example const names = (await pgmq.queue.list()).map((queue) => queue.name)
   */
  async list(): Promise<PgmqQueue[]> {
    return (await this.#session.all('list')).map(toQueue)
  }

  /**
   * SQL: `pgmq.metrics`.
   * @throws QUEUE_NOT_FOUND
   * @example const { queueLength, oldestMsgAgeSec = 0 } = await pgmq.queue.getMetrics('orders')
   */
  async getMetrics(name: string): Promise<PgmqMetrics> {
    return toMetrics(await this.#session.one('metrics', queueName(name)))
  }

  /**
   * Those of all queues. SQL: `pgmq.metrics_all`.
   * @example for (const { queueName, queueLength } of await pgmq.queue.getAllMetrics()) console.log(queueName, queueLength)
   */
  async getAllMetrics(): Promise<PgmqMetrics[]> {
    return (await this.#session.all('metricsAll')).map(toMetrics)
  }

  /**
   * Creates the index that grouped reads use. SQL: `pgmq.create_fifo_index`.
   * @throws QUEUE_NOT_FOUND, UNSUPPORTED
   * @example await pgmq.queue.createFifoIndex('orders')
   */
  async createFifoIndex(name: string): Promise<void> {
    await this.#session.all('createFifoIndex', queueName(name))
  }

  /**
   * The same for all queues. SQL: `pgmq.create_fifo_indexes_all`.
   * @throws UNSUPPORTED
   * @example await pgmq.queue.createFifoIndexes()
   */
  async createFifoIndexes(): Promise<void> {
    await this.#session.all('createFifoIndexes')
  }
}

const toQueue = (row: Row): PgmqQueue => ({
  name: row.queue_name as string,
  createdAt: date(row.created_at),
  isPartitioned: row.is_partitioned as boolean,
  isUnlogged: row.is_unlogged as boolean,
})

const toMetrics = (row: Row): PgmqMetrics => ({
  queueName: row.queue_name as string,
  queueLength: row.queue_length as number,
  ...optional('newestMsgAgeSec', row.newest_msg_age_sec),
  ...optional('oldestMsgAgeSec', row.oldest_msg_age_sec),
  totalMessages: row.total_messages as number,
  scrapeTime: date(row.scrape_time),
  queueVisibleLength: row.queue_visible_length as number,
  ...optional('defaultPartitionLength', row.default_partition_length),
})

const optional = (name: string, value: unknown) => (typeof value === 'number' ? { [name]: value } : {})
