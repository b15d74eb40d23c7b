import { sleep } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { ConsumedMessage, ReceivedMessage } from '../topics/message.ts'
import type { Reader } from '../worker/iteration.ts'
import type { SubscriptionAccess } from './access.ts'
import { type DeadLetterBox, deadLetterBox, deadLetterQueueOf } from './dead-letter.ts'
import { Journal } from './events.ts'
import { Feed, type Item } from './feed.ts'
import { type TopicConsumeOptions, topicConsumeOptions } from './options.ts'

/** The delay after a schema failed for a reason other than the data. */
const undecodedMs = 1_000

/**
 * The messages of a subscription, one after the other, for an iteration. The subscription passes a message when the loop
 * asks for the next one, or by `message.ack()`; it does not pass the current message when the loop ends by `break` or an
 * error. After the loop another consumer can have the subscription at once.
 */
export class TopicConsumer<T> implements Reader<ConsumedMessage<T>> {
  /** Resolves when the loop has ended and the subscription was released. */
  readonly finished: Promise<void>

  readonly #access: SubscriptionAccess<T>
  readonly #options: option.OptionsOutput<typeof topicConsumeOptions>
  readonly #journal: Journal
  readonly #feed: Feed
  readonly #deadLetters: DeadLetterBox | null
  readonly #stopBySignal = () => this.#feed.stop()
  #current: Item | null = null
  #begun = false
  #closing: Promise<void> | undefined
  #resolveFinished: () => void = () => {}

  /** @throws TYPE, RANGE, OPTION_UNKNOWN, DEAD_LETTER_INVALID and the like */
  constructor(access: SubscriptionAccess<T>, options?: TopicConsumeOptions) {
    this.#access = access
    this.#options = option.parseOptions(topicConsumeOptions, options, 'consume')
    const { topic, name, logger } = access
    this.#journal = new Journal({ topic, subscription: name }, logger, this.#options.observe)
    const { wait, untilEmpty } = this.#options
    const waitMs = untilEmpty === null ? Number.POSITIVE_INFINITY : wait
    this.#feed = new Feed(access, { ...this.#options, waitMs }, this.#journal)
    const queue = deadLetterQueueOf(access, this.#options)
    this.#deadLetters = deadLetterBox(access, queue, this.#options, this.#journal)
    this.finished = new Promise((resolve) => {
      this.#resolveFinished = resolve
    })
  }

  get holdsCurrent(): boolean {
    return this.#current !== null && !this.#current.tenure.interrupted.aborted
  }

  /** @throws CLOSED if the bus was closed before; BODY_INVALID with `deadLetter: false` */
  async next(): Promise<ConsumedMessage<T> | null> {
    this.#begin()
    // If the loop has blocked the process, it is told with its message.
    this.#access.life.look()
    this.#feed.handling = null
    if (!this.#options.manualAck) this.#passCurrent()
    return this.#nextMessage()
  }

  interrupt(): void {
    this.#feed.stop()
  }

  /** Releases the subscription; the current message comes again. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  stop(): Promise<void> {
    return this.close()
  }

  #begin(): void {
    if (this.#begun) return
    this.#access.adopt(this)
    this.#begun = true
    const { signal } = this.#options
    if (signal?.aborted) this.#feed.stop()
    signal?.addEventListener('abort', this.#stopBySignal, { once: true })
  }

  #passCurrent(): void {
    this.#current?.acker.done(this.#current.stored.offset)
    this.#current = null
  }

  async #nextMessage(): Promise<ConsumedMessage<T> | null> {
    for (let item = await this.#feed.next(); item !== null; item = await this.#feed.next()) {
      const message = await this.#decode(item)
      if (message === null) continue
      this.#current = item
      this.#feed.handling = item.stored
      return message
    }
    return null
  }

  /** @returns null if the data cannot be decoded; the message was dead-lettered, or comes again */
  async #decode(item: Item): Promise<ConsumedMessage<T> | null> {
    const { stored, redelivered, acker, tenure } = item
    const { topic, name, clock } = this.#access
    while (!tenure.interrupted.aborted) {
      try {
        const data = await this.#access.decode(stored)
        this.#access.telemetry.received({ destination: topic, subscription: name }, [stored])
        const received = new ReceivedMessage(name, redelivered, topic, stored, data)
        return new ConsumedMessage(received, stored, () => {
          acker.done(stored.offset)
          return acker.flush()
        })
      } catch (error) {
        if (isTidingsError(error, 'BODY_INVALID')) {
          if (this.#deadLetters === null) throw error
          await this.#deadLetters.put(item, error, 1)
          return null
        }
        const failure = { durationMs: 0, attempt: 1, error, retryMs: undecodedMs }
        this.#journal.tell({ type: 'failed', message: stored, ...failure })
        await sleep(clock, undecodedMs, tenure.interrupted)
      }
    }
    return null
  }

  async #close(): Promise<void> {
    this.#feed.stop()
    this.#options.signal?.removeEventListener('abort', this.#stopBySignal)
    // A consumer that never began holds no subscription.
    if (this.#begun) {
      await this.#feed.close()
      this.#journal.tell({ type: 'stopped', error: null })
    }
    this.#resolveFinished()
  }
}
