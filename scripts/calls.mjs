// Every call that takes options, with their schema: for the reference, and for the tests of what is said about options.
import { listOptions, redriveOptions } from 'tidings/internal/bus/dead-letters'
import { historyOptions } from 'tidings/internal/bus/history'
import { queueListOptions } from 'tidings/internal/bus/queue-list'
import { replayOptions } from 'tidings/internal/bus/replay'
import { traceOptions } from 'tidings/internal/bus/trace'
import { connectOptions } from 'tidings/internal/connect'
import { eventsMigrationOptions } from 'tidings/internal/events/migration'
import { eventsOptions } from 'tidings/internal/events/options'
import { exponentialOptions, linearOptions } from 'tidings/internal/messages/backoff'
import { releaseOptions } from 'tidings/internal/messages/message'
import * as queue from 'tidings/internal/messages/options'
import { pollOptions, readOptions, readWithPollOptions } from 'tidings/internal/pgmq/messages'
import { pgmqOptions, serverOptions as pgmqServerOptions } from 'tidings/internal/pgmq/pgmq'
import { partitionOptions } from 'tidings/internal/pgmq/queues'
import { routesOptions } from 'tidings/internal/router/routes'
import { versionsOptions } from 'tidings/internal/router/versions'
import {
  archiveFields,
  expiryFields,
  ruleFields,
  sentinelOptions,
  webhookFields,
} from 'tidings/internal/sentinel/options'
import { subscribeOptions, topicConsumeOptions } from 'tidings/internal/subscription/options'
import * as topic from 'tidings/internal/topics/options'
import { batchWorkOptions, consumeOptions, stopOptions, workOptions } from 'tidings/internal/worker/options'
import { retryOptions } from 'tidings/internal/worker/outcome'
import { serverOptions } from 'tidings-server/internal/app/options'
import { tokenOptions } from 'tidings-server/internal/auth/token'

/** What `more` has beside what `base` has. */
const without = (more, base) => Object.fromEntries(Object.entries(more).filter(([name]) => !Object.hasOwn(base, name)))

/** The call, the options, and a note for the reference. */
export const calls = [
  [
    'connect(source?, options?)',
    connectOptions,
    'The source is a URL, or `{ redis: client }` with a `Redis` or `Cluster` of ioredis that is yours.',
  ],
  ['connect(url, { tls })', connectOptions.tls.properties],
  ['connect(url, { pool })', connectOptions.pool.properties],
  ['connect(url, { telemetry })', connectOptions.telemetry.properties],
  ['bus.queue(name, options?)', queue.queueOptions],
  ['queue.send(data, options?)', queue.sendOptionsWithTx],
  [
    'queue.sendBatch(entries, options?)',
    queue.txOption,
    'Each entry is `{ data }` with any of the options of `send` except `tx`.',
  ],
  [
    'bus.publish(routingKey, data, options?)',
    without(queue.publishOptions, queue.sendOptions),
    'Beside these, all options of `send`.',
  ],
  ['bus.publishBatch(routingKey, entries, options?)', queue.publishBatchOptions, 'Entries are those of `sendBatch`.'],
  ['queue.read(options?)', queue.readOptions],
  ['queue.readById(id, options?)', queue.readByIdOptions],
  ['queue.pop(options?)', queue.popOptions],
  ['queue.peek(options?)', queue.peekOptions],
  ['queue.work(handler, options?)', workOptions],
  [
    'queue.workBatch(handler, options?)',
    without(batchWorkOptions, workOptions),
    'Beside these, all options of `work`.',
  ],
  ['queue.consume(options?)', consumeOptions],
  ['worker.stop(options?)', stopOptions],
  ['message.release(options?)', releaseOptions],
  ['retry(options?)', retryOptions],
  ['exponential(options?)', exponentialOptions],
  ['linear(options?)', linearOptions],
  ['queue.deadLetters.list(options?)', listOptions],
  ['queue.deadLetters.redrive(options?)', redriveOptions],
  ['queue.replay(options?)', replayOptions],
  ['bus.queues(options?) and bus.stats(options?)', queueListOptions],
  ['queue.history(options?) and bus.history(options?)', historyOptions],
  ['bus.trace(targetId, options?)', traceOptions],
  ['bus.topic(name, options?)', topic.topicOptions],
  ['retention of a topic', topic.retentionOptions],
  [
    'topic.publish(data, options?)',
    topic.topicPublishOptions,
    '`delay`, `at`, `priority`, `orderingKey`, `uniqueTarget` and `track` are for the copies in queues that are bound to the topic.',
  ],
  [
    'topic.publishBatch(entries, options?)',
    queue.txOption,
    'Each entry is `{ data }` with any of the options of `publish` except `tx`.',
  ],
  ['topic.subscribe(subscription, handler, options?)', subscribeOptions],
  ['topic.consume(subscription, options?)', topicConsumeOptions],
  ['topic.read(options?)', topic.topicReadOptions],
  ['topic.seek(position, options?)', topic.seekOptions],
  ['subscription.create(options?)', topic.createSubscriptionOptions],
  ['subscription.fetch(options?)', topic.fetchOptions],
  ['bus.events(options?)', eventsOptions],
  ['bus.sentinel(options?)', sentinelOptions],
  ['bus.sentinel({ rules: [rule] })', ruleFields],
  ['bus.sentinel({ archives: [archive] })', archiveFields],
  ['bus.sentinel({ expire: [rule] })', expiryFields],
  ['bus.sentinel({ webhook })', webhookFields],
  ['eventsMigration(options?)', eventsMigrationOptions],
  ['routes(table, options?)', routesOptions],
  ['versions(options)', versionsOptions],
  ['Pgmq.new(source, options?)', pgmqOptions, 'From `tidings/pgmq`.'],
  ['Pgmq.new({ host, … })', pgmqServerOptions],
  ['pgmq.queue.createPartitioned(name, options?)', partitionOptions],
  ['pgmq.msg.read(queue, vt?, options?)', readOptions, 'The same for `readBatch`.'],
  ['pgmq.msg.readWithPoll(queue, vt, numMessages, options?)', readWithPollOptions],
  ['pgmq.msg.readGroupedWithPoll(queue, vt, numMessages, options?)', pollOptions, 'The same for the others.'],
  ['createServer(bus, options?)', serverOptions, 'From `tidings-server`.'],
  ['createServer(bus, { tokens: [token] })', tokenOptions],
]
