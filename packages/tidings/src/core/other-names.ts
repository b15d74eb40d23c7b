import { nearest } from './errors.ts'

/**
 * What is called differently elsewhere: in PGMQ, BullMQ, pg-boss, graphile-worker, Oban, River, SQS, RabbitMQ, Kafka, NATS
 * and Celery. Each row: the call that has the option, or the command or route; its name there, and how our command line and
 * HTTP routes call the same; what others call it. Names are compared without case, hyphens and underscores.
 */
export const otherNames: readonly (readonly [call: string, ours: string, others: string])[] = [
  // Of the command line and of routes; arguments go first.
  ['POST /v1/queues/{queue}/messages', 'message', 'payload body msg value content event args'],
  ['tidings process', 'handlers', 'handlersPath handlersDir handlerPath tasks crontab'],
  ['tidings process', 'queues', 'queueNames queueName queue toQueue'],
  ['tidings process', 'maxMessages', 'exitAfter limit'],
  ['tidings process', 'delete', 'deleteMessages'],
  ['tidings enqueue', 'queue', 'queueName toQueue q'],
  ['tidings topic', 'topic', 'stream subject'],
  ['tidings generate-migration', 'down', 'includeRollback rollback'],
  [
    'queue.work',
    'maxAttempts',
    'attempts maxAttempt maxTries tries retries maxRetries retryLimit retryCount maxDeliver maxDeliveries maxReceiveCount',
  ],
  [
    'queue.work',
    'backoff',
    `retryDelay retryBackoff retryDelayMax retryStrategy backoffMs backoffSeconds errorVisibilityTimeout errorVt retryIn
    retryAfter`,
  ],
  [
    'queue.work',
    'concurrency',
    'teamSize teamConcurrency localConcurrency parallelism parallel threads processes jobs maxConcurrency limitConcurrency',
  ],
  [
    'queue.work',
    'prefetch',
    'prefetchCount maxAckPending maxPrefetch maxBatchesInFlight maxInFlight buffered localQueueSize',
  ],
  [
    'queue.work',
    'onSuccess',
    'removeOnComplete deleteMessages deleteOnSuccess archiveOnSuccess archive deleteAfterSeconds',
  ],
  ['queue.work', 'pollInterval pollIntervalMs', 'pollingInterval pollingIntervalSeconds drainDelay sleepTime interval'],
  ['queue.workBatch', 'batchSize', 'teamRefill maxBatchSize'],
  ['worker.stop', 'deadline stopDeadline', 'shutdownTimeout gracefulShutdownTimeout drainTimeout graceful'],
  [
    'queue.read',
    'lease leaseMs vt',
    `visibilityTimeout visibilityTimeoutSeconds visibilityTimeoutMs visibility invisibilityTimeout lockDuration
    lockTime lockTimeout lockRenewTime ackWait ackDeadline expireIn expireInSeconds expireInMinutes expireInHours
    heartbeatSeconds leaseTime leaseSeconds leaseDuration pendingMs`,
  ],
  [
    'queue.read',
    'limit qty',
    'n num numMessages maxNumberOfMessages maxMessages count fetchSize size batchSize readCount top amount',
  ],
  ['queue.read', 'wait waitMs maxPollSeconds', 'waitTimeSeconds timeout block blockMs blockTimeout pollTimeout'],
  ['queue.read', 'signal', 'abortSignal abort cancelToken cancellation controller'],
  [
    'queue.send',
    'delay delayMs',
    'delaySeconds sleepSeconds initialDelay scheduleIn deferBy countdown sendAfter startIn after delayUntil',
  ],
  [
    'queue.send',
    'at notBefore',
    'startAfter runAt scheduledAt scheduleAt processAfter processableAfter after availableAt eta sendAt deliverAt when',
  ],
  [
    'queue.send',
    'dedupId dedup',
    `jobId messageId deduplication deduplicationId messageDeduplicationId idempotencyKey singletonKey singleton jobKey
    uniqueKey uniqueId unique uniqueOpts msgId dedupKey dedupe dedupeId dedupeKey`,
  ],
  [
    'queue.send',
    'dedupWindow windowMs',
    'singletonSeconds singletonMinutes singletonHours duplicateWindow deduplicationWindow deduplicationTtl',
  ],
  ['queue.send', 'dedup', 'debounce throttle debouncing throttling jobKeyMode singletonNextSlot keepLastIfActive'],
  ['queue.send', 'uniqueTarget', 'uniqueTargetId singleTarget'],
  [
    'queue.send',
    'orderingKey',
    'groupKey messageGroupId partitionKey fifoGroup serialKey sequenceKey queueName key group',
  ],
  [
    'queue.send',
    'ttl ttlMs',
    'ttlSeconds expiration expires expiry timeToLive messageTtl keepUntil retentionSeconds retainUntil messageRetentionPeriod',
  ],
  ['queue.send', 'headers', 'messageAttributes attributes metadata properties'],
  ['queue.send', 'priority', 'prio lifo importance'],
  ['queue.send', 'track tracked', 'tracking task'],
  ['queue.send', 'tx', 'trx transaction db client em entityManager manager sql conn queryRunner unitOfWork'],
  ['queue.send', 'meta.correlationId', 'correlation'],
  ['queue.send', 'meta.correlationQueue completionQueue', 'replyTo'],
  ['queue.send', 'meta.targetId', 'target'],
  ['queue.send', 'meta.version messageVersion', 'schemaVersion'],
  ['queue.send', 'meta.sourceSystem', 'source'],
  ['queue.send', 'meta.actionType', 'action'],
  ['queue.send', 'meta.businessReason', 'reason'],
  ['queue.send', 'meta.associatedPeriod', 'period'],
  ['queue.send', 'meta.eventKey', 'eventId'],
  ['queue.sendBatch', 'data', 'payload body msg value content event args'],
  [
    'bus.queue',
    'deadLetter',
    'deadLetterQueue dlq deadLetterExchange deadLetterTopic deadLetterTargetArn removeOnFail failedQueue errorQueue',
  ],
  [
    'bus.queue',
    'maxMessageBytes',
    'maxSize maxBytes sizeLimit maximumMessageSize maxMessageSize maxPayload maxPayloadBytes',
  ],
  ['bus.queue', 'maxLength', 'maxLen maxMsgs queueLimit maxQueueSize maxQueueLength maxJobs capacity'],
  ['bus.queue', 'serializer', 'deserializer encoder decoder codec'],
  ['bus.queue', 'schema', 'validator validate validation zod'],
  ['bus.queue', 'durability', 'durable persistent fsync sync deliveryMode'],
  ['bus.queue', 'create', 'autoCreate createQueue ensure createIfMissing'],
  ['bus.queue', 'envelope bare', 'raw rawMessage'],
  ['connect', 'url', 'dsn connectionString connection databaseUrl redisUrl uri dbUri databaseUri broker server'],
  ['connect', 'pool', 'poolSize maxPoolSize connections maxConnections pgPool'],
  ['connect', 'tls', 'ssl'],
  ['connect', 'logger', 'log logging debug'],
  [
    'topic.subscribe',
    'from',
    'fromBeginning fromStart deliverPolicy startFrom offset startOffset position initialOffset',
  ],
  ['topic.subscribe', 'subscription', 'group groupId consumerGroup durable durableName subscriberId subscriber'],
  ['bus.topic', 'retention', 'retentionPolicy retentionPeriod maxAge retentionMs'],
  ['eventsMigration', 'channelPrefix', 'channelsPrefix prefix'],
  ['eventsMigration', 'queuePattern', 'queueNamingPattern namingPattern'],
  ['bus.events', 'buffer', 'bufferSize'],
]

/** Longer than any name, so that a long text from outside costs no more. */
const maxNameLength = 100
const fold = (name: string) =>
  name
    .slice(0, maxNameLength)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')

const notions = otherNames.map(([call, ours, others]) => {
  const own = ours.split(' ')
  const ownNames = own.map((name) => fold(name.replace('meta.', '')))
  return { call, option: own[0]!, ownNames, names: new Set([...ownNames, ...others.split(/\s+/).map(fold)]) }
})

function notionsOf(word: string) {
  const name = fold(word)
  return notions.filter(({ names }) => names.has(name))
}

/**
 * What somebody meant who wrote `word`: a candidate that other systems call so, or one that is spelled nearly so.
 * @param candidates as they are to be shown: 'maxAttempts', '--max-attempts', 'max_attempts'
 */
export function meant(word: string, candidates: Iterable<string>): string | undefined {
  const byName = new Map(Array.from(candidates, (candidate) => [fold(candidate), candidate]))
  const same = byName.get(fold(word))
  const [named] = notionsOf(word).flatMap(({ ownNames }) => ownNames.flatMap((name) => byName.get(name) ?? []))
  return same ?? named ?? (homeOf(word) ? undefined : nearest(word, byName.values()))
}

/** Where an option belongs that other systems have elsewhere: our call, and its name there in the style of `word`. */
export function homeOf(word: string): { readonly call: string; readonly option: string } | undefined {
  const notion = notionsOf(word).find(({ call }) => !call.includes(' '))
  if (!notion) return undefined
  const { call, option } = notion
  return {
    call,
    option: word.includes('_') ? option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) : option,
  }
}
