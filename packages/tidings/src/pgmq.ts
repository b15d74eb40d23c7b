/** A client with PGMQ's verbs, for what speaks PGMQ itself: re-exports only. */
export { isTidingsError, TidingsError } from './core/errors.ts'
export type { JsonObject, JsonValue } from './core/json.ts'
export type { PgmqMessages, PgmqPollOptions, PgmqReadOptions, PgmqReadWithPollOptions } from './pgmq/messages.ts'
export type { PgmqNotifications, PgmqThrottle } from './pgmq/notifications.ts'
export { Pgmq, type PgmqOptions, type PgmqServer, type PgmqSource } from './pgmq/pgmq.ts'
export type { PgmqMetrics, PgmqPartitionOptions, PgmqQueue, PgmqQueues } from './pgmq/queues.ts'
export type { PgmqBinding, PgmqRoute, PgmqTopicMessage, PgmqTopics } from './pgmq/topics.ts'
export type { MsgId, PgmqMessage } from './pgmq/values.ts'
