import { isTidingsError, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { Service } from '../core/service.ts'
import type { QueueAccess } from '../messages/access.ts'
import { cancelledError } from '../messages/lease.ts'
import type { Message } from '../messages/message.ts'
import { abandon } from './abandon.ts'
import { Buffer } from './buffer.ts'
import { Claimer, type Demand } from './claimer.ts'
import { CallContext } from './context.ts'
import { Deadline } from './deadline.ts'
import type { Delivery } from './delivery.ts'
import { Journal, type WorkerHappening, type WorkerStats } from './events.ts'
import { Fetcher } from './fetcher.ts'
import type { BatchHandler, Handler } from './handler.ts'
import { Held } from './held.ts'
import { Intake } from './intake.ts'
import {
  type BatchWorkOptions,
  batchWorkOptions,
  type OwnWorkOptions,
  type ParsedWorkOptions,
  type StopOptions,
  stopOptions,
  type WorkOptions,
  withStored,
  workOptions,
} from './options.ts'
import { type Invoke, Process } from './process.ts'
import { Settler } from './settler.ts'
import { StrictOrderHead } from './strict-order.ts'
import { requireTransactions } from './transactional.ts'
import type { Verdict } from './verdict.ts'

export type { WorkerEvent, WorkerStats } from './events.ts'
export type { BatchContext, BatchHandler, Handler, HandlerContext, HandlerTransaction } from './handler.ts'
export type { BatchWorkOptions, StopOptions, WorkOptions } from './options.ts'

/** The most messages that are handled but not settled yet; the storage may be slow or away. */
const maxUnsettled = 1_000

/**
 * Reads a queue and calls a handler, many at a time, until it is stopped. Made by `queue.work` and `queue.workBatch`;
 * keeps the process alive while it runs.
 *
 * With `concurrency: 1` it keeps strict order: the next message begins after the current one was settled as done or
 * dead-lettered. While that message waits for its next attempt (after an error, `retry` or `snooze`), the whole queue
 * waits, new messages too. This holds for one worker; several workers on one queue keep order only by `orderingKey`.
 */
export class Worker extends Service {
  readonly #access: QueueAccess<unknown>
  readonly #options: ParsedWorkOptions
  readonly #inOrder: boolean
  readonly #journal: Journal
  readonly #process: Process
  readonly #settler: Settler
  readonly #head: StrictOrderHead
  readonly #fetcher: Fetcher
  readonly #held: Held
  readonly #intake: Intake
  readonly #buffer: Buffer
  readonly #deadline: Deadline
  #calls = 0
  #handling = 0
  #unsettled = 0
  #returning = 0
  #begun = 0
  #draining = false
  #isPaused = false
  #fetching: Promise<void> = Promise.resolve()
  #resolveEmpty: (() => void) | undefined

  private constructor(access: QueueAccess<unknown>, own: OwnWorkOptions, invoke: Invoke, isBatch: boolean) {
    super()
    const options = withStored(own, access)
    if (options.transactional) requireTransactions(access.engine)
    const { name, clock } = access
    const { concurrency, batchSize, batchWait } = options
    this.#access = access
    this.#options = options
    this.#inOrder = concurrency === 1
    this.#journal = new Journal(access, options.observe)
    const call: Invoke = (messages, context) => this.call(() => invoke(messages, context))
    this.#held = new Held(access, options, {
      tick: () => this.#trim(),
      lost: (delivery) => this.#leaseLost(delivery),
      cancelled: ({ context, message }) => {
        if (context) CallContext.abortIfAllLost(context, cancelledError(name, message.id))
      },
      cleared: () => this.#pump(),
      blocked: (handling, durationMs) => {
        const messages = handling.map(({ message }) => message)
        this.#journal.tell({ type: 'blocked', queue: name, messages, durationMs })
      },
    })
    this.#process = new Process(access, options, call, isBatch, this.#journal, this.#held)
    this.#settler = new Settler(name, clock, this.#journal)
    const claimer = new Claimer(access, options, this.#settler, this.#journal, (heldBack) =>
      this.#intake.heldBack(heldBack),
    )
    this.#head = new StrictOrderHead(claimer, clock, options)
    this.#fetcher = new Fetcher(claimer, this.#head, {
      isPaused: () => this.#isPaused,
      demand: () => this.#demand(),
      take: (deliveries) => this.#take(deliveries),
      giveBack: (deliveries) => this.#giveBack(deliveries),
      endsWhenEmpty: () => this.#draining && this.#held.size === 0,
    })
    this.#intake = new Intake(options, clock, this.#held)
    this.#buffer = new Buffer(clock, batchSize, batchWait, () => this.#pump())
    this.#deadline = new Deadline(clock)
  }

  /** @internal */
  static forEach<T>(access: QueueAccess<T>, handler: Handler<T>, options?: WorkOptions): Worker {
    option.parseFunction(handler, 'the handler')
    const own = { ...option.parseOptions(workOptions, options, 'work'), batchSize: 1, batchWait: 0 }
    return new Worker(access, own, (messages, context) => handler(messages[0] as Message<T>, context), false)
  }

  /** @internal */
  static forBatches<T>(access: QueueAccess<T>, handler: BatchHandler<T>, options?: BatchWorkOptions): Worker {
    option.parseFunction(handler, 'the handler')
    const own = option.parseOptions(batchWorkOptions, options, 'workBatch')
    return new Worker(access, own, (messages, context) => handler(messages as Message<T>[], context), true)
  }

  /** The name of its queue. */
  get queue(): string {
    return this.#access.name
  }

  /**
   * The counts since the start, and the messages held now. A failed last attempt counts as dead-lettered, too.
   * @example const { running, buffered } = worker.stats()
   */
  stats(): WorkerStats {
    return { ...this.#journal.counts, running: this.#handling, buffered: this.#buffer.size }
  }

  /**
   * Looks into the queue now, instead of when it is told of something or `pollInterval` is over.
   * @returns false if the worker does not run
   * @example worker.poke()
   */
  poke(): boolean {
    if (this.state !== 'running') return false
    this.#fetcher.lookAgain()
    return true
  }

  /**
   * Begins nothing more until `resume` or `drain`: gives back what was read ahead, without a counted attempt. Handlers that run
   * end as usual. It holds for this worker; `queue.pause()` is for all processes.
   * @returns false if the worker does not run
   * @example worker.pause()
   */
  pause(): boolean {
    if (this.state !== 'running') return false
    this.#isPaused = true
    this.#startOver()
    return true
  }

  /**
   * Goes on after `pause`.
   * @returns false if the worker does not run
   * @example worker.resume()
   */
  resume(): boolean {
    this.#isPaused = false
    this.#pump()
    return this.state === 'running'
  }

  /** Whether `pause` holds. */
  get isPaused(): boolean {
    return this.#isPaused
  }

  /**
   * Reads nothing more, gives back the messages read ahead (without a counted attempt), lets the handlers finish and
   * settles. At the deadline it aborts the signals of running handlers, gives them 100 ms, releases their messages (uncounted too) and
   * resolves. A second call waits for the first and can only bring the deadline forward.
   * @throws DURATION, RANGE for an invalid deadline; nothing else
   * @example await worker.stop()
   */
  override async stop(options?: StopOptions): Promise<void> {
    const { deadline } = option.parseOptions(stopOptions, options, 'stop')
    if (this.state === 'running' || this.state === 'stopping') this.#deadline.set(deadline)
    await super.stop()
  }

  /**
   * Works until no message is ready or held, then stops. It does not wait for delayed messages, nor for failed messages in
   * their backoff. In strict order it does wait for failed messages, because others may be waiting behind them.
   * @returns a promise that resolves when the worker has stopped
   * @example await worker.drain()
   */
  drain(): Promise<void> {
    this.#draining = true
    void this.start()
    this.resume()
    this.#fetcher.lookAgain()
    return this.isCaller ? Promise.resolve() : this.finished
  }

  protected override async onStart(): Promise<void> {
    // What is claimed from then on comes back as soon as this process is gone.
    this.#fetching = this.#held.start().then(() => this.#fetch())
  }

  protected override async onStop(): Promise<void> {
    this.#fetcher.stop()
    this.#giveBack(this.#buffer.trim(0))
    const finished = this.#fetching.then(() => this.#emptyHands())
    await Promise.race([finished, this.#deadline.over])
    if (this.#held.size > 0) {
      const hands = { held: this.#held, settler: this.#settler, journal: this.#journal }
      await abandon(this.#access, hands, finished, (delivery) => this.#letGo(delivery))
    }
    this.#deadline.clear()
    this.#settler.stop()
    this.#held.stop()
    this.#journal.tell({ type: 'stopped', queue: this.#access.name })
  }

  async #fetch(): Promise<void> {
    const queue = this.#access.name
    try {
      await this.#fetcher.run(this.#inOrder)
      if (this.state === 'running') this.#journal.tell({ type: 'drained', queue })
    } catch (error) {
      if (!isTidingsError(error, 'CLOSED')) this.#journal.tell({ type: 'fetchFailed', queue, error })
    }
    this.#stopByItself()
  }

  // ---- from the buffer into the handlers ----

  #demand(): Demand {
    // In strict order, returning messages come before any message that a claim would find now.
    if (this.#inOrder && this.#returning > 0) return { limit: 0, ahead: 0 }
    const [calls, buffered, returning] = [this.#calls, this.#buffer.size, this.#returning]
    return this.#intake.demand({ calls, buffered, returning, remaining: this.#remaining() })
  }

  #take(claimed: Delivery[]): void {
    const { fresh, back, backMs } = this.#intake.take(claimed, this.#inOrder)
    this.#giveBack(back, backMs)
    this.#held.add(fresh)
    this.#buffer.add(fresh)
    this.#pump()
  }

  /** How many messages may still be begun. */
  #remaining(): number {
    return (this.#options.maxMessages ?? Number.POSITIVE_INFINITY) - this.#begun
  }

  #pump(): void {
    const mayBegin = () => this.#calls < this.#options.concurrency && this.#unsettled < maxUnsettled
    while (this.state === 'running' && !this.#isPaused && mayBegin() && this.#held.isClear) {
      const deliveries = this.#buffer.take(this.#remaining(), this.#draining)
      if (deliveries.length === 0) break
      void this.#call(deliveries)
    }
    this.#fetcher.poke()
  }

  async #call(deliveries: Delivery[]): Promise<void> {
    const count = deliveries.length
    const { clock, life } = this.#access
    this.#calls++
    this.#handling += count
    this.#begun += count
    for (const delivery of deliveries) delivery.phase = 'handling'
    if (this.#remaining() <= 0) this.#stopByItself()

    const startedAt = clock.now()
    const verdicts = await this.#process.run(deliveries)
    // If the handler has blocked the process, it is told with these messages.
    life.look()
    this.#handling -= count
    this.#intake.ended(clock.now() - startedAt)
    if (this.#inOrder) await this.#settleInOrder(verdicts)
    this.#calls--
    if (this.#inOrder) return this.#pump()

    this.#unsettled += count
    this.#pump()
    await Promise.all(verdicts.map((verdict) => this.#settle(verdict)))
    this.#unsettled -= count
    this.#pump()
  }

  /** Keeps the slot until the storage has answered. Returning messages go to the head of the queue. */
  async #settleInOrder(verdicts: readonly Verdict[]): Promise<void> {
    const returnsMs = await Promise.all(verdicts.map((verdict) => this.#settle(verdict)))
    const ids = verdicts.filter((_, index) => returnsMs[index] !== null).map(({ delivery }) => delivery.message.id)
    if (ids.length === 0 || this.state !== 'running') return
    const delayMs = Math.max(...returnsMs.map((each) => each ?? 0))
    this.#head.set(ids, delayMs)
    this.#startOver()
    this.#journal.tell({ type: 'paused', queue: this.#access.name, ids, delayMs })
  }

  /** Gives back the messages read ahead, to be claimed again in their order. */
  #startOver(): void {
    this.#giveBack(this.#buffer.trim(0))
    this.#fetcher.startOver()
  }

  /** @returns in how many milliseconds the message comes back; null if it has ended */
  async #settle({ delivery, ending, events, returnsMs, committed }: Verdict): Promise<number | null> {
    const end = ending === null ? 'settled' : await this.#settler.settle(delivery, ending)
    this.#letGo(delivery)
    const of = { queue: this.#access.name, message: delivery.message }
    if (end === 'lost') this.#journal.tell({ type: 'leaseLost', ...of })
    if (end === 'unknown') this.#journal.tell({ type: 'outcomeUnknown', ...of })
    if (end !== 'settled') return 0
    const wasCommitted = committed !== undefined && delivery.endedBefore
    const told: readonly WorkerHappening[] = delivery.wasCancelled ? [{ type: 'cancelled', ...of }] : events
    for (const event of wasCommitted ? committed : told) this.#journal.tell(event)
    // What was read ahead is held back, too.
    if (ending?.kind === 'release' && ending.hold !== undefined) this.#startOver()
    return wasCommitted ? null : returnsMs
  }

  /** Releases messages that were read but not begun, without a counted attempt. */
  #giveBack(deliveries: readonly Delivery[], delayMs = 0): void {
    if (deliveries.length === 0) return
    this.#returning += deliveries.length
    const ending = { kind: 'release', delayMs, meta: {}, uncount: true } as const
    const settled = deliveries.map((delivery) => this.#settler.settle(delivery, ending))
    this.#held.add(deliveries)
    void Promise.all(settled).then(() => {
      this.#returning -= deliveries.length
      this.#journal.tell({ type: 'returned', queue: this.#access.name, count: deliveries.length })
      for (const delivery of deliveries) this.#letGo(delivery)
      this.#pump()
    })
  }

  #letGo(delivery: Delivery): void {
    this.#held.delete(delivery)
    if (this.#held.size > 0) return
    this.#resolveEmpty?.()
    if (this.#draining) this.#fetcher.lookAgain()
  }

  // ---- leases ----

  #leaseLost(delivery: Delivery): void {
    if (delivery.phase === 'waiting') {
      this.#dropWaiting(delivery)
    } else if (delivery.phase === 'handling') {
      delivery.lost = true
      const { message } = delivery
      this.#journal.tell({ type: 'leaseLost', queue: this.#access.name, message })
      const reason = new TidingsError('LEASE_LOST', `the lease of message ${message.id} was lost while it was handled`)
      if (delivery.context) CallContext.abortIfAllLost(delivery.context, reason)
    }
  }

  #dropWaiting(delivery: Delivery): void {
    if (this.#inOrder) {
      this.#startOver()
    } else {
      this.#buffer.remove(delivery)
      this.#letGo(delivery)
      this.#pump()
    }
  }

  /** Slow handlers: gives messages that they will not reach soon to other workers. */
  #trim(): void {
    const { concurrency, batchSize } = this.#options
    // In strict order a message could come back out of order, and there should be no other worker.
    if (this.#inOrder) return
    this.#giveBack(this.#buffer.trim((concurrency - this.#calls) * batchSize + 2 * this.#intake.ahead))
  }

  // ---- stopping ----

  /** Stops without a deadline: no caller has set one. */
  #stopByItself(): void {
    void super.stop()
  }

  #emptyHands(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#held.size === 0) resolve()
      this.#resolveEmpty = resolve
    })
  }
}
