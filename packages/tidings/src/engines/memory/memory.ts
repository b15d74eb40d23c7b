import { type Clock, systemClock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import type {
  Binding,
  Claim,
  ClaimRequest,
  CorrelationState,
  Engine,
  Feature,
  Finding,
  Lease,
  MaintainRequest,
  NewMessage,
  PeekRequest,
  PruneRequest,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  RoutedMessage,
  Rule,
  SendResult,
  SendTerms,
  Settlement,
  SettleResult,
  StoredMessage,
  Transaction,
} from '../../port/engine.ts'
import { usualLimits } from '../../port/limits.ts'
import { type Interest, isChannel, type Listener, type Listening, nameIn } from '../../port/listening.ts'
import { durabilityUnavailable, noEvents, noQueue, queueFull } from '../../port/refusals.ts'
import { Bindings } from './bindings.ts'
import { Correlations } from './correlations.ts'
import { Listeners } from './listeners.ts'
import {
  claimable,
  countFresh,
  firstOf,
  lookInto,
  type MemoryQueue,
  newQueue,
  nextDueMs,
  pruneArchive,
  statsOf,
} from './queue.ts'
import { asRead, isDeadLetter, mergeMeta, placeOf } from './stored.ts'
import { MemoryTopics } from './topics.ts'
import { refuse, unsupported } from './transactions.ts'

/**
 * The port in memory: the executable specification of every other engine, and the engine for unit tests. Nothing
 * survives the process. Where a message is follows from its times and its receipt alone (`placeOf`), so time needs
 * no timers here.
 */
export class MemoryEngine implements Engine {
  readonly name: string = 'memory'
  readonly supports: ReadonlySet<Feature> = new Set<Feature>(['topics'])
  readonly limits = usualLimits
  readonly #clock: Clock
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #bindings = new Bindings()
  readonly #listeners = new Listeners()
  readonly topics = new MemoryTopics({
    now: () => this.#clock.now(),
    newReceipt: () => this.#newReceipt(),
    checkOpen: () => this.#checkOpen(),
    refuse,
    checkQueue: (queue) => void this.#find(queue),
    copyInto: (queue, message) => this.#sendCopy(queue, message),
    wake: (topic) => this.#listeners.wake(`topic:${topic}`, 0),
    forget: (topic) => this.#listeners.forget(`topic:${topic}`),
  })
  readonly #correlations = new Correlations((name, completion) => {
    this.#create(name)
    this.#store(this.#find(name), {
      data: JSON.stringify(completion),
      meta: { queue_name: name, correlation_id: completion.correlationId },
      headers: {},
      priority: 0,
      orderingKey: null,
      sentAt: this.#clock.now(),
      visibleAt: this.#clock.now(),
    })
  })
  /** One count for all queues and topics, so that no receipt outlives its own into one of the same name. */
  #receipts = 0
  #closed = false

  constructor(options: { clock?: Clock } = {}) {
    this.#clock = options.clock ?? systemClock
  }

  async open(): Promise<void> {
    this.#checkOpen()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#listeners.clear()
    this.#queues.clear()
    this.topics.close()
  }

  async createQueue(name: string): Promise<boolean> {
    this.#checkOpen()
    return this.#create(name)
  }

  #create(name: string): boolean {
    if (this.#queues.has(name)) return false
    this.#queues.set(name, newQueue(name, this.#clock.now()))
    return true
  }

  async dropQueue(name: string): Promise<boolean> {
    this.#checkOpen()
    const queue = this.#queues.get(name)
    if (queue === undefined) return false
    this.#queues.delete(name)
    this.#bindings.removeAll(name)
    this.topics.forgetQueue(name)
    this.#listeners.forget(`queue:${name}`)
    this.#cancelAll(queue)
    return true
  }

  async describe(name: string | null): Promise<QueueInfo[]> {
    this.#checkOpen()
    const names = name === null ? this.#names() : [name]
    return names.map((queue) => ({ queue, createdAt: this.#find(queue).createdAt }))
  }

  async purgeQueue(name: string): Promise<number> {
    const queue = this.#find(name)
    const count = queue.live.size
    this.#cancelAll(queue)
    return count
  }

  #cancelAll({ name, live }: MemoryQueue): void {
    const ids = [...live.keys()]
    live.clear()
    for (const id of ids) this.#correlations.end(name, id, 'cancelled', this.#clock.now())
  }

  async stats(name: string): Promise<QueueStats> {
    return statsOf(this.#find(name), this.#clock.now())
  }

  async send(
    name: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    { maxLength = Number.POSITIVE_INFINITY, durability }: SendTerms = {},
  ): Promise<SendResult[]> {
    const queue = this.#find(name)
    refuse(transaction)
    if (durability === 'fsync') throw durabilityUnavailable('memory: keeps nothing on disk', 'Use another storage.')
    const count = countFresh(queue, messages, this.#clock.now())
    if (count > 0 && queue.live.size + count > maxLength) throw queueFull(name, queue.live.size, maxLength, count)
    return messages.map((message) => this.#sendOne(queue, message))
  }

  async bind(rule: Rule): Promise<boolean> {
    if ('topic' in rule) return this.topics.bind(rule)
    return this.#bindings.add(rule.pattern, this.#find(rule.queue).name, this.#clock.now())
  }

  async unbind(rule: Rule): Promise<boolean> {
    if ('topic' in rule) return this.topics.unbind(rule)
    return this.#bindings.remove(rule.pattern, this.#find(rule.queue).name)
  }

  async bindings(name: string | null): Promise<Binding[]> {
    this.#checkOpen()
    const names = name === null ? this.#names() : [this.#find(name).name]
    return names.flatMap((queue) => this.#bindings.of(queue))
  }

  async publish(messages: readonly RoutedMessage[], transaction: Transaction | null): Promise<PublishedCopy[][]> {
    this.#checkOpen()
    refuse(transaction)
    return messages.map(({ routingKey, ...message }) => {
      const inTopics = this.topics.route(routingKey, message)
      const queues = new Set([...this.#bindings.queuesFor(routingKey), ...inTopics.queues])
      const inQueues = [...queues].sort().map((queue) => ({ queue, ...this.#sendCopy(queue, message) }))
      return [...inQueues, ...inTopics.copies]
    })
  }

  #sendCopy(queue: string, message: NewMessage): SendResult {
    return this.#sendOne(this.#find(queue), { ...message, meta: { ...message.meta, queue_name: queue } })
  }

  #sendOne(queue: MemoryQueue, { dedup, uniqueTarget, tracked, ...message }: NewMessage): SendResult {
    const now = this.#clock.now()
    const first = firstOf(queue, { dedup, uniqueTarget }, now)
    if (first !== undefined) return { id: first, duplicate: true }

    const id = this.#store(queue, {
      data: message.data,
      meta: message.meta,
      headers: message.headers,
      priority: message.priority,
      orderingKey: message.orderingKey,
      sentAt: now,
      visibleAt: Math.max(now, message.notBefore ?? now + message.delayMs),
    })
    if (dedup !== null) queue.dedup.set(dedup.id, { firstId: id, until: now + dedup.windowMs })
    if (uniqueTarget !== null) queue.targets.set(uniqueTarget, id)
    if (tracked !== undefined) this.#correlations.add(queue.name, id, tracked, now)
    return { id, duplicate: false }
  }

  #store(
    queue: MemoryQueue,
    message: Omit<StoredMessage, 'id' | 'readCount' | 'firstReadAt' | 'lastReadAt' | 'archivedAt' | 'receipt'>,
  ): string {
    const id = String(++queue.lastId)
    const unread = { readCount: 0, firstReadAt: null, lastReadAt: null, archivedAt: null, receipt: null }
    queue.live.set(id, structuredClone({ ...message, ...unread, id }))
    this.#wake(queue, message.visibleAt)
    return id
  }

  async claim(name: string, { limit, leaseMs, ids }: ClaimRequest): Promise<Claim> {
    const queue = this.#find(name)
    const now = this.#clock.now()
    const messages = claimable(queue, ids, limit, now).map((message) => {
      const leased = { ...asRead(message, now), visibleAt: now + leaseMs, receipt: this.#newReceipt() }
      queue.live.set(message.id, leased)
      return structuredClone(leased)
    })
    return { messages, nextDueMs: nextDueMs(queue, now) }
  }

  async pop(name: string, limit: number): Promise<StoredMessage[]> {
    const queue = this.#find(name)
    const now = this.#clock.now()
    return claimable(queue, null, limit, now).map((message) => {
      this.#remove(queue, message)
      this.#correlations.end(name, message.id, 'done', now)
      return structuredClone({ ...asRead(message, now), receipt: null })
    })
  }

  async peek(name: string, request: PeekRequest): Promise<StoredMessage[]> {
    return lookInto(this.#find(name), request, this.#clock.now())
  }

  async settle(name: string, settlements: readonly Settlement[], transaction?: Transaction): Promise<SettleResult[]> {
    refuse(transaction ?? null)
    const queue = this.#find(name)
    return settlements.map((settlement) => this.#settleOne(queue, settlement))
  }

  #settleOne(queue: MemoryQueue, settlement: Settlement): SettleResult {
    const now = this.#clock.now()
    const message = queue.live.get(settlement.id)
    if (message?.receipt !== settlement.receipt) return { settled: false, newId: null }
    switch (settlement.kind) {
      case 'delete':
        this.#remove(queue, message)
        this.#correlations.end(queue.name, message.id, 'done', now)
        break
      case 'archive': {
        this.#remove(queue, message)
        const meta = mergeMeta(message.meta, settlement.meta)
        queue.archive.set(message.id, { ...message, meta, archivedAt: now, receipt: null })
        this.#correlations.end(queue.name, message.id, isDeadLetter(meta) ? 'dead' : 'done', now)
        break
      }
      case 'release': {
        const visibleAt = now + settlement.delayMs
        const meta = mergeMeta(message.meta, settlement.meta)
        const readCount = message.readCount - (settlement.uncount ? 1 : 0)
        queue.live.set(message.id, { ...message, meta, readCount, visibleAt, receipt: null })
        this.#wake(queue, visibleAt)
        break
      }
      case 'move': {
        this.#remove(queue, message)
        const meta = mergeMeta(message.meta, settlement.meta)
        const copy = { ...message, meta, visibleAt: now + settlement.delayMs }
        this.#create(settlement.to)
        const newId = this.#store(this.#find(settlement.to), copy)
        this.#correlations.move(queue.name, message.id, settlement.to, newId, isDeadLetter(meta), now)
        return { settled: true, newId }
      }
    }
    return { settled: true, newId: null }
  }

  async extend(name: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    const queue = this.#find(name)
    const now = this.#clock.now()
    return leases.map(({ id, receipt }) => {
      const message = queue.live.get(id)
      if (message?.receipt !== receipt || placeOf(message, now) !== 'leased') return null
      const extended = { ...message, visibleAt: now + leaseMs, receipt: this.#newReceipt() }
      queue.live.set(id, extended)
      return extended.receipt
    })
  }

  async cancel(name: string, ids: readonly string[]): Promise<boolean[]> {
    const queue = this.#find(name)
    return ids.map((id) => {
      const message = queue.live.get(id)
      if (message === undefined || placeOf(message, this.#clock.now()) === 'leased') return false
      this.#remove(queue, message)
      this.#correlations.end(name, id, 'cancelled', this.#clock.now())
      return true
    })
  }

  async correlation(id: string): Promise<CorrelationState | null> {
    this.#checkOpen()
    const now = this.#clock.now()
    return this.#correlations.stateOf(id, (name, messageId) => {
      const message = this.#queues.get(name)?.live.get(messageId)
      return message !== undefined && placeOf(message, now) === 'leased'
    })
  }

  async listen(listener: Listener): Promise<Listening> {
    this.#checkOpen()
    return this.#listeners.add(listener, (interest) => this.#checkInterest(interest))
  }

  #checkInterest(interest: Interest): void {
    if (isChannel(interest)) throw noEvents('memory')
    if (interest.startsWith('topic:')) this.topics.check(nameIn(interest))
    else this.#find(nameIn(interest))
  }

  transaction(): Promise<never> {
    return Promise.reject(unsupported())
  }

  async maintain(request: MaintainRequest): Promise<number> {
    this.#checkOpen()
    const now = this.#clock.now()
    if (request.kind === 'archive') return this.#prune(request.queue, request)
    for (const { dedup, targets, live } of this.#queues.values()) {
      for (const [id, { until }] of dedup) if (until <= now) dedup.delete(id)
      for (const [target, id] of targets) if (!live.has(id)) targets.delete(target)
    }
    this.#correlations.maintain(now)
    this.topics.maintain(now)
    return 0
  }

  async #prune(name: string, request: PruneRequest): Promise<number> {
    return pruneArchive(this.#find(name), request, this.#clock.now())
  }

  async diagnose(): Promise<Finding[]> {
    this.#checkOpen()
    return [
      {
        level: 'warning',
        check: 'durability',
        message: 'messages are kept in memory and are lost when the process ends',
        remedy: 'Connect to PostgreSQL for anything that must not be lost.',
      },
    ]
  }

  #checkOpen(): void {
    if (this.#closed) throw new TidingsError('CLOSED', 'the memory engine is closed')
  }

  #names(): string[] {
    return [...this.#queues.keys()].sort()
  }

  #find(name: string): MemoryQueue {
    this.#checkOpen()
    const queue = this.#queues.get(name)
    if (queue === undefined) throw noQueue(name)
    return queue
  }

  #newReceipt(): string {
    return `receipt-${++this.#receipts}`
  }

  #remove(queue: MemoryQueue, message: StoredMessage): void {
    queue.live.delete(message.id)
    // The next message of its key may have become ready by this.
    if (message.orderingKey !== null) this.#wake(queue, this.#clock.now())
  }

  #wake(queue: MemoryQueue, visibleAt: number): void {
    this.#listeners.wake(`queue:${queue.name}`, Math.max(0, visibleAt - this.#clock.now()))
  }
}
