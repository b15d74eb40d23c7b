import { TidingsError } from '../../core/errors.ts'
import type { NewMessage } from '../../port/engine.ts'
import type {
  AppendResult,
  Hold,
  Position,
  Retention,
  SeekMove,
  SubscriptionState,
  TopicInfo,
  TopicMessage,
} from '../../port/topic-store.ts'
import { sizeOf } from './stored.ts'

interface Subscription {
  cursor: number
  readonly createdAt: number
  movedAt: number | null
  /** Who had it last; it is theirs until `heldUntil`. */
  consumer: string | null
  heldUntil: number
  /** The process of the consumer, if the hold ends with it. */
  holder: object | undefined
  /** That of the last consumer; null after a seek. */
  receipt: string | null
  /** How many holders vanished in a row, and after which offset that was; null after a seek. */
  vanished: number
  vanishedAfter: number | null
}

/** One topic: its messages in the order of their offsets, and its subscriptions. */
export class MemoryTopic {
  readonly name: string
  readonly createdAt: number
  description = ''
  retention: Retention = { maxAgeMs: null, maxBytes: null, whenRead: false }
  readonly patterns = new Set<string>()
  readonly queues = new Set<string>()
  readonly subscriptions = new Map<string, Subscription>()
  /** What is there; the offset of the first is one above `#removed`. */
  readonly #messages: TopicMessage[] = []
  #removed = 0
  #bytes = 0
  #lastPublishedAt = 0
  readonly #newReceipt: () => string
  readonly #wake: () => void
  readonly #dedup = new Map<string, { readonly offset: number; readonly until: number }>()

  constructor(name: string, now: number, { newReceipt, wake }: { newReceipt(): string; wake(topic: string): void }) {
    this.name = name
    this.createdAt = now
    this.#newReceipt = newReceipt
    this.#wake = () => wake(name)
  }

  get #lastOffset(): number {
    return this.#removed + this.#messages.length
  }

  info(): TopicInfo {
    return {
      topic: this.name,
      description: this.description,
      retention: this.retention,
      createdAt: this.createdAt,
      firstOffset: this.#removed + 1,
      lastOffset: this.#lastOffset,
      bytes: this.#bytes,
      subscriptions: this.subscriptions.size,
      patterns: [...this.patterns].sort(),
      queues: [...this.queues].sort(),
    }
  }

  /** The offset of the message that this one is a duplicate of. */
  firstOf({ dedup }: NewMessage, now: number): number | undefined {
    const first = dedup === null ? undefined : this.#dedup.get(dedup.id)
    return first !== undefined && now < first.until ? first.offset : undefined
  }

  take(message: NewMessage, now: number): AppendResult {
    const first = this.firstOf(message, now)
    if (first !== undefined) return { offset: first, duplicate: true }
    return this.#append(message, now)
  }

  #append({ data, meta, headers, dedup }: NewMessage, now: number): AppendResult {
    const offset = this.#lastOffset + 1
    // A clock may be put back, the order of messages not.
    this.#lastPublishedAt = Math.max(now, this.#lastPublishedAt)
    const message = structuredClone({ offset, data, meta, headers, publishedAt: this.#lastPublishedAt })
    this.#messages.push(message)
    this.#bytes += sizeOf(message)
    if (dedup !== null) this.#dedup.set(dedup.id, { offset, until: now + (dedup.windowMs ?? 0) })
    this.#wake()
    return { offset, duplicate: false }
  }

  read(after: number, limit: number): TopicMessage[] {
    const start = Math.max(0, after - this.#removed)
    return structuredClone(this.#messages.slice(start, start + limit))
  }

  subscribe(name: string, from: Position, now: number): boolean {
    if (this.subscriptions.has(name)) return false
    const cursor = this.#cursorAt(from, this.#lastOffset)
    const unheld = { consumer: null, heldUntil: 0, holder: undefined, receipt: null, vanished: 0, vanishedAfter: null }
    this.subscriptions.set(name, { cursor, createdAt: now, movedAt: null, ...unheld })
    return true
  }

  stateOf(name: string, now: number): SubscriptionState {
    const { cursor, createdAt, movedAt, consumer, heldUntil } = this.#find(name)
    return {
      subscription: name,
      cursor,
      lag: this.#lastOffset - Math.max(cursor, this.#removed),
      missed: Math.max(0, this.#removed - cursor),
      createdAt,
      movedAt,
      consumer: heldUntil > now ? consumer : null,
    }
  }

  hold(name: string, consumer: string, leaseMs: number, holder: object | undefined, now: number): Hold {
    const subscription = this.#find(name)
    const isNew = subscription.consumer !== consumer
    if (isNew && subscription.heldUntil > now) return { held: false, retryMs: subscription.heldUntil - now }
    this.#countVanished(subscription, isNew && subscription.heldUntil > 0)
    if (isNew || subscription.receipt === null) subscription.receipt = this.#newReceipt()
    subscription.consumer = consumer
    subscription.heldUntil = now + leaseMs
    // Who goes on is still the process that began.
    if (isNew || subscription.holder === undefined) subscription.holder = holder
    const { receipt, cursor, vanished } = subscription
    return { held: true, receipt, cursor, vanished }
  }

  #countVanished(subscription: Subscription, hasVanished: boolean): void {
    const place = Math.max(subscription.cursor, this.#removed)
    if (subscription.vanishedAfter !== place) Object.assign(subscription, { vanished: 0, vanishedAfter: place })
    if (hasVanished && place < this.#lastOffset) subscription.vanished++
  }

  /** Ends the holds of a process that is gone. */
  giveBack(holder: object, now: number): void {
    const lost = [...this.subscriptions.values()].filter((one) => one.holder === holder && one.heldUntil > now)
    for (const subscription of lost) subscription.heldUntil = now
    if (lost.length > 0) this.#wake()
  }

  leave(name: string, receipt: string): boolean {
    const subscription = this.#find(name)
    if (subscription.receipt !== receipt) return false
    subscription.heldUntil = 0
    this.#wake()
    return true
  }

  ack(name: string, offset: number, receipt: string | null, now: number): boolean {
    const subscription = this.#find(name)
    if (receipt !== null && subscription.receipt !== receipt) return false
    const cursor = Math.min(offset, this.#lastOffset)
    if (cursor > subscription.cursor) Object.assign(subscription, { cursor, movedAt: now })
    return true
  }

  seek(name: string | null, position: Position, now: number): number {
    const moved = name === null ? [...this.subscriptions.values()] : [this.#find(name)]
    for (const subscription of moved) {
      const cursor = this.#cursorAt(position, subscription.cursor)
      Object.assign(subscription, { cursor, movedAt: now, receipt: null, vanishedAfter: null })
    }
    this.#wake()
    return moved.length
  }

  planSeek(name: string | null, position: Position): SeekMove[] {
    const planned = name === null ? [...this.subscriptions] : [[name, this.#find(name)] as const]
    const moves = planned.map(([subscription, { cursor: from }]) => ({
      subscription,
      from,
      to: this.#cursorAt(position, from),
    }))
    return moves.sort((a, b) => (a.subscription < b.subscription ? -1 : 1))
  }

  /** The offset after which the position is, `from` being that of the subscription. */
  #cursorAt(position: Position, from: number): number {
    const wanted = this.#beforeBounds(position, from)
    return Math.min(Math.max(wanted, this.#removed), this.#lastOffset)
  }

  #beforeBounds(position: Position, from: number): number {
    if (position === 'earliest') return this.#removed
    if (position === 'latest') return this.#lastOffset
    if ('offset' in position) return position.offset - 1
    if ('back' in position) return from - position.back
    const next = this.#messages.find(({ publishedAt }) => publishedAt >= position.time)
    return next === undefined ? this.#lastOffset : next.offset - 1
  }

  /** Removes what the retention asks for, and forgets dedup ids that have expired. */
  trim(now: number): void {
    const { maxAgeMs, maxBytes } = this.retention
    const readByAll = this.retention.whenRead ? this.#readByAll() : 0
    for (let oldest = this.#messages[0]; oldest !== undefined; oldest = this.#messages[0]) {
      const isRead = oldest.offset <= readByAll
      const isOld = maxAgeMs !== null && oldest.publishedAt + maxAgeMs < now
      const isTooMuch = maxBytes !== null && this.#bytes > maxBytes
      if (!isRead && !isOld && !isTooMuch) break
      this.#messages.shift()
      this.#removed++
      this.#bytes -= sizeOf(oldest)
    }
    for (const [id, { until }] of this.#dedup) if (until <= now) this.#dedup.delete(id)
  }

  #readByAll(): number {
    const cursors = [...this.subscriptions.values()].map(({ cursor }) => cursor)
    return cursors.length === 0 ? 0 : Math.min(...cursors)
  }

  #find(name: string): Subscription {
    const subscription = this.subscriptions.get(name)
    if (subscription === undefined)
      throw new TidingsError(
        'SUBSCRIPTION_NOT_FOUND',
        `subscription '${name}' of topic '${this.name}' does not exist`,
        {
          details: { topic: this.name, subscription: name },
        },
      )
    return subscription
  }
}
