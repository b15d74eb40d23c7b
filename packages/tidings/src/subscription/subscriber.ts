import { sleep } from '../core/clock.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { Service } from '../core/service.ts'
import { delayAfter } from '../messages/backoff.ts'
import { ReceivedMessage } from '../topics/message.ts'
import { Deadline } from '../worker/deadline.ts'
import { LateAbort } from '../worker/late-abort.ts'
import { type StopOptions, stopOptions } from '../worker/options.ts'
import { deadLetter, failed, failureOf, type Outcome, toOutcome } from '../worker/outcome.ts'
import type { SubscriptionAccess } from './access.ts'
import { type DeadLetterBox, deadLetterBox, deadLetterQueueOf, vanishedError } from './dead-letter.ts'
import { Journal, type SubscriberCounts } from './events.ts'
import { Feed, type Item } from './feed.ts'
import type { SubscriptionHandler } from './handler.ts'
import type { Tenure } from './holding.ts'
import { type SubscribeOptions, subscribeOptions } from './options.ts'

export interface SubscriberStats extends SubscriberCounts {
  /** Whether this is the active consumer now, not a standby. */
  readonly active: boolean
  /** Messages in the handler now: 0 or 1. */
  readonly running: number
  /** Messages read ahead. */
  readonly buffered: number
}

/** How long the handler may take after its signal was aborted. */
const graceMs = 100
/** How long the release of the subscription may take after the deadline. */
const lastCallsMs = 1_000

type Parsed = option.OptionsOutput<typeof subscribeOptions>

/**
 * Calls a handler for every message of a subscription, one after the other, until it is stopped. Made by
 * `topic.subscribe`; keeps the process alive while it runs.
 *
 * Of all subscribers of one subscription, in all processes, one is active. The others stand by, and one of them takes
 * over when it stops or dies.
 */
export class Subscriber<T = unknown> extends Service {
  /** The queue for messages that failed too often; null: the subscriber stops at such a message. */
  readonly deadLetterQueue: string | null
  readonly #access: SubscriptionAccess<T>
  readonly #handler: SubscriptionHandler<T>
  readonly #options: Parsed
  readonly #journal: Journal
  readonly #feed: Feed
  readonly #deadLetters: DeadLetterBox | null
  readonly #deadline: Deadline
  readonly #stopBySignal = () => this.#stopByItself()
  #call: LateAbort | null = null
  /** That of the message in hand. */
  #tenure: Tenure | null = null
  #failure: unknown = null
  #complained = false
  #working: Promise<void> = Promise.resolve()

  /** @throws TYPE, RANGE, OPTION_UNKNOWN, DEAD_LETTER_INVALID and the like */
  constructor(access: SubscriptionAccess<T>, handler: SubscriptionHandler<T>, options?: SubscribeOptions) {
    super()
    this.#handler = option.parseFunction(handler, 'the handler')
    this.#options = option.parseOptions(subscribeOptions, options, 'subscribe')
    this.#access = access
    const { topic, name, logger, clock } = access
    this.deadLetterQueue = deadLetterQueueOf(access, this.#options)
    this.#journal = new Journal({ topic, subscription: name }, logger, this.#options.observe)
    const forEver = { waitMs: Number.POSITIVE_INFINITY, untilEmpty: null }
    this.#feed = new Feed(access, { ...this.#options, ...forEver }, this.#journal)
    this.#deadLetters = deadLetterBox(access, this.deadLetterQueue, this.#options, this.#journal)
    this.#deadline = new Deadline(clock)
  }

  /**
   * The counts since the start, and the messages held now. A failed last attempt counts as dead-lettered, too.
   * @example const { active, buffered } = subscriber.stats()
   */
  stats(): SubscriberStats {
    const { active, ahead } = this.#feed
    return { ...this.#journal.counts, active, running: this.#call === null ? 0 : 1, buffered: ahead }
  }

  /** The reason if the subscriber stopped by itself: with `deadLetter: false` the error of the message. Null otherwise. */
  get failure(): unknown {
    return this.#failure
  }

  /**
   * Begins no further message, lets the handler finish and releases the subscription. At the deadline it aborts the
   * signal of the handler and gives it 100 ms; the message comes again. A second call waits for the first and can only
   * bring the deadline forward.
   * @throws DURATION, RANGE for an invalid deadline; nothing else
   * @example await subscriber.stop()
   */
  override async stop(options?: StopOptions): Promise<void> {
    const { deadline } = option.parseOptions(stopOptions, options, 'stop')
    if (this.state === 'running' || this.state === 'stopping') this.#deadline.set(deadline)
    await super.stop()
  }

  /**
   * Works until there is nothing to read, then stops; at once if another consumer has the subscription.
   * @returns a promise that resolves when the subscriber has stopped
   * @example await subscriber.drain()
   */
  drain(): Promise<void> {
    this.#feed.drain()
    void this.start()
    return this.isCaller ? Promise.resolve() : this.finished
  }

  protected override async onStart(): Promise<void> {
    const { signal } = this.#options
    this.#working = this.#work()
    if (signal?.aborted) this.#stopByItself()
    signal?.addEventListener('abort', this.#stopBySignal, { once: true })
  }

  protected override async onStop(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#stopBySignal)
    this.#feed.stop()
    const left = this.#working.then(() => this.#feed.close())
    await Promise.race([left, this.#deadline.over.then(() => this.#abandon(left))])
    this.#deadline.clear()
    this.#journal.tell({ type: 'stopped', error: this.#failure })
  }

  /** Gives up waiting for the handler, and gives up acknowledgements that the storage does not take now. */
  async #abandon(left: Promise<void>): Promise<void> {
    this.#call?.abort(new TidingsError('STOPPED', 'the subscriber was stopped, and its deadline is over'))
    const { clock } = this.#access
    await Promise.race([this.#working, sleep(clock, graceMs)])
    this.#feed.giveUp()
    await Promise.race([this.#call === null ? left : this.#feed.close(), sleep(clock, lastCallsMs)])
  }

  async #work(): Promise<void> {
    try {
      for (let item = await this.#feed.next(); item !== null; item = await this.#feed.next()) await this.#process(item)
      if (this.state === 'running') this.#journal.tell({ type: 'drained' })
    } catch (error) {
      if (!isTidingsError(error, 'CLOSED')) this.#failure = error
    }
    this.#stopByItself()
  }

  /** Stops without a deadline: no caller has set one. */
  #stopByItself(): void {
    void super.stop()
  }

  /** Tries a message until it is done or dead-lettered, or until the tenure ends. */
  async #process(item: Item): Promise<void> {
    const { maxAttempts } = this.#options
    const fatal = vanishedError(item, maxAttempts)
    if (fatal !== null) return this.#endAsDead(item, fatal, item.vanished)
    for (let attempt = item.vanished + 1; !item.tenure.interrupted.aborted; ) {
      const confirmed = item.confirm()
      if (confirmed instanceof Promise) await confirmed
      if (item.tenure.interrupted.aborted) return
      const startedAt = this.#access.clock.now()
      const outcome = await this.#attempt(item, attempt)
      if (outcome === null) return
      const { decision } = outcome
      const durationMs = this.#access.clock.now() - startedAt
      switch (decision.kind) {
        case 'retry': {
          const { reason: error, delayMs } = decision
          const isLast = attempt >= maxAttempts
          const retryMs = isLast ? null : (delayMs ?? this.#delayAfter(attempt, error))
          this.#journal.tell({ type: 'failed', message: item.stored, attempt, durationMs, error, retryMs })
          if (retryMs === null) return this.#endAsDead(item, error, attempt)
          await this.#pause(item, retryMs)
          attempt++
          break
        }
        case 'snooze':
          this.#journal.tell({ type: 'snoozed', message: item.stored, delayMs: decision.delayMs })
          await this.#pause(item, decision.delayMs)
          break
        case 'deadLetter':
          return this.#endAsDead(item, decision.reason, attempt)
        default:
          item.acker.done(item.stored.offset)
          this.#journal.tell({ type: 'succeeded', message: item.stored, durationMs })
          return
      }
    }
  }

  /** @returns null if the outcome does not count */
  async #attempt(item: Item, attempt: number): Promise<Outcome | null> {
    const { stored, redelivered, tenure } = item
    const { topic, name, logger } = this.#access
    const call = new LateAbort()
    this.#heed(tenure)
    this.#call = call
    try {
      const decoded = this.#access.decode(stored)
      const data = decoded instanceof Promise ? await decoded : decoded
      this.#feed.handling = stored
      this.#journal.tell({ type: 'started', message: stored, attempt, redelivered })
      const message = new ReceivedMessage(name, redelivered, topic, stored, data)
      const { maxAttempts } = this.#options
      const context = {
        ...{ topic, subscription: name, attempt, maxAttempts, logger },
        get signal() {
          return call.signal
        },
      }
      const handlerCall = {
        ...{ destination: topic, subscription: name, messages: [stored] },
        failureOf: (outcome: Outcome) => failureOf([outcome]),
      }
      const outcome = await this.#access.telemetry.process(handlerCall, async () =>
        toOutcome(await this.call(() => this.#handler(message, context)), (why) => this.#judgeResult(why)),
      )
      // An aborted handler may return early, so its return does not mean success.
      return call.aborted ? null : outcome
    } catch (error) {
      if (call.aborted) return null
      // Invalid data stays invalid, so no other attempt is made. A schema that failed for other reasons may succeed later.
      return this.#feed.handling === null && isTidingsError(error, 'BODY_INVALID') ? deadLetter(error) : failed(error)
    } finally {
      // If the handler has blocked the process, it is told with this message.
      this.#access.life.look()
      this.#feed.handling = null
      this.#call = null
    }
  }

  /** The call ends with the tenure of its message. One listener a tenure: one a message would cost more than the rest of it. */
  #heed(tenure: Tenure): void {
    if (this.#tenure === tenure) return
    this.#tenure = tenure
    const lose = () => {
      if (this.#tenure !== tenure) return
      const { name } = this.#access
      this.#call?.abort(new TidingsError('LEASE_LOST', `another consumer may have subscription '${name}' now`))
    }
    tenure.lost.addEventListener('abort', lose, { once: true })
  }

  /** The subscription passes the message only after its dead letter is stored. */
  async #endAsDead(item: Item, error: unknown, attempts: number): Promise<void> {
    if (this.#deadLetters) return this.#deadLetters.put(item, error, attempts)
    this.#failure = error
    this.#stopByItself()
  }

  /** Warns once: such a handler returns a value every time. */
  #judgeResult(why: TidingsError): Outcome | undefined {
    if (this.#options.strictResults) return failed(why)
    if (!this.#complained) this.#journal.warn(why, why.hint)
    this.#complained = true
    return undefined
  }

  #delayAfter(attempt: number, error: unknown): number {
    const complain = (why: unknown) => this.#journal.warn(why, 'the backoff function gave no usable delay')
    return delayAfter(this.#options.backoff, attempt, error, complain)
  }

  #pause({ tenure }: Item, milliseconds: number): Promise<void> {
    return sleep(this.#access.clock, milliseconds, tenure.interrupted)
  }
}
