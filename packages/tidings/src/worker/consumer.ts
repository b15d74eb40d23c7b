import { isTidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { errorMeta } from '../core/message-error.ts'
import * as option from '../core/options.ts'
import type { QueueAccess } from '../messages/access.ts'
import { expiryError } from '../messages/expiry.ts'
import { attemptOf, attemptsError } from '../messages/lease.ts'
import { Message } from '../messages/message.ts'
import type { Ending } from '../port/engine.ts'
import { Claimer } from './claimer.ts'
import type { Delivery } from './delivery.ts'
import { Journal } from './events.ts'
import { Held } from './held.ts'
import type { Reader } from './iteration.ts'
import { type ConsumeOptions, consumeOptions, type ParsedConsumeOptions, withStored } from './options.ts'
import { type Settled, Settler } from './settler.ts'

export type { ConsumeOptions } from './options.ts'

/** A reader that may hold a message when the bus is closed. */
export interface HoldingReader {
  giveBack(): Promise<void>
}

/** The delay after a schema failed for a reason other than the data. */
const undecodedMs = 1_000

/**
 * The messages of a queue, one after the other, for an iteration. The lease is renewed while the loop body runs. A
 * message that the body did not settle is deleted when the loop asks for the next one, and released when the loop ends
 * by `break` or an error. A message that was delivered `maxAttempts` times is dead-lettered instead of delivered again.
 */
export class Consumer<T> implements Reader<Message<T>>, HoldingReader {
  readonly #access: QueueAccess<T>
  readonly #options: ParsedConsumeOptions
  readonly #journal: Journal
  readonly #settler: Settler
  readonly #claimer: Claimer
  readonly #held: Held
  readonly #end = new AbortController()
  readonly #abort = () => this.#end.abort()
  readonly #readers: Set<HoldingReader>
  #current: Delivery | null = null

  /**
   * @param readers contains this consumer while it may hold a message
   * @throws TYPE, RANGE, OPTION_UNKNOWN and the like
   */
  constructor(access: QueueAccess<T>, readers: Set<HoldingReader>, options?: ConsumeOptions) {
    this.#access = access
    this.#readers = readers
    this.#options = withStored(option.parseOptions(consumeOptions, options, 'consume'), access)
    this.#journal = new Journal(access, null)
    this.#settler = new Settler(access.name, access.clock, this.#journal)
    this.#claimer = new Claimer(access, this.#options, this.#settler, this.#journal, () => {})
    this.#held = new Held(access, this.#options, {
      lost: (one) => this.#lost(one),
      // Its end is that of any other.
      cancelled: () => {},
      blocked: (handling, durationMs) => {
        const messages = handling.map(({ message }) => message)
        this.#journal.tell({ type: 'blocked', queue: access.name, messages, durationMs })
      },
    })
    const { signal } = this.#options
    if (signal?.aborted) this.#end.abort()
    signal?.addEventListener('abort', this.#abort, { once: true })
  }

  get holdsCurrent(): boolean {
    return this.#current !== null && !this.#current.lost && !this.#current.ended
  }

  /** @throws CLOSED if the bus was closed */
  async next(): Promise<Message<T> | null> {
    this.#readers.add(this)
    // If the loop has blocked the process, it is told with its message.
    this.#access.life.look()
    await this.#finishCurrent()
    return this.#nextMessage()
  }

  interrupt(): void {
    this.#end.abort()
  }

  async close(): Promise<void> {
    this.#end.abort()
    await this.giveBack()
    this.#readers.delete(this)
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#claimer.close()
    this.#held.stop()
  }

  /** Called before the bus is closed. */
  async giveBack(): Promise<void> {
    if (this.#current !== null) await this.#release(this.#current, {})
  }

  async #nextMessage(): Promise<Message<T> | null> {
    const { wait } = this.#options
    await this.#held.start()
    while (!this.#end.signal.aborted) {
      const [delivery] = await this.#claimer.claim({
        demand: () => ({ limit: 1, ahead: 0 }),
        signal: this.#end.signal,
        waitMs: wait ?? Number.POSITIVE_INFINITY,
        mayBeEmpty: () => false,
      })
      if (delivery === undefined) return null
      this.#held.add([delivery])
      this.#current = delivery
      if (this.#end.signal.aborted) await this.#release(delivery, { uncount: true })
      else if (delivery.isLate) await this.#release(delivery, { uncount: true })
      else if (await this.#isAdmitted(delivery)) {
        const data = await this.#decode(delivery)
        delivery.phase = 'handling'
        await this.#held.confirm([delivery])
        if (delivery.lost) this.#held.delete(delivery)
        else if (data !== null) {
          const { telemetry, name } = this.#access
          telemetry.handed(name, [delivery.message], delivery.heldMs)
          telemetry.received({ destination: name }, [delivery.message])
          return new Message(this.#access.name, delivery.message, data.value, delivery)
        }
      }
    }
    return null
  }

  async #isAdmitted(delivery: Delivery): Promise<boolean> {
    const tooMany = attemptsError(delivery.message, this.#options.maxAttempts)
    if (tooMany === null) return !(await this.#isExpired(delivery))
    await this.#deadLetter(delivery, tooMany, attemptOf(delivery.message) - 1)
    return false
  }

  async #isExpired(delivery: Delivery): Promise<boolean> {
    const { message } = delivery
    const { name: queue, expired: policy } = this.#access
    const error = expiryError(message, delivery.heldMs)
    if (error === null) return false
    if ((await this.#settle(delivery, delivery.expiredEnding(policy, error))) === 'settled') {
      this.#journal.tell({ type: 'expired', queue, message, policy })
      if (policy === 'deadLetter') this.#journal.tell({ type: 'deadLettered', queue, message, error })
    }
    return true
  }

  /** @returns null if the data cannot be decoded; the message is settled then */
  async #decode(delivery: Delivery): Promise<{ value: T } | null> {
    try {
      return { value: await this.#access.decode(delivery.message) }
    } catch (error) {
      if (isTidingsError(error, 'BODY_INVALID')) await this.#deadLetter(delivery, error)
      else await this.#release(delivery, { delayMs: undecodedMs, meta: errorMeta(error) })
      return null
    }
  }

  async #deadLetter(delivery: Delivery, error: unknown, attempts?: number): Promise<void> {
    if ((await this.#settle(delivery, delivery.deadLetterEnding(error, attempts))) === 'settled')
      this.#journal.tell({ type: 'deadLettered', queue: this.#access.name, message: delivery.message, error })
  }

  /** The loop asks for the next message, so its body has handled the current one. */
  async #finishCurrent(): Promise<void> {
    const delivery = this.#current
    if (delivery === null) return
    await this.#settle(delivery, { kind: 'delete' })
  }

  async #release(delivery: Delivery, how: { delayMs?: number; meta?: JsonObject; uncount?: boolean }): Promise<void> {
    const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: false, ...how } as const
    await this.#settle(delivery, ending)
  }

  async #settle(delivery: Delivery, ending: Ending): Promise<Settled | 'ended'> {
    const end = delivery.ended || delivery.lost ? 'ended' : await this.#settler.settle(delivery, ending)
    this.#held.delete(delivery)
    this.#current = null
    if (end === 'lost') this.#lost(delivery)
    if (end === 'unknown')
      this.#journal.tell({ type: 'outcomeUnknown', queue: this.#access.name, message: delivery.message })
    return end
  }

  #lost(delivery: Delivery): void {
    delivery.lost = true
    this.#journal.tell({ type: 'leaseLost', queue: this.#access.name, message: delivery.message })
  }
}
