import { type Clock, systemClock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import type { JsonObject } from '../../core/json.ts'
import type {
  Binding,
  Cancelled,
  Claim,
  ClaimRequest,
  CorrelationState,
  Engine,
  Feature,
  Finding,
  Lease,
  MaintainRequest,
  NewMessage,
  Peeked,
  PeekRequest,
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
import { type Interest, isChannel, isPlace, type Listener, type Listening, nameIn } from '../../port/listening.ts'
import type { ProcessInfo } from '../../port/processes.ts'
import { durabilityUnavailable, noEvents, noQueue, queueFull } from '../../port/refusals.ts'
import { Bindings } from './bindings.ts'
import { cancelOne } from './cancelling.ts'
import { Correlations, completionMessage } from './correlations.ts'
import { notDurable } from './diagnose.ts'
import { MemoryHistory } from './history.ts'
import { extend, giveBack, leaseNext } from './leases.ts'
import { Listeners } from './listeners.ts'
import {
  claimable,
  countFresh,
  firstOf,
  forgetUnused,
  infoOf,
  isLeased,
  keysBefore,
  lookInto,
  type MemoryQueue,
  newQueue,
  pruneArchive,
  putInOrder,
  statsOf,
} from './queue.ts'
import { makeReady } from './readying.ts'
import { replaceUnread } from './replacing.ts'
import { MemorySchedules } from './schedules.ts'
import { archiveCancelled, type Inside, settleLater, settleOne, type Unread } from './settling.ts'
import { charge, select } from './sharing.ts'
import { asRead, dueOf, endOf, isAskedFor, mergeMeta } from './stored.ts'
import { MemoryTopics } from './topics.ts'
import { type MemoryOptions, type MemoryTransaction, Transactions } from './transactions.ts'

const features = ['topics', 'limits', 'schedules'] as const

/**
 * The port in memory: the executable specification of every other engine, and the engine for unit tests. Nothing
 * survives the process. Where a message is follows from its times and its receipt alone (`placeOf`), so time needs
 * no timers here.
 */
export class MemoryEngine implements Engine {
  readonly name: string = 'memory'
  readonly supports: ReadonlySet<Feature>
  /** For tests of applications. */
  readonly transactions: Transactions
  readonly limits = usualLimits
  readonly #clock: Clock
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #bindings = new Bindings()
  readonly #now = () => this.#clock.now()
  readonly #listeners = new Listeners((holder) => this.#giveBack(holder), this.#now)
  readonly topics = new MemoryTopics({
    now: this.#now,
    newReceipt: () => this.#newReceipt(),
    holder: () => this.#listeners.holder,
    checkOpen: () => this.#checkOpen(),
    within: (transaction) => this.transactions.within(transaction),
    checkQueue: (queue) => void this.#find(queue),
    copyInto: (queue, message, tx) => this.#sendCopy(queue, message, tx),
    wake: (topic) => this.#listeners.wake(`topic:${topic}`, 0),
    forget: (topic) => this.#listeners.forget(`topic:${topic}`),
  })
  readonly schedules: MemorySchedules
  readonly history: MemoryHistory
  readonly #correlations = new Correlations((name, completion) => {
    this.#create(name)
    this.#store(this.#find(name), completionMessage(name, completion, this.#clock.now()))
  })
  /** One count for all queues and topics, so that no receipt outlives its own into one of the same name. */
  #receipts = 0
  readonly #newReceipt = () => `receipt-${++this.#receipts}`
  #closed = false
  readonly #inside: Inside = {
    correlations: this.#correlations,
    now: this.#now,
    create: (name) => this.#create(name),
    find: (name) => this.#find(name),
    store: (queue, message) => this.#store(queue, message),
    remove: (queue, message) => this.#remove(queue, message),
    wake: (queue, visibleAt) => this.#wake(queue, visibleAt),
  }

  constructor({ clock = systemClock, transactions = 'refuse' }: MemoryOptions = {}) {
    this.#clock = clock
    this.transactions = new Transactions(transactions)
    this.supports = new Set<Feature>([...features, ...(transactions === 'refuse' ? [] : (['transactions'] as const))])
    this.history = new MemoryHistory(clock, (name) => this.#find(name))
    this.schedules = new MemorySchedules(this, this.#clock, (dueMs) => this.#listeners.wake('schedules', dueMs))
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
    this.history.forget(name)
    this.#listeners.forget(`queue:${name}`)
    this.#cancelAll(queue)
    return true
  }

  async describe(name: string | null): Promise<QueueInfo[]> {
    this.#checkOpen()
    return (name === null ? this.#names() : [name]).map((queue) => infoOf(this.#find(queue)))
  }

  async configure(name: string, change: JsonObject): Promise<JsonObject> {
    const queue = this.#find(name)
    queue.settings = structuredClone(mergeMeta(queue.settings, change))
    if ('limits' in change) queue.sharing.holds.clear()
    this.#listeners.changed(`queue:${name}`)
    return structuredClone(queue.settings)
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
    const tx = this.transactions.within(transaction)
    if (durability === 'fsync') throw durabilityUnavailable('memory: keeps nothing on disk', 'Use another storage.')
    const count = countFresh(queue, messages, this.#clock.now())
    if (count > 0 && queue.live.size + count > maxLength) throw queueFull(name, queue.live.size, maxLength, count)
    return messages.map((message) => this.#sendOne(queue, message, tx))
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
    const tx = this.transactions.within(transaction)
    for (const { routingKey, dedup } of messages) if (dedup?.replace) this.topics.refuseReplacing(routingKey)
    return messages.map(({ routingKey, ...message }) => {
      const inTopics = this.topics.route(routingKey, message, tx)
      const queues = new Set([...this.#bindings.queuesFor(routingKey), ...inTopics.queues])
      const inQueues = [...queues].sort().map((queue) => ({ queue, ...this.#sendCopy(queue, message, tx) }))
      return [...inQueues, ...inTopics.copies]
    })
  }

  #sendCopy(queue: string, message: NewMessage, tx: MemoryTransaction | null): SendResult {
    return this.#sendOne(this.#find(queue), { ...message, meta: { ...message.meta, queue_name: queue } }, tx)
  }

  #sendOne(queue: MemoryQueue, whole: NewMessage, tx: MemoryTransaction | null): SendResult {
    const { dedup, uniqueTarget, tracked, ...message } = whole
    const now = this.#clock.now()
    const first = firstOf(queue, { dedup, uniqueTarget }, now)
    if (first !== undefined && tx && dedup?.replace) {
      tx.add(() => void this.#sendOne(queue, whole, null))
      return { id: first, duplicate: false, replaced: true }
    }
    if (first !== undefined && dedup?.replace)
      return replaceUnread(queue, first, { ...message, dedup }, now, (visibleAt) => this.#wake(queue, visibleAt))
    if (first !== undefined) return { id: first, duplicate: true }

    const fresh = {
      data: message.data,
      meta: message.meta,
      headers: message.headers,
      priority: message.priority,
      orderingKey: message.orderingKey,
      group: message.group ?? null,
      sentAt: now,
      visibleAt: dueOf(message, now),
    }
    const id = this.#store(queue, fresh, tx)
    const undo = keysBefore(queue, { dedup, uniqueTarget })
    if (dedup !== null) queue.dedup.set(dedup.id, { firstId: id, until: endOf(dedup, now) })
    if (uniqueTarget !== null) queue.targets.set(uniqueTarget, id)
    const track = () => tracked && this.#correlations.add(queue.name, id, tracked, now)
    if (tx) tx.add(track, undo)
    else track()
    return { id, duplicate: false }
  }

  #store(queue: MemoryQueue, message: Unread, tx: MemoryTransaction | null = null): string {
    const id = String(++queue.lastId)
    const unread = { readCount: 0, firstReadAt: null, lastReadAt: null, archivedAt: null, receipt: null }
    const stored = structuredClone({ ...message, ...unread, id })
    const put = () => {
      putInOrder(queue, stored)
      this.#wake(queue, message.visibleAt)
    }
    if (!tx) put()
    else queue.pending.add(id)
    tx?.add(put, () => queue.pending.delete(id))
    return id
  }

  async claim(name: string, request: ClaimRequest): Promise<Claim> {
    const queue = this.#find(name)
    const now = this.#clock.now()
    const holder = request.held ? this.#listeners.holder : undefined
    if (holder !== undefined) this.#listeners.claims(holder, name)
    return leaseNext(queue, request, { now, holder, newReceipt: this.#newReceipt })
  }

  #giveBack(holder: object): void {
    const now = this.#clock.now()
    for (const queue of this.#queues.values()) if (giveBack(queue, holder, now)) this.#wake(queue, now)
    this.topics.giveBack(holder)
  }

  async pop(name: string, limit: number): Promise<StoredMessage[]> {
    const queue = this.#find(name)
    const now = this.#clock.now()
    const { messages } = select(queue, claimable(queue, null, now), { limit, inTurns: true, now })
    charge(queue, messages, { inTurns: true, now })
    return messages.map((message) => {
      this.#remove(queue, message)
      const read = { ...asRead(message, now), receipt: null }
      this.#correlations.end(name, message.id, isAskedFor(message) ? 'cancelled' : 'done', now)
      return isAskedFor(message) ? archiveCancelled(queue, read, now) : structuredClone(read)
    })
  }

  async peek(name: string, request: PeekRequest): Promise<Peeked> {
    return lookInto(this.#find(name), request, this.#clock.now())
  }

  async settle(name: string, settlements: readonly Settlement[], transaction?: Transaction): Promise<SettleResult[]> {
    const tx = this.transactions.within(transaction ?? null)
    const queue = this.#find(name)
    if (tx) return settlements.map((one) => settleLater(this.#inside, queue, one, tx))
    return settlements.map((settlement) => settleOne(this.#inside, queue, settlement))
  }

  async extend(name: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    const [now, queue] = [this.#clock.now(), this.#find(name)]
    return leases.map((lease) => extend(queue, lease, leaseMs, { now, newReceipt: this.#newReceipt }))
  }

  async cancel(name: string, ids: readonly string[], { running = false } = {}): Promise<Cancelled[]> {
    const queue = this.#find(name)
    return ids.map((id) => cancelOne(this.#inside, queue, id, running ? this.#listeners : null))
  }

  async makeReady(name: string, ids: readonly string[]): Promise<boolean[]> {
    const [now, queue] = [this.#clock.now(), this.#find(name)]
    return makeReady(queue, ids, now, () => this.#wake(queue, now))
  }

  async correlation(id: string): Promise<CorrelationState | null> {
    this.#checkOpen()
    const now = this.#clock.now()
    return this.#correlations.stateOf(id, (name, messageId) => isLeased(this.#queues.get(name), messageId, now))
  }

  async listen(listener: Listener): Promise<Listening> {
    this.#checkOpen()
    return this.#listeners.add(listener, (interest) => this.#checkInterest(interest))
  }

  #checkInterest(interest: Interest): void {
    if (isChannel(interest)) throw noEvents('memory')
    if (!isPlace(interest)) return
    if (interest.startsWith('topic:')) this.topics.check(nameIn(interest))
    else this.#find(nameIn(interest))
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.transactions.run(work)
  }

  async maintain(request: MaintainRequest): Promise<number> {
    this.#checkOpen()
    const now = this.#clock.now()
    if (request.kind === 'archive') return pruneArchive(this.#find(request.queue), request, now)
    for (const queue of this.#queues.values()) forgetUnused(queue, now)
    this.#correlations.maintain(now)
    this.topics.maintain(now)
    return 0
  }

  async processes(): Promise<ProcessInfo[]> {
    this.#checkOpen()
    return this.#listeners.processes
  }

  async diagnose(): Promise<Finding[]> {
    this.#checkOpen()
    return [notDurable]
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

  #remove(queue: MemoryQueue, message: StoredMessage): void {
    queue.live.delete(message.id)
    queue.holdings.delete(message.id)
    // The next message of its key may have become ready by this.
    if (message.orderingKey !== null) this.#wake(queue, this.#clock.now())
  }

  #wake(queue: MemoryQueue, visibleAt: number): void {
    this.#listeners.wake(`queue:${queue.name}`, Math.max(0, visibleAt - this.#clock.now()))
  }
}
