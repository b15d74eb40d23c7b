/** The public surface: re-exports only. */
export type { AnyTransaction } from './adapters/recognise.ts'
export { Bus } from './bus.ts'
export type { Config } from './config/settings.ts'
export { type ConnectOptions, type ConnectSource, connect, eventsMigration } from './connect.ts'
export type { Correlation } from './correlation.ts'
export { DeadLetters, type Redriven } from './dead-letters.ts'
export type { Duration } from './duration.ts'
export type {
  Binding,
  Completion,
  Finding,
  Place,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  SendResult,
  Transaction,
} from './engine.ts'
export { type ErrorCode, type ErrorDetails, errorTable, isTidingsError, TidingsError } from './errors.ts'
export type { QueueEvent } from './events/event.ts'
export type { Events, EventsStats } from './events/events.ts'
export type { EventsOptions, UnreadableEvent } from './events/options.ts'
export type { JsonObject, JsonValue } from './json.ts'
export { Message, type MessageMeta, StoredCopy } from './message.ts'
export { Queue } from './queue.ts'
export type { Logger } from './queue-access.ts'
export type {
  PeekOptions,
  PopOptions,
  PublishBatchOptions,
  PublishOptions,
  QueueOptions,
  ReadOptions,
  SendEntry,
  SendOptions,
} from './queue-options.ts'
export type { Replayed, ReplayOptions } from './replay.ts'
export { logging, type Middleware, pipe, timeout, validated } from './router/middleware.ts'
export { type Route, type RoutesOptions, routes } from './router/routes.ts'
export { type Upcaster, type VersionsOptions, versions } from './router/versions.ts'
export type { Alert, AlertReport } from './sentinel/alerts.ts'
export type { SentinelOptions } from './sentinel/options.ts'
export type { Breach, WatchedQueue, WatchedSubscription } from './sentinel/rules.ts'
export type { CheckResult, Sentinel, SentinelFigures } from './sentinel/sentinel.ts'
export type { WebhookFigures } from './sentinel/webhook.ts'
export { bytes, type Serializer } from './serializer.ts'
export type { TopicConsumer } from './subscription/consumer.ts'
export type { SubscriberCounts, SubscriptionEvent } from './subscription/events.ts'
export type { SubscriptionContext, SubscriptionHandler } from './subscription/handler.ts'
export type { SubscribeOptions, TopicConsumeOptions } from './subscription/options.ts'
export { Subscriber, type SubscriberStats } from './subscription/subscriber.ts'
export { Subscription } from './subscription/subscription.ts'
export { Topic } from './topic.ts'
export { ConsumedMessage, PublishedMessage, ReceivedMessage } from './topic-message.ts'
export type {
  CreateSubscriptionOptions,
  FetchOptions,
  PositionInput,
  RetentionOptions,
  SeekOptions,
  TopicOptions,
  TopicPublishOptions,
  TopicReadOptions,
} from './topic-options.ts'
export type { AppendResult, Retention, SubscriptionState, TopicInfo } from './topic-store.ts'
export type { TraceEvent, TraceOptions } from './trace.ts'
export type { Predicate, Where } from './where.ts'
export { type Backoff, exponential, fixed, linear } from './worker/backoff.ts'
export type { ConsumeOptions } from './worker/consumer.ts'
export { archive, deadLetter, done, Outcome, retry, snooze } from './worker/outcome.ts'
export {
  type BatchContext,
  type BatchHandler,
  type BatchWorkOptions,
  type Handler,
  type HandlerContext,
  type HandlerTransaction,
  type StopOptions,
  Worker,
  type WorkerEvent,
  type WorkerStats,
  type WorkOptions,
} from './worker/worker.ts'
