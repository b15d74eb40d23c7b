import { ReadAhead } from '../messages/read-ahead.ts'
import { type Attempt, Poller } from '../messages/wait.ts'
import type { Position, TopicMessage } from '../port/topic-store.ts'
import type { SubscriptionAccess } from './access.ts'
import { Acker } from './acker.ts'
import type { Journal } from './events.ts'
import { type Answer, Holding, type Tenure } from './holding.ts'
import { Retrying } from './retrying.ts'
import { Seen } from './seen.ts'

export interface FeedOptions {
  readonly from: Position
  readonly lease: number
  readonly readAhead: number
  readonly pollInterval: number
  readonly ephemeral: boolean
  /** How long a read waits for the first message, and after how many empty reads in a row the feed ends; null: never. */
  readonly waitMs: number
  readonly untilEmpty: number | null
}

/** A message for the consumer, and the tenure in which it was read. */
export interface Item {
  readonly stored: TopicMessage
  readonly redelivered: boolean
  /** How many consumers in a row died while this message was the next. */
  readonly vanished: number
  readonly tenure: Tenure
  readonly acker: Acker
  /** Resolves when the message may be begun, or its tenure is over; undefined if that is so already. */
  confirm(): Promise<void> | undefined
}

type Held = Extract<Answer, { held: true }>

/** The shortest pause before asking again, for a hold that ends now. */
const shortestRetryMs = 10

/**
 * The messages of a subscription, in their order, for one consumer. Waits for the subscription, reads ahead, sleeps while
 * there is nothing to read, and begins again at the cursor after the subscription was lost or moved.
 */
export class Feed {
  readonly #access: SubscriptionAccess<unknown>
  readonly #options: FeedOptions
  readonly #journal: Journal
  readonly #retrying: Retrying
  readonly #holding: Holding
  readonly #readAhead: ReadAhead
  readonly #poller: Poller
  readonly #seen = new Seen()
  readonly #stop = new AbortController()
  readonly #giveUp = new AbortController()
  /** The message that the consumer has in hand. */
  handling: TopicMessage | null = null
  #nap = new AbortController()
  #tenure: Tenure | null = null
  #acker: Acker | null = null
  #ahead: TopicMessage[] = []
  #cursor = 0
  /** `vanished` of the tenure's first message; 0 after that message. */
  #vanished = 0
  /**
   * How many messages are still read one by one, because a consumer that died may have had them in hand. So the storage
   * knows of each message before the next, and the next death counts against the right one.
   */
  #toReadSingly = 0
  #emptyReads = 0
  #draining = false
  #closing: Promise<void> | undefined

  constructor(access: SubscriptionAccess<unknown>, options: FeedOptions, journal: Journal) {
    this.#access = access
    this.#options = options
    this.#journal = journal
    this.#retrying = new Retrying(access, options, journal)
    this.#readAhead = new ReadAhead(options.readAhead)
    this.#holding = new Holding(access, options.lease, journal, (durationMs) => {
      if (this.handling !== null) journal.tell({ type: 'blocked', message: this.handling, durationMs })
    })
    const { wakeups, clock, topic } = access
    this.#poller = new Poller({ wakeups, clock, interest: `topic:${topic}`, pollMs: options.pollInterval })
  }

  /** Messages read ahead. */
  get ahead(): number {
    return this.#tenure?.over.aborted ? 0 : this.#ahead.length
  }

  /** Whether this consumer is the active one, as far as it knows. */
  get active(): boolean {
    return this.#tenure !== null && !this.#tenure.lost.aborted
  }

  /** @returns null after `stop`, or when an empty subscription ends the feed @throws CLOSED */
  async next(): Promise<Item | null> {
    while (!this.#stop.signal.aborted) {
      const tenure = this.#tenure
      const confirmed = tenure !== null && this.#ahead.length > 0 && this.#holding.confirm(tenure, this.#stop.signal)
      if (confirmed instanceof Promise) await confirmed
      if (this.#stop.signal.aborted) break
      const stored = this.#ahead.shift()
      if (tenure !== null && stored !== undefined && !tenure.over.aborted) return this.#itemOf(stored, tenure)
      // Acknowledges before reading more: a consumer never runs far ahead of its cursor.
      await this.#acker?.flush()
      const isHeld = this.#tenure !== null && !this.#tenure.over.aborted
      if ((await (isHeld ? this.#read(this.#tenure!) : this.#take())) === 'ended') return null
    }
    return null
  }

  #itemOf(stored: TopicMessage, tenure: Tenure): Item {
    const vanished = this.#vanished
    this.#vanished = 0
    const redelivered = this.#seen.add(stored.offset) || vanished > 0
    const confirm = () => this.#holding.confirm(tenure, tenure.interrupted)
    return { stored, redelivered, vanished, tenure, acker: this.#acker!, confirm }
  }

  /** No further message is given out; a pending `next` resolves soon. */
  stop(): void {
    this.#stop.abort()
    this.#tenure?.interrupt()
    this.#nap.abort()
  }

  /** Ends the feed when there is nothing to read, or when another consumer has the subscription. */
  drain(): void {
    this.#draining = true
    this.#nap.abort()
  }

  /** Gives up pending acknowledgements. */
  giveUp(): void {
    this.#giveUp.abort()
  }

  /** Releases the subscription, or removes it if it is ephemeral. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#closeOnce()
    return this.#closing
  }

  async #closeOnce(): Promise<void> {
    this.stop()
    this.#poller.close()
    await this.#acker?.flush()
    const { store, topic, name } = this.#access
    try {
      await this.#holding.leave()
      if (this.#options.ephemeral) await store.unsubscribe(topic, name)
    } catch (error) {
      const left = this.#options.ephemeral ? 'it stays' : 'others have it when its lease ends'
      this.#journal.warn(error, `the subscription could not be left; ${left}`)
    }
  }

  async #take(): Promise<'ended' | 'go on'> {
    this.#poller.forget()
    const hold = await this.#retrying.onSubscription(this.#stop.signal, () => this.#standBy())
    this.#poller.forget()
    if (hold === 'busy') return 'ended'
    if (hold === null) return 'go on'
    const { tenure, cursor, vanished } = hold
    tenure.interrupted.addEventListener('abort', () => this.#nap.abort(), { once: true })
    this.#tenure = tenure
    this.#acker = new Acker(this.#access, {
      tenure,
      holding: this.#holding,
      retrying: this.#retrying,
      journal: this.#journal,
      giveUp: this.#giveUp.signal,
    })
    this.#cursor = cursor
    this.#vanished = vanished
    this.#toReadSingly = vanished > 0 ? this.#options.readAhead : 0
    this.#ahead = []
    return 'go on'
  }

  #standBy(): Promise<Held | 'busy' | null> {
    let told = false
    const patience = { waitMs: Number.POSITIVE_INFINITY, signal: this.#awake() }
    return this.#poller.wait<Held | 'busy'>(patience, async () => {
      const hold = await this.#holding.ask()
      if (hold.held) return { found: hold, full: false, nextDueMs: null }
      if (!told) this.#journal.tell({ type: 'standingBy' })
      told = true
      const nextDueMs = Math.max(shortestRetryMs, hold.retryMs)
      return { found: this.#draining ? 'busy' : null, full: false, nextDueMs }
    })
  }

  async #read(tenure: Tenure): Promise<'ended' | 'go on'> {
    const { waitMs, untilEmpty } = this.#options
    const resting = () => this.#journal.tell({ type: 'idle' })
    let awake: AbortSignal | undefined
    const found = await this.#retrying.onSubscription(this.#stop.signal, () => {
      awake = this.#awake(tenure)
      return this.#poller.wait({ waitMs, signal: awake, resting }, () => this.#readOnce(tenure))
    })
    if (found === 'empty') return 'ended'
    if (found !== null && !tenure.over.aborted) {
      this.#emptyReads = 0
      this.#begin(found)
    } else if (awake?.aborted === false && ++this.#emptyReads === untilEmpty) {
      return 'ended'
    }
    return 'go on'
  }

  async #readOnce(tenure: Tenure): Promise<Attempt<TopicMessage[] | 'empty'>> {
    const { store, topic } = this.#access
    const limit = this.#toReadSingly > 0 ? 1 : this.#readAhead.count
    const messages = await store.read(topic, this.#cursor, limit).catch((error: unknown) => {
      this.#readAhead.shrink()
      throw error
    })
    if (messages.length > 0) return { found: messages, full: messages.length === limit, nextDueMs: null }
    // The subscription may have been moved, which also wakes the poller.
    await this.#holding.ask()
    const found = this.#draining && !tenure.over.aborted ? 'empty' : null
    return { found, full: false, nextDueMs: null }
  }

  #begin(messages: TopicMessage[]): void {
    const before = messages[0]!.offset
    const count = before - this.#cursor - 1
    if (count > 0) this.#journal.tell({ type: 'missed', count, before })
    this.#ahead = messages
    this.#readAhead.learn(messages)
    this.#toReadSingly = Math.max(0, this.#toReadSingly - messages.length)
    this.#cursor = messages.at(-1)!.offset
  }

  /** A signal that ends the current wait: on `stop`, and when the feed has to look again. */
  #awake(tenure?: Tenure): AbortSignal {
    this.#nap = new AbortController()
    if (this.#stop.signal.aborted || tenure?.interrupted.aborted) this.#nap.abort()
    return this.#nap.signal
  }
}
