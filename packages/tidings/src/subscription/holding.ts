import { randomUUID } from 'node:crypto'
import type { Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import { newTurns } from '../core/in-turn.ts'
import type { SubscriptionAccess } from './access.ts'
import type { Journal } from './events.ts'

/** The time in which one receipt is valid: no other consumer reads the subscription, and nobody moves it. */
export class Tenure {
  readonly receipt: string
  readonly #over = new AbortController()
  readonly #lost = new AbortController()
  readonly #interrupted = new AbortController()

  constructor(receipt: string) {
    this.receipt = receipt
  }

  /** Aborted when no further message of this tenure may begin. */
  get over(): AbortSignal {
    return this.#over.signal
  }

  /** Aborted when another consumer may be at work. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** Aborted when the tenure is over or its consumer stops, to end waits. One signal, because AbortSignal.any accumulates. */
  get interrupted(): AbortSignal {
    return this.#interrupted.signal
  }

  interrupt(): void {
    this.#interrupted.abort()
  }

  end(how: 'moved' | 'lost'): void {
    this.#over.abort()
    this.interrupt()
    if (how === 'lost') this.#lost.abort()
  }
}

/** `cursor` is the storage's current one; `vanished` as in the port. */
export type Answer =
  | { readonly held: true; readonly tenure: Tenure; readonly cursor: number; readonly vanished: number }
  | { readonly held: false; readonly retryMs: number }

/** Holds a subscription for one consumer: asks for it, renews the lease by a timer, and notices a loss. */
export class Holding {
  readonly #access: SubscriptionAccess<unknown>
  readonly #leaseMs: number
  readonly #journal: Journal
  /** The id of this consumer, unique among all processes. */
  readonly #consumer = randomUUID()
  #tenure: Tenure | null = null
  readonly #inTurn = newTurns()
  #renewing = false
  #left = false
  #timer: Timer | undefined
  /**
   * The sum of the ticks, not a clock difference: after a clock is set back the lease would seem to last for a long time.
   */
  #elapsedMs = 0
  #lastTick = 0
  #leasedUntilMs = 0

  constructor(access: SubscriptionAccess<unknown>, leaseMs: number, journal: Journal) {
    this.#access = access
    this.#leaseMs = leaseMs
    this.#journal = journal
  }

  /** Asks for the subscription, or extends its lease. Calls run one after the other. */
  ask(): Promise<Answer> {
    return this.#inTurn(() => this.#askNow())
  }

  /** Releases the subscription, so that others need not wait for the end of the lease. */
  leave(): Promise<void> {
    this.#timer?.cancel()
    return this.#inTurn(async () => {
      this.#left = true
      const { store, topic, name } = this.#access
      if (this.#tenure !== null && !this.#tenure.lost.aborted) await store.leave(topic, name, this.#tenure.receipt)
    })
  }

  /** Ends a tenure that is known to be stale. The next answer tells whether another consumer has the subscription. */
  doubt(tenure: Tenure): void {
    if (this.#tenure !== tenure || tenure.over.aborted) return
    this.#moved(tenure)
    void this.#renew()
  }

  async #askNow(): Promise<Answer> {
    if (this.#left) return { held: false, retryMs: this.#leaseMs }
    const { store, topic, name } = this.#access
    const askedMs = this.#elapsedMs
    const hold = await store.hold(topic, name, this.#consumer, this.#leaseMs)
    if (!hold.held) {
      this.#lose()
      return hold
    }
    this.#leasedUntilMs = askedMs + this.#leaseMs
    if (this.#timer === undefined) this.#arm()
    const { cursor, receipt, vanished } = hold
    const before = this.#tenure
    if (before !== null && !before.over.aborted) {
      if (before.receipt === receipt || (await this.#isGood(before)))
        return { held: true, tenure: before, cursor, vanished }
      this.#moved(before)
    }
    const tenure = new Tenure(receipt)
    this.#tenure = tenure
    this.#journal.tell({ type: 'held', cursor, vanished })
    return { held: true, tenure, cursor, vanished }
  }

  /** Whether the earlier receipt is still valid: a new receipt need not replace it. */
  #isGood({ receipt }: Tenure): Promise<boolean> {
    const { store, topic, name } = this.#access
    return store.ack(topic, name, 0, receipt)
  }

  #arm(): void {
    this.#lastTick = this.#access.clock.now()
    // Early enough for three more tries after a failure.
    const tickMs = Math.max(1, Math.floor(this.#leaseMs / 4))
    this.#timer = this.#access.clock.after(tickMs, () => this.#tick(tickMs))
  }

  #tick(tickMs: number): void {
    this.#elapsedMs += Math.max(tickMs, this.#access.clock.now() - this.#lastTick)
    this.#arm()
    if (this.#tenure === null || this.#tenure.lost.aborted) return
    // The lease has run out: another consumer may have the subscription.
    if (this.#elapsedMs >= this.#leasedUntilMs) this.#lose()
    else void this.#renew()
  }

  async #renew(): Promise<void> {
    if (this.#renewing) return
    this.#renewing = true
    try {
      await this.ask()
    } catch (error) {
      // A call without an answer is repeated at the next tick.
      if (isTidingsError(error, 'SUBSCRIPTION_NOT_FOUND') || isTidingsError(error, 'TOPIC_NOT_FOUND')) this.#lose()
    } finally {
      this.#renewing = false
    }
  }

  #moved(tenure: Tenure): void {
    tenure.end('moved')
    this.#journal.tell({ type: 'moved' })
  }

  #lose(): void {
    if (this.#tenure === null || this.#tenure.lost.aborted) return
    this.#tenure.end('lost')
    this.#journal.tell({ type: 'holdLost' })
  }
}
