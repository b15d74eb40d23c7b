import { systemClock } from '../core/clock.ts'
import { dated } from '../core/dated.ts'
import { TidingsError } from '../core/errors.ts'
import { silentLogger } from '../core/logger.ts'
import type { StandardSchemaV1 } from '../core/schema.ts'
import { isCalledBy, onItsOwn, Service } from '../core/service.ts'
import { WeakValues } from '../core/weak-values.ts'
import { ChannelListening } from '../events/channel-listening.ts'
import { Events } from '../events/events.ts'
import type { EventsOptions } from '../events/options.ts'
import { QueueCalls } from '../messages/calls.ts'
import { Life } from '../messages/life.ts'
import type { StoredCopy } from '../messages/message.ts'
import type {
  PeekOptions,
  PublishBatchOptions,
  PublishOptions,
  QueueOptions,
  QueueOptionsWithSchema,
  QueueOptionsWithSerializer,
  SendEntry,
} from '../messages/options.ts'
import type { QueueSettings } from '../messages/settings.ts'
import { type Binding, type QueueFigures, type QueueInfo, toQueueFigures, toQueueInfo } from '../messages/states.ts'
import type { Engine, Finding, PublishedCopy } from '../port/engine.ts'
import { noEvents } from '../port/refusals.ts'
import { Tallies } from '../port/tallies.ts'
import { Telemetry } from '../port/telemetry.ts'
import { Wakeups } from '../port/wakeups.ts'
import type { ScheduleInfo } from '../schedules/info.ts'
import type { ScheduleOptions } from '../schedules/options.ts'
import { Schedules } from '../schedules/schedules.ts'
import type { SentinelOptions } from '../sentinel/options.ts'
import { Sentinel } from '../sentinel/sentinel.ts'
import { Upkeep } from '../sentinel/upkeep.ts'
import type { Running } from '../subscription/access.ts'
import { TopicCalls } from '../topics/calls.ts'
import type { TopicOptions, TopicOptionsWithSchema, TopicOptionsWithSerializer } from '../topics/options.ts'
import type { TopicInfo } from '../topics/states.ts'
import { type BusOptions, withDefaults } from './bus-options.ts'
import { type Correlation, correlation } from './correlation.ts'
import { DeadLetterPaths } from './dead-letter-paths.ts'
import { BusFigures } from './figures.ts'
import { type History, type HistoryOptions, readHistory } from './history.ts'
import type { ProcessInfo } from './processes.ts'
import { type BoundPlace, Publisher, type QueueOrName } from './publisher.ts'
import { Queue, type QueueDependencies } from './queue.ts'
import { ifThere, type QueueListOptions } from './queue-list.ts'
import { type StoredBus, storedBus } from './stored-bus.ts'
import { Topic, type TopicDependencies } from './topic.ts'
import { type TraceEvent, type TraceOptions, trace } from './trace.ts'
import { untilIdle } from './until-idle.ts'

/** One connection of the application to its storage: gives out queues, and stops what was started when it is closed. */
export class Bus implements AsyncDisposable {
  /** Tells of every call that this bus makes of its storage. */
  readonly telemetry: Telemetry
  /** The one connection by which it hears of what is new. */
  readonly wakeups: Wakeups
  /** Lists, switches, removes schedules, and tells when they send. */
  readonly schedules: Schedules
  readonly #engine: Engine
  readonly #dependencies: QueueDependencies & TopicDependencies
  readonly #publisher: Publisher
  readonly #calls = new WeakValues<string, QueueCalls>()
  readonly #topicCalls = new WeakValues<string, TopicCalls>()
  /** Workers, and consumers of topics. */
  readonly #workers = new Set<Running>()
  readonly #figures: BusFigures
  readonly #sentinels = new Set<Sentinel>()
  /** What calls functions of the user's. */
  readonly #own = new WeakSet<Service>()
  /** Runs while there are workers. */
  #upkeep: Upkeep | undefined
  readonly #deadLetters = new DeadLetterPaths()
  readonly #queueOptions: ReadonlyMap<string, QueueOptions>
  #closing: Promise<void> | undefined

  /** @param engine opened already; `connect` does that */
  constructor(engine: Engine, options: BusOptions = {}) {
    this.telemetry = options.telemetry ?? new Telemetry()
    this.#figures = new BusFigures(this.telemetry)
    this.#engine = this.telemetry.instrument(engine)
    this.#queueOptions = options.queues ?? new Map()
    for (const [name, { deadLetter }] of this.#queueOptions)
      if (deadLetter !== undefined) this.#deadLetters.set(name, deadLetter || null)
    const { clock = systemClock, logger = silentLogger } = options
    this.wakeups = new Wakeups({ engine: this.#engine, clock, logger })
    const { writer } = this.#engine.history
    this.telemetry.tallies = writer && new Tallies({ writer, clock, logger })
    this.#dependencies = {
      engine: this.#engine,
      telemetry: this.telemetry,
      wakeups: this.wakeups,
      life: new Life({ wakeups: this.wakeups, clock }),
      clock,
      logger,
      callsOf: (queue) =>
        this.#calls.get(queue, () => new QueueCalls(this.#engine, engine, this.telemetry, clock, queue)),
      topicCallsOf: (store, topic) => this.#topicCalls.get(topic, () => new TopicCalls(this.#engine, store, topic)),
      readers: new Set(),
      adopt: (worker) => this.#adopt(worker),
    }
    this.#publisher = new Publisher(this.#dependencies)
    this.schedules = new Schedules(this.#dependencies)
  }

  /** The storage behind it all. */
  get engine(): Engine {
    return this.#engine
  }

  /** The same in the forms of the storage. */
  get stored(): StoredBus {
    return storedBus(this, { ...this.#dependencies, optionsOf: (queue) => this.#queueOptions.get(queue) })
  }

  /**
   * A queue by its name. Touches the storage only when it is used.
   * @example const hires = bus.queue('hires', { maxLength: 10_000 })
   */
  queue<S extends StandardSchemaV1>(
    name: string,
    options: QueueOptionsWithSchema<S>,
  ): Queue<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>
  queue<T>(name: string, options: QueueOptionsWithSerializer<T>): Queue<T>
  queue<T = unknown>(name: string, options?: QueueOptions): Queue<T>
  queue(name: string, given?: QueueOptions): Queue {
    const options = withDefaults(given, this.#queueOptions.get(name))
    const queue = new Queue(name, options, this.#dependencies)
    this.#deadLetters.check(queue)
    if (options?.deadLetter !== undefined) this.#deadLetters.set(name, queue.deadLetterQueue)
    return queue
  }

  /**
   * All queues of the storage, by name, without those that Tidings made for itself. One whose name only other clients of
   * PGMQ take has the reason in `unusable`; such a queue is read and dropped by PGMQ's functions.
   * @example for (const { queue, createdAt } of await bus.queues()) console.log(queue, createdAt)
   */
  async queues(options?: QueueListOptions): Promise<QueueInfo[]> {
    return (await this.stored.queues(options)).map(toQueueInfo)
  }

  /**
   * The figures of all queues, by name, without those that Tidings made for itself.
   * @example const ready = (await bus.stats()).reduce((sum, { ready }) => sum + ready, 0)
   */
  async stats(options?: QueueListOptions): Promise<QueueFigures[]> {
    return (await this.stored.stats(() => true, options)).map(toQueueFigures)
  }

  /**
   * What all queues together looked like, and what was done in them, step by step; as `queue.history`.
   * @throws RANGE, TYPE
   * @example const { points } = await bus.history({ since: new Date(Date.now() - 86_400_000) })
   */
  history(options?: HistoryOptions): Promise<History> {
    return readHistory(this.#dependencies, null, options)
  }

  /**
   * Looks at messages of all queues, without changing anything, as `queue.peek` does: up to `limit` of each.
   * @returns by name, the queues that have some
   * @example for (const [queue, messages] of Object.entries(await bus.peek())) console.log(queue, messages.length)
   */
  async peek(options?: PeekOptions): Promise<Readonly<Record<string, readonly StoredCopy<unknown>[]>>> {
    const queues = (await this.queues()).filter(({ unusable }) => unusable === undefined)
    const found = await Promise.all(
      queues.map(async ({ queue }) => [queue, await ifThere(this.queue(queue).peek(options))] as const),
    )
    return Object.fromEntries(found.flatMap(([queue, messages]) => (messages?.length ? [[queue, messages]] : [])))
  }

  /**
   * A topic by its name. Touches the storage only when it is used. @throws UNSUPPORTED where there are none
   * @example const news = bus.topic('news', { retention: { maxAge: '30d' } })
   */
  topic<S extends StandardSchemaV1>(
    name: string,
    options: TopicOptionsWithSchema<S>,
  ): Topic<StandardSchemaV1.InferInput<S>, StandardSchemaV1.InferOutput<S>>
  topic<T>(name: string, options: TopicOptionsWithSerializer<T>): Topic<T>
  topic<T = unknown>(name: string, options?: TopicOptions): Topic<T>
  topic(name: string, options?: TopicOptions): Topic {
    return new Topic(name, options, this.#dependencies)
  }

  /**
   * All topics of the storage, by name. @throws UNSUPPORTED
   * @example for (const { topic, lastOffset } of await bus.topics()) console.log(topic, lastOffset)
   */
  async topics(): Promise<TopicInfo[]> {
    return (await this.stored.topics()).map(dated)
  }

  /**
   * From now on, what is published under a routing key that matches the pattern goes into the queue, or into the topic.
   * Segments are separated by dots; '*' stands for exactly one of them, '#' for any number, none included.
   * @param place a queue, its name, or a topic
   * @returns true if it was bound now, false if it was already
   * @throws PATTERN_INVALID with the position, QUEUE_NOT_FOUND, TOPIC_NOT_FOUND
   * @example await bus.bind('Orders.*.Paid', 'invoices')
   */
  bind(pattern: string, place: BoundPlace): Promise<boolean> {
    return this.#publisher.bind(pattern, place)
  }

  /**
   * @returns false if it was not bound
   * @example await bus.unbind('Orders.*.Paid', 'invoices')
   */
  unbind(pattern: string, place: BoundPlace): Promise<boolean> {
    return this.#publisher.unbind(pattern, place)
  }

  /**
   * What is bound to one queue, or to any, by queue and pattern. `topic.info()` has the patterns of a topic.
   * @example const patterns = (await bus.bindings('invoices')).map(({ pattern }) => pattern)
   */
  async bindings(queue?: QueueOrName): Promise<Binding[]> {
    return (await this.#publisher.bindings(queue)).map(dated)
  }

  /**
   * Stores a copy of the message in every queue and topic that is bound to a matching pattern: in all of them or in
   * none.
   * @returns the copies, by queue, then by topic; none where nothing matches. A duplicate has the id of the first message
   *   there.
   * @throws KEY_INVALID with the position; NO_ROUTE where nothing matches, with `mandatory`; as Queue.send for the rest
   * @example const copies = await bus.publish('Orders.Events.Paid', { order: 7 }, { mandatory: true })
   */
  publish(routingKey: string, data: unknown, options?: PublishOptions): Promise<PublishedCopy[]> {
    return this.#publisher.publish(routingKey, data, options)
  }

  /**
   * Publishes up to 10,000 messages under one routing key, in their order: all copies of all of them, or none.
   * @returns for each message its copies
   * @example await bus.publishBatch('Orders.Events.Paid', [{ data: { order: 7 } }, { data: { order: 8 } }])
   */
  publishBatch(
    routingKey: string,
    entries: readonly SendEntry<unknown>[],
    options?: PublishBatchOptions,
  ): Promise<PublishedCopy[][]> {
    return this.#publisher.publishBatch(routingKey, entries, options)
  }

  /**
   * Sends messages by the clock, from now on: the schedule is stored, and stands in the place of one of the name. The same
   * again changes nothing; where times are changed, they count from now.
   * @throws CRON_INVALID, TIMEZONE_UNKNOWN, SCHEDULE_NEVER, QUEUE_NOT_FOUND, TOPIC_NOT_FOUND, SCHEDULE_OWNED and others,
   *   before anything is stored
   * @example await bus.schedule('nightly', { cron: '0 2 * * *', timezone: 'Europe/Berlin', queue: 'reports', data: {} })
   */
  schedule(name: string, options: ScheduleOptions): Promise<ScheduleInfo> {
    return this.schedules.put(name, options)
  }

  /**
   * What happened to a target (`meta.targetId`) in all queues, archives and dead-letter queues, in the order of time.
   * Deleted messages leave nothing to tell of.
   * @example for (const { at, kind } of await bus.trace('person-7')) console.log(at, kind)
   */
  trace(targetId: string, options?: TraceOptions): Promise<TraceEvent[]> {
    return trace(this.#engine, targetId, options)
  }

  /**
   * What the queues tell of themselves, once the SQL of `tidings generate-migration` was applied. Nothing is connected
   * before it is read: by `for await` or `listen(handler)`. All share one connection.
   * @throws UNSUPPORTED
   * @example for await (const event of bus.events({ namespace: 'task_bus' })) console.log(event)
   */
  events(options?: EventsOptions): Events {
    if (!this.#engine.supports.has('events')) throw noEvents(this.#engine.name)
    const events = new Events(options, this.#dependencies)
    this.#own.add(events)
    return events
  }

  /**
   * Listens to a channel of PostgreSQL, the application's own (`NOTIFY shop, 'closed'`), over the one connection that this bus
   * listens by. What is notified while that is down is missed. Errors of the function are logged.
   * @returns once it listens; `stop()` ends it
   * @throws UNSUPPORTED on other storages and behind a pooler; CONFIG_INVALID for a name that no channel can have
   * @example const listening = await bus.listen('shop', (text) => console.log(text))
   */
  async listen(channel: string, handler: (text: string) => void | Promise<void>): Promise<ChannelListening> {
    if (!this.#engine.supports.has('events')) throw noEvents(this.#engine.name)
    const listening = new ChannelListening(channel, handler, this.#dependencies)
    this.#own.add(listening)
    await listening.start()
    return listening
  }

  /**
   * How far the tasks of a correlation are: messages that were sent with `meta.correlationId` and `track: true`.
   * @returns null if there are none; completed correlations are forgotten after 30 days
   * @example const { pending, dead } = (await bus.correlation('import-7'))!
   */
  correlation(id: string | number): Promise<Correlation | null> {
    return correlation(this.#engine, id)
  }

  /**
   * The processes in which workers, subscribers or consumers run now, on any host, by host and process; at most 1,000.
   * Each has said itself who it is. Behind a pooler none is known. @throws PERMISSION_DENIED, FORBIDDEN
   * @example for (const { host, pid, version } of await bus.processes()) console.log(host, pid, version)
   */
  async processes(): Promise<ProcessInfo[]> {
    return (await this.stored.processes()).map(dated)
  }

  /**
   * Watches queues and subscriptions by rules, reports what is beyond its limits to the log and to a webhook, and prunes
   * archives; nothing happens before `start()`. Of all sentinels on a storage one is active at a time.
   * @throws UNSUPPORTED for rules about topics where there are none; TYPE, RANGE, URL_NOT_ALLOWED and the like
   * @example const sentinel = bus.sentinel({ rules: [{ queues: 'orders*', maxReady: 1_000 }] })
   */
  sentinel(options?: SentinelOptions): Sentinel {
    const deadLetterQueueOf = (queue: string, settings?: QueueSettings) => this.#deadLetters.of(queue, settings)
    const adopt = (sentinel: Sentinel) => {
      this.#checkOpen()
      this.#sentinels.add(sentinel)
      this.#own.add(sentinel)
    }
    return new Sentinel(options, { ...this.#dependencies, deadLetterQueueOf, adopt })
  }

  /**
   * Looks for what could hurt: versions, permissions, durability, surroundings.
   * @example const problems = (await bus.diagnose()).filter(({ level }) => level === 'problem')
   */
  diagnose(): Promise<Finding[]> {
    return this.#engine.diagnose()
  }

  /**
   * What this bus sent, received, handled and settled, and its workers, in the text format of Prometheus. Calls are counted
   * from the first time on that this is asked for.
   * @example new Response(bus.metrics(), { headers: { 'content-type': 'text/plain' } })
   */
  metrics(): string {
    return this.#figures.text(this.#workers)
  }

  /**
   * Stops all workers gracefully, and all events, then gives the connections back. Safe to call twice. A handler that calls it
   * is not waited for: the bus begins to close, and is closed when the handler has returned.
   * @example await bus.close()
   */
  close(): Promise<void> {
    this.#closing ??= onItsOwn(() => this.#closeOnce())
    return isCalledBy(this.#own) ? Promise.resolve() : this.#closing
  }

  async #closeOnce(): Promise<void> {
    try {
      await Promise.all([this.wakeups.close(), ...[...this.#workers, ...this.#sentinels].map((one) => one.stop())])
      await Promise.all([...this.#dependencies.readers].map((one) => one.giveBack()))
      await this.#upkeep?.stop()
      await untilIdle(() => [...this.#calls.values(), ...this.#topicCalls.values(), this.#publisher])
      await this.telemetry.tallies?.close()
    } finally {
      await this.#engine.close()
    }
  }

  #adopt(worker: Running): void {
    this.#checkOpen()
    this.#workers.add(worker)
    if (worker instanceof Service) this.#own.add(worker)
    if (!this.#upkeep) {
      this.#upkeep = new Upkeep(this.#dependencies)
      void this.#upkeep.start()
    }
    void worker.finished.then(() => this.#dismiss(worker))
  }

  #checkOpen(): void {
    if (this.#closing !== undefined)
      throw new TidingsError('CLOSED', 'the bus is closed, so nothing can be started on it')
  }

  #dismiss(worker: Running): void {
    this.#workers.delete(worker)
    this.#figures.ended(worker)
    if (this.#workers.size > 0) return
    void this.#upkeep?.stop()
    this.#upkeep = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
