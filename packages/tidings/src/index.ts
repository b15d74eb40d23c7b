/** The public surface: re-exports only. */
export type { AnyTransaction } from './adapters/recognise.ts'
export { Bus } from './bus/bus.ts'
export type { CancelResult, CancelWhich } from './bus/cancelling.ts'
export type { Correlation } from './bus/correlation.ts'
export {
  DeadLetters,
  type LetterGroupsFound,
  type LetterGroupsOptions,
  type ListDeadLettersOptions,
  type Redriven,
  type RedriveOptions,
} from './bus/dead-letters.ts'
export type { History, HistoryOptions, HistoryPoint, LatencyClass } from './bus/history.ts'
export type { LetterGroup } from './bus/letter-groups.ts'
export type { ProcessInfo } from './bus/processes.ts'
export { Queue, type QueueState } from './bus/queue.ts'
export type { Replayed, ReplayOptions } from './bus/replay.ts'
export { Topic } from './bus/topic.ts'
export type { TraceEvent, TraceOptions } from './bus/trace.ts'
export { type ConnectOptions, type ConnectSource, connect, eventsMigration } from './connect.ts'
export type { Duration } from './core/duration.ts'
export { type ErrorCode, type ErrorDetails, errorTable, isTidingsError, TidingsError } from './core/errors.ts'
export type { JsonObject, JsonValue } from './core/json.ts'
export type { Logger } from './core/logger.ts'
export type { PoolOptions } from './core/pool.ts'
export { bytes, type Serializer } from './core/serializer.ts'
export type { TelemetryOptions } from './core/telemetry-option.ts'
export type { TlsOptions } from './core/tls.ts'
export type { ChannelListening } from './events/channel-listening.ts'
export type { QueueEvent } from './events/event.ts'
export type { Events, EventsStats } from './events/events.ts'
export type { EventsOptions, UnreadableEvent } from './events/options.ts'
export { namespaceOf, queueOfNamespace } from './events/queue-names.ts'
export {
  type Backoff,
  type ExponentialOptions,
  exponential,
  fixed,
  type LinearOptions,
  linear,
} from './messages/backoff.ts'
export type { Predicate, Where } from './messages/filter.ts'
export { Message, type ReleaseOptions, StoredCopy } from './messages/message.ts'
export type {
  EntryOptions,
  PeekOptions,
  PopOptions,
  PublishBatchOptions,
  PublishOptions,
  QueueOptions,
  QueueOptionsWithSchema,
  QueueOptionsWithSerializer,
  ReadByIdOptions,
  ReadOptions,
  SendEntry,
  SendOptions,
  TxOptions,
} from './messages/options.ts'
export type { PauseOptions, QueueSettingsChange } from './messages/settings.ts'
export type { Binding, Pause, QueueFigures, QueueInfo, QueueSettings, QueueStats } from './messages/states.ts'
export type {
  Completion,
  Finding,
  Milestone,
  Place,
  PublishedCopy,
  SendResult,
  Transaction,
} from './port/engine.ts'
export type { MessageMeta } from './port/meta.ts'
export type { AppendResult, Retention, SeekMove } from './port/topic-store.ts'
export { type AnyMiddleware, logging, type Middleware, pipe, timeout, validated } from './router/middleware.ts'
export { type Route, type RoutesOptions, routes } from './router/routes.ts'
export { type Upcaster, type VersionsOptions, versions } from './router/versions.ts'
export type { ScheduleInfo } from './schedules/info.ts'
export type { DeclaredSchedule, ScheduleOptions } from './schedules/options.ts'
export type { DeclareOptions, Schedules } from './schedules/schedules.ts'
export type { Alert, AlertReport } from './sentinel/alerts.ts'
export type {
  ArchiveRuleOptions,
  ExpiryRuleOptions,
  RuleOptions,
  SentinelOptions,
  WebhookOptions,
} from './sentinel/options.ts'
export type { Breach, WatchedQueue, WatchedSubscription } from './sentinel/rules.ts'
export type { CheckResult, Sentinel, SentinelFigures } from './sentinel/sentinel.ts'
export type { WebhookFigures } from './sentinel/webhook.ts'
export type { SubscriberCounts, SubscriptionEvent } from './subscription/events.ts'
export type { SubscriptionContext, SubscriptionHandler } from './subscription/handler.ts'
export type { SubscribeOptions, TopicConsumeOptions } from './subscription/options.ts'
export { Subscriber, type SubscriberStats } from './subscription/subscriber.ts'
export { Subscription } from './subscription/subscription.ts'
export { ConsumedMessage, PublishedMessage, ReceivedMessage } from './topics/message.ts'
export type {
  CreateSubscriptionOptions,
  FetchOptions,
  PositionInput,
  RetentionOptions,
  SeekOptions,
  TopicOptions,
  TopicOptionsWithSchema,
  TopicOptionsWithSerializer,
  TopicPublishOptions,
  TopicReadOptions,
} from './topics/options.ts'
export type { SubscriptionState, TopicInfo } from './topics/states.ts'
export type { ConsumeOptions } from './worker/consumer.ts'
export { archive, deadLetter, done, Outcome, type RetryOptions, retry, snooze } from './worker/outcome.ts'
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
