import { PatternIndex } from '../../core/pattern-index.ts'
import type { NewMessage, SendResult, TopicCopy, TopicRule, Transaction } from '../../port/engine.ts'
import { keepsAll, noTopic } from '../../port/refusals.ts'
import type {
  AppendResult,
  Hold,
  Position,
  SeekMove,
  SubscriptionState,
  TopicInfo,
  TopicMessage,
  TopicSettings,
  TopicStore,
} from '../../port/topic-store.ts'
import { MemoryTopic } from './topic.ts'
import type { MemoryTransaction } from './transactions.ts'

/** What topics need of the engine that they belong to. */
export interface Surroundings {
  now(): number
  newReceipt(): string
  /** The process to which a hold belongs now; undefined: to none. */
  holder(): object | undefined
  /** Throws CLOSED. */
  checkOpen(): void
  /** Where what is done in it has to wait. */
  within(transaction: Transaction | null): MemoryTransaction | null
  /** Throws QUEUE_NOT_FOUND. */
  checkQueue(queue: string): void
  /** Somebody may have to look into the topic. */
  wake(topic: string): void
  /** It is gone. */
  forget(topic: string): void
  /** Stores a copy in a queue that is there. */
  copyInto(queue: string, message: NewMessage, tx: MemoryTransaction | null): SendResult
}

/** The topics of a memory engine. */
export class MemoryTopics implements TopicStore {
  readonly #topics = new Map<string, MemoryTopic>()
  /** Names of topics by their patterns; made anew by the next publish after a change. */
  #index: PatternIndex<string> | null = null
  readonly #engine: Surroundings

  constructor(engine: Surroundings) {
    this.#engine = engine
  }

  async createTopic(name: string, settings: TopicSettings): Promise<boolean> {
    this.#engine.checkOpen()
    const there = this.#topics.get(name)
    const topic = there ?? new MemoryTopic(name, this.#engine.now(), this.#engine)
    topic.description = settings.description ?? topic.description
    topic.retention = settings.retention ?? topic.retention
    this.#topics.set(name, topic)
    return there === undefined
  }

  async dropTopic(name: string): Promise<boolean> {
    this.#engine.checkOpen()
    this.#engine.forget(name)
    this.#index = null
    return this.#topics.delete(name)
  }

  async listTopics(name: string | null): Promise<TopicInfo[]> {
    this.#engine.checkOpen()
    return (name === null ? this.#names() : [name]).map((one) => this.#find(one).info())
  }

  bind(rule: TopicRule): boolean {
    const rules = this.#rulesLike(rule)
    if (rules.names.has(rules.name)) return false
    this.#index = null
    rules.names.add(rules.name)
    return true
  }

  unbind(rule: TopicRule): boolean {
    const rules = this.#rulesLike(rule)
    this.#index = null
    return rules.names.delete(rules.name)
  }

  #rulesLike(rule: TopicRule): { names: Set<string>; name: string } {
    const { patterns, queues } = this.#find(rule.topic)
    if ('pattern' in rule) return { names: patterns, name: rule.pattern }
    this.#engine.checkQueue(rule.queue)
    return { names: queues, name: rule.queue }
  }

  async append(
    name: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
  ): Promise<AppendResult[]> {
    const topic = this.#find(name)
    const tx = this.#engine.within(transaction)
    if (messages.some(({ dedup }) => dedup?.replace)) throw keepsAll(name)
    return messages.map((message) => {
      const result = this.#take(topic, message, tx)
      if (!result.duplicate) for (const queue of topic.queues) this.#engine.copyInto(queue, message, tx)
      return result
    })
  }

  /** In a transaction it gets its offset when that commits. */
  #take(topic: MemoryTopic, message: NewMessage, tx: MemoryTransaction | null): AppendResult {
    const duplicateOf = topic.firstOf(message, this.#engine.now())
    if (duplicateOf !== undefined) return { offset: duplicateOf, duplicate: true }
    if (!tx) return topic.take(message, this.#engine.now())
    tx.add(() => void topic.take(message, this.#engine.now()))
    return { offset: null, duplicate: false }
  }

  /** Puts a message into the topics that are linked to its routing key. @returns also the queues to which it goes on */
  route(
    routingKey: string,
    message: NewMessage,
    tx: MemoryTransaction | null,
  ): { copies: TopicCopy[]; queues: string[] } {
    const linked = this.#linkedTo(routingKey)
    const taken = linked.map((topic) => ({ topic, result: this.#take(topic, message, tx) }))
    return {
      copies: taken.map(({ topic, result }) => ({ topic: topic.name, ...result })),
      queues: taken.flatMap(({ topic, result }) => (result.duplicate ? [] : [...topic.queues])),
    }
  }

  #linkedTo(routingKey: string): MemoryTopic[] {
    this.#index ??= new PatternIndex(
      [...this.#topics.values()].flatMap(({ name, patterns }) => [...patterns].map((one) => [one, name] as const)),
    )
    return [...this.#index.find(routingKey)].sort().map((name) => this.#find(name))
  }

  refuseReplacing(routingKey: string): void {
    const [topic] = this.#linkedTo(routingKey)
    if (topic !== undefined) throw keepsAll(topic.name)
  }

  async read(name: string, after: number, limit: number): Promise<TopicMessage[]> {
    return this.#find(name).read(after, limit)
  }

  async subscribe(name: string, subscription: string, from: Position): Promise<boolean> {
    return this.#find(name).subscribe(subscription, from, this.#engine.now())
  }

  async unsubscribe(name: string, subscription: string): Promise<boolean> {
    return this.#find(name).subscriptions.delete(subscription)
  }

  async subscriptions(name: string, subscription: string | null): Promise<SubscriptionState[]> {
    const topic = this.#find(name)
    const names = subscription === null ? [...topic.subscriptions.keys()].sort() : [subscription]
    return names.map((one) => topic.stateOf(one, this.#engine.now()))
  }

  async hold(name: string, subscription: string, consumer: string, leaseMs: number, held = false): Promise<Hold> {
    const holder = held ? this.#engine.holder() : undefined
    return this.#find(name).hold(subscription, consumer, leaseMs, holder, this.#engine.now())
  }

  giveBack(holder: object): void {
    for (const topic of this.#topics.values()) topic.giveBack(holder, this.#engine.now())
  }

  async leave(name: string, subscription: string, receipt: string): Promise<boolean> {
    return this.#find(name).leave(subscription, receipt)
  }

  async ack(name: string, subscription: string, offset: number, receipt: string | null): Promise<boolean> {
    return this.#find(name).ack(subscription, offset, receipt, this.#engine.now())
  }

  async seek(name: string, subscription: string | null, position: Position): Promise<number> {
    return this.#find(name).seek(subscription, position, this.#engine.now())
  }

  async planSeek(name: string, subscription: string | null, position: Position): Promise<SeekMove[]> {
    return this.#find(name).planSeek(subscription, position)
  }

  /** Throws TOPIC_NOT_FOUND. */
  check(name: string): void {
    this.#find(name)
  }

  /** A queue was dropped, and with it what leads there. */
  forgetQueue(queue: string): void {
    for (const { queues } of this.#topics.values()) queues.delete(queue)
  }

  maintain(now: number): void {
    for (const topic of this.#topics.values()) topic.trim(now)
  }

  close(): void {
    this.#topics.clear()
  }

  #names(): string[] {
    return [...this.#topics.keys()].sort()
  }

  #find(name: string): MemoryTopic {
    this.#engine.checkOpen()
    const topic = this.#topics.get(name)
    if (topic === undefined) throw noTopic(name)
    return topic
  }
}
