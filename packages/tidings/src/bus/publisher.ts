import type { Clock } from '../core/clock.ts'
import { show, TidingsError } from '../core/errors.ts'
import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { checkPattern, checkRoutingKey } from '../core/pattern.ts'
import type { BusDependencies } from '../messages/access.ts'
import { Batcher } from '../messages/batcher.ts'
import { withNearestName } from '../messages/missing-queue.ts'
import {
  messageBytesOption,
  type PublishBatchOptions,
  type PublishOptions,
  publishBatchOptions,
  publishOptions,
  type SendEntry,
} from '../messages/options.ts'
import { checkTransactions, type Outgoing, prepare, prepareBatch } from '../messages/prepare.ts'
import type { Binding, Engine, NewMessage, PublishedCopy, RoutedMessage, Rule, Transaction } from '../port/engine.ts'
import { sizeOf } from '../port/limits.ts'
import type { Telemetry } from '../port/telemetry.ts'
import { topicsOf, withNearestTopic } from '../topics/missing-topic.ts'

/** A queue, or its name. */
export type QueueOrName = string | { readonly name: string }

/** What a pattern can be bound to: a queue, its name, or a topic. */
export type BoundPlace = QueueOrName | TopicRef

interface TopicRef {
  readonly name: string
  readonly kind: 'topic'
}

/** The bus's side of routing: bindings, and publishing to all queues that a routing key leads to. */
export class Publisher {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #telemetry: Telemetry
  readonly #publishes: Batcher<RoutedMessage, PublishedCopy[]>

  constructor({ engine, clock, telemetry }: Pick<BusDependencies, 'engine' | 'clock' | 'telemetry'>) {
    this.#engine = engine
    this.#clock = clock
    this.#telemetry = telemetry
    this.#publishes = new Batcher((messages: RoutedMessage[]) => engine.publish(messages, null), engine, sizeOf)
  }

  get isBusy(): boolean {
    return this.#publishes.isBusy
  }

  idle(): Promise<void> {
    return this.#publishes.idle()
  }

  async bind(pattern: string, place: BoundPlace): Promise<boolean> {
    return this.#ruling(pattern, place, (rule) => this.#engine.bind(rule))
  }

  async unbind(pattern: string, place: BoundPlace): Promise<boolean> {
    return this.#ruling(pattern, place, (rule) => this.#engine.unbind(rule))
  }

  async bindings(queue?: QueueOrName): Promise<Binding[]> {
    if (queue === undefined) return this.#engine.bindings(null)
    return this.#engineCall(queue, (name) => this.#engine.bindings(name))
  }

  async publish(routingKey: string, data: unknown, options?: PublishOptions): Promise<PublishedCopy[]> {
    const routed = routedBy(checkRoutingKey(routingKey))
    const { tx, mandatory, ...parsed } = option.parseOptions(publishOptions, options, 'publish')
    // Awaiting only what is asynchronous keeps messages of one tick in their order.
    const prepared = prepare(data, parsed, this.#outgoing(routingKey))
    const message = prepared instanceof Promise ? await prepared : prepared
    const copies = tx
      ? (await this.#publishWithin(tx, [routed(message)]))[0]!
      : await this.#publishes.add(routed(message))
    if (mandatory && copies.length === 0) throw noRoute(routingKey)
    return copies
  }

  async publishBatch(
    routingKey: string,
    entries: readonly SendEntry<unknown>[],
    options?: PublishBatchOptions,
  ): Promise<PublishedCopy[][]> {
    const routed = routedBy(checkRoutingKey(routingKey))
    const { tx, mandatory } = option.parseOptions(publishBatchOptions, options, 'publishBatch')
    const messages = (await prepareBatch(entries, 'publishBatch', this.#outgoing(routingKey))).map(routed)
    const results = tx ? await this.#publishWithin(tx, messages) : await this.#engine.publish(messages, null)
    // All have one routing key: what one of them does not reach, none does.
    if (mandatory && results[0]?.length === 0) throw noRoute(routingKey)
    return results
  }

  async #publishWithin(tx: Transaction, messages: RoutedMessage[]): Promise<PublishedCopy[][]> {
    checkTransactions(this.#engine)
    return this.#engine.publish(messages, tx)
  }

  /** Schemas belong to queues: whoever reads a copy applies that of its queue. */
  #outgoing(routingKey: string): Outgoing {
    return {
      queue: null,
      destination: 'all queues',
      routingKey,
      schema: null,
      serializer: null,
      maxMessageBytes: messageBytesOption.defaultValue,
      bare: false,
      ttlMs: null,
      delayMs: 0,
      now: () => this.#clock.now(),
      origin: () => this.#telemetry.origin(),
    }
  }

  async #ruling<T>(pattern: string, place: BoundPlace, call: (rule: Rule) => Promise<T>): Promise<T> {
    if (!isTopic(place)) return this.#engineCall(place, (queue) => call({ pattern: checkPattern(pattern), queue }))
    const { name: topic } = place
    return withNearestTopic(topicsOf(this.#engine), { topic }, async () =>
      call({ pattern: checkPattern(pattern), topic }),
    )
  }

  #engineCall<T>(queue: QueueOrName, call: (name: string) => Promise<T>): Promise<T> {
    const name = checkQueueName(typeof queue === 'string' ? queue : queue?.name)
    return withNearestName(this.#engine, name, async () => call(name))
  }
}

const isTopic = (place: BoundPlace): place is TopicRef => (place as Partial<TopicRef> | null)?.kind === 'topic'

const routedBy =
  (routingKey: string) =>
  (message: NewMessage): RoutedMessage => ({ ...message, routingKey })

function noRoute(routingKey: string): TidingsError {
  return new TidingsError('NO_ROUTE', `no queue or topic is bound to a pattern that matches ${show(routingKey)}`, {
    details: { routingKey },
  })
}
