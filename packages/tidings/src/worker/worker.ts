import { sleep } from '../core/clock.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import { errorMeta } from '../core/message-error.ts'
import * as option from '../core/options.ts'
import { Service } from '../core/service.ts'
import type { QueueAccess } from '../messages/access.ts'
import type { Message } from '../messages/message.ts'
import { Buffer } from './buffer.ts'
import { Claimer } from './claimer.ts'
import { CallContext } from './context.ts'
import { Deadline } from './deadline.ts'
import type { Delivery } from './delivery.ts'
import { Journal, type WorkerStats } from './events.ts'
import { Fetcher } from './fetcher.ts'
import type { BatchHandler, Handler } from './handler.ts'
import {
  type BatchWorkOptions,
  batchWorkOptions,
  type ParsedWorkOptions,
  type StopOptions,
  stopOptions,
  type WorkOptions,
  workOptions,
} from './options.ts'
import { type Invoke, Process } from './process.ts'
import { Renewer } from './renewer.ts'
import { Settler } from './settler.ts'
import { StrictOrderHead } from './strict-order.ts'
import { ThroughputEstimate } from './throughput.ts'
import type { Verdict } from './verdict.ts'

export type { WorkerEvent, WorkerStats } from './events.ts'
export type { BatchContext, BatchHandler, Handler, HandlerContext, HandlerTransaction } from './handler.ts'
export type { BatchWorkOptions, StopOptions, WorkOptions } from './options.ts'

/** The most messages that are handled but not settled yet; the storage may be slow or away. */
const maxUnsettled = 1_000
const maxClaim = 1_000
/** How long handlers may take after their signals were aborted. */
const graceMs = 100
/** How long the last releases may take. */
const lastReleaseMs = 1_000

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
  readonly #renewer: Renewer
  readonly #throughput: ThroughputEstimate
  readonly #buffer: Buffer
  readonly #deadline: Deadline
  /** All deliveries, each from its claim to the end of its lease. */
  readonly #held = new Set<Delivery>()
  #calls = 0
  #handling = 0
  #unsettled = 0
  #returning = 0
  #begun = 0
  #draining = false
  #fetching: Promise<void> = Promise.resolve()
  #resolveEmpty: (() => void) | undefined

  private constructor(access: QueueAccess<unknown>, options: ParsedWorkOptions, invoke: Invoke, isBatch: boolean) {
    super()
    if (options.transactional && !access.engine.supports.has('transactions'))
      throw new TidingsError(
        'UNSUPPORTED',
        `transactional is set, but the ${access.engine.name} engine has no transactions`,
        {
          details: { feature: 'transactions' },
        },
      )
    const { name, clock, logger } = access
    const { concurrency, batchSize, batchWait, lease } = options
    this.#access = access
    this.#options = options
    this.#inOrder = concurrency === 1
    this.#journal = new Journal(logger, options.observe)
    const call: Invoke = (messages, context) => this.call(() => invoke(messages, context))
    this.#process = new Process(access, options, call, isBatch, this.#journal)
    this.#settler = new Settler(name, clock, this.#journal)
    const claimer = new Claimer(access, options, this.#settler, this.#journal)
    this.#head = new StrictOrderHead(claimer, clock, lease)
    this.#fetcher = new Fetcher(claimer, this.#head, {
      demand: () => this.#demand(),
      take: (deliveries) => this.#take(deliveries),
      giveBack: (deliveries) => this.#giveBack(deliveries),
      endsWhenEmpty: () => this.#draining && this.#held.size === 0,
    })
    this.#renewer = new Renewer(clock, lease, this.#held, {
      tick: () => this.#trim(),
      lost: (delivery) => this.#leaseLost(delivery),
    })
    this.#throughput = new ThroughputEstimate(concurrency * batchSize)
    this.#buffer = new Buffer(clock, batchSize, batchWait, () => this.#pump())
    this.#deadline = new Deadline(clock)
  }

  /** @throws TYPE, RANGE, OPTION_UNKNOWN and the like */
  static forEach<T>(access: QueueAccess<T>, handler: Handler<T>, options?: WorkOptions): Worker {
    option.parseFunction(handler, 'the handler')
    const parsed = { ...option.parseOptions(workOptions, options, 'work'), batchSize: 1, batchWait: 0 }
    return new Worker(access, parsed, (messages, context) => handler(messages[0] as Message<T>, context), false)
  }

  /** @throws TYPE, RANGE, OPTION_UNKNOWN and the like */
  static forBatches<T>(access: QueueAccess<T>, handler: BatchHandler<T>, options?: BatchWorkOptions): Worker {
    option.parseFunction(handler, 'the handler')
    const parsed = option.parseOptions(batchWorkOptions, options, 'workBatch')
    return new Worker(access, parsed, (messages, context) => handler(messages as Message<T>[], context), true)
  }

  /**
   * The counts since the start, and the messages held now. A failed last attempt counts as dead-lettered, too.
   * @example const { running, buffered } = worker.stats()
   */
  stats(): WorkerStats {
    return { ...this.#journal.counts, running: this.#handling, buffered: this.#buffer.size }
  }

  /**
   * Reads nothing more, gives back the messages read ahead (without a counted attempt), lets the handlers finish and
   * settles. At the deadline it aborts the signals of running handlers, gives them 100 ms, releases their messages and
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
    this.#pump()
    this.#fetcher.lookAgain()
    return this.isCaller ? Promise.resolve() : this.finished
  }

  protected override async onStart(): Promise<void> {
    this.#renewer.start()
    this.#fetching = this.#fetch()
  }

  protected override async onStop(): Promise<void> {
    this.#fetcher.stop()
    this.#giveBack(this.#buffer.trim(0))
    const finished = this.#fetching.then(() => this.#emptyHands())
    await Promise.race([finished, this.#deadline.over])
    if (this.#held.size > 0) await this.#abandon(finished)
    this.#deadline.clear()
    this.#settler.stop()
    this.#renewer.stop()
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

  #demand(): number {
    // In strict order, returning messages come before any message that a claim would find now.
    if (this.#inOrder && this.#returning > 0) return 0
    // A claim would bring late ones again, before they are settled.
    for (const { isLate } of this.#held) if (isLate) return 0
    const { concurrency, batchSize } = this.#options
    const idle = (concurrency - this.#calls) * batchSize
    const ahead = this.#ahead()
    const buffered = this.#buffer.size
    const isNeeded = buffered < idle || buffered <= ahead / 2
    return isNeeded ? Math.min(idle + ahead - buffered, maxClaim, this.#remaining() - buffered) : 0
  }

  #take(claimed: Delivery[]): void {
    const deliveries = claimed.filter((delivery) => !this.#isHandled(delivery))
    for (const delivery of deliveries) this.#held.add(delivery)
    // A message that was read before and has no error was in a process that died. Reading ahead starts slowly again, so
    // that a message that kills its process does not use up the attempts of many others.
    if (deliveries.some(({ message }) => message.readCount > 1 && !message.meta.error_message))
      this.#throughput.forget()
    this.#buffer.add(deliveries)
    this.#pump()
  }

  /**
   * Whether the message was handled to its end already: its lease ran out before the storage took the settlement, and the
   * message was claimed again. The settlement goes on under the newer lease.
   */
  #isHandled(delivery: Delivery): boolean {
    const { id, readCount } = delivery.message
    if (readCount === 1) return false
    const isSame = (one: Delivery) => one.message.id === id && one.phase === 'settling' && one.leavesQueue && !one.lost
    const handled = [...this.#held].find(isSame)
    handled?.continueWith(delivery)
    return handled !== undefined
  }

  #ahead(): number {
    const { prefetch, batchSize } = this.#options
    const ahead = Math.min(prefetch, this.#throughput.ahead(this.#access.clock.now()))
    // Whole batches only: the rest would be taken for a batch of its own.
    return ahead - (ahead % batchSize)
  }

  /** How many messages may still be begun. */
  #remaining(): number {
    return (this.#options.maxMessages ?? Number.POSITIVE_INFINITY) - this.#begun
  }

  #pump(): void {
    while (this.state === 'running' && this.#calls < this.#options.concurrency && this.#unsettled < maxUnsettled) {
      const deliveries = this.#buffer.take(this.#remaining(), this.#draining)
      if (deliveries.length === 0) break
      void this.#call(deliveries)
    }
    this.#fetcher.poke()
  }

  async #call(deliveries: Delivery[]): Promise<void> {
    const count = deliveries.length
    const { clock } = this.#access
    this.#calls++
    this.#handling += count
    this.#begun += count
    for (const delivery of deliveries) delivery.phase = 'handling'
    if (this.#remaining() <= 0) this.#stopByItself()

    const startedAt = clock.now()
    const verdicts = await this.#process.run(deliveries)
    this.#handling -= count
    this.#throughput.ended(clock.now() - startedAt, clock.now())
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
  async #settle({ delivery, ending, events, returnsMs }: Verdict): Promise<number | null> {
    const end = ending === null ? 'settled' : await this.#settler.settle(delivery, ending)
    this.#letGo(delivery)
    if (end === 'lost') this.#journal.tell({ type: 'leaseLost', queue: this.#access.name, message: delivery.message })
    if (end !== 'settled') return 0
    for (const event of events) this.#journal.tell(event)
    return returnsMs
  }

  /** Releases messages that were read but not begun, without a counted attempt. */
  #giveBack(deliveries: readonly Delivery[]): void {
    if (deliveries.length === 0) return
    this.#returning += deliveries.length
    for (const delivery of deliveries) this.#held.add(delivery)
    const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: true } as const
    const settled = deliveries.map((delivery) => this.#settler.settle(delivery, ending))
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
    this.#giveBack(this.#buffer.trim((concurrency - this.#calls) * batchSize + 2 * this.#ahead()))
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

  /** Releases the held messages at the deadline. Each counts as an attempt, because it was begun. */
  async #abandon(finished: Promise<void>): Promise<void> {
    const reason = new TidingsError('STOPPED', 'the worker was stopped, and its deadline is over')
    for (const { context } of this.#held) if (context) CallContext.abort(context, reason)
    await this.#within(graceMs, finished)
    this.#settler.stop()
    const handling = [...this.#held].filter((delivery) => delivery.phase === 'handling')
    const released = handling.map((delivery) => this.#release(delivery, reason))
    await this.#within(lastReleaseMs, Promise.all([...released, finished]))
  }

  async #release(delivery: Delivery, error: TidingsError): Promise<void> {
    const { message } = delivery
    const ended = delivery.ended
    delivery.lost = true
    const ending = { kind: 'release', delayMs: 0, meta: errorMeta(error), uncount: false } as const
    const end = ended ? 'ended' : await this.#settler.settle(delivery, ending)
    this.#letGo(delivery)
    const event = { type: 'failed', queue: this.#access.name, message, durationMs: 0, error, retryMs: 0 } as const
    if (end === 'settled') this.#journal.tell(event)
  }

  async #within(milliseconds: number, done: Promise<unknown>): Promise<void> {
    const over = new AbortController()
    await Promise.race([done, sleep(this.#access.clock, milliseconds, over.signal)])
    over.abort()
  }
}
