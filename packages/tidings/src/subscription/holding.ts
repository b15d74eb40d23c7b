import { randomUUID } from 'node:crypto'
import { type Moment, momentOf, passedBetween, sleep, type Timer } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import { newTurns } from '../core/in-turn.ts'
import type { SubscriptionAccess } from './access.ts'
import type { Journal } from './events.ts'

/** The time in which one receipt is valid: no other consumer reads the subscription, and nobody moves it. */
export class Tenure {
  readonly receipt: string
  /** The storage has told that the cursor is here, or further on. */
  passed: number
  readonly #over = new AbortController()
  readonly #lost = new AbortController()
  readonly #interrupted = new AbortController()

  constructor(receipt: string, cursor: number) {
    this.receipt = receipt
    this.passed = cursor
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

const longestTickMs = 500
/** Before asking again, after a failure. */
const confirmPauseMs = 200

/** `cursor` is the storage's current one; `vanished` as in the port. */
export type Answer =
  | { readonly held: true; readonly tenure: Tenure; readonly cursor: number; readonly vanished: number }
  | { readonly held: false; readonly retryMs: number }

/** Holds a subscription for one consumer: asks for it, renews the lease by a timer, and notices a loss. */
export class Holding {
  readonly #access: SubscriptionAccess<unknown>
  readonly #leaseMs: number
  readonly #journal: Journal
  readonly #blocked: (milliseconds: number) => void
  /** The id of this consumer, unique among all processes. */
  readonly #consumer = randomUUID()
  #tenure: Tenure | null = null
  readonly #inTurn = newTurns()
  #renewing = false
  #left = false
  #timer: Timer | undefined
  /** When the storage was last asked with success, and in which epoch of this process. */
  #leasedFrom: Moment
  #epoch = -1
  #leaveLife: (() => void) | undefined

  /** @param blocked told when nothing could run in this process for so many milliseconds */
  constructor(
    access: SubscriptionAccess<unknown>,
    leaseMs: number,
    journal: Journal,
    blocked: (milliseconds: number) => void,
  ) {
    this.#access = access
    this.#blocked = blocked
    this.#leaseMs = leaseMs
    this.#journal = journal
    this.#leasedFrom = momentOf(access.clock)
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
      try {
        if (this.#tenure !== null && !this.#tenure.lost.aborted) await store.leave(topic, name, this.#tenure.receipt)
      } finally {
        this.#leaveLife?.()
      }
    })
  }

  /**
   * Resolves when the tenure is certain or over, or `signal` is aborted: while nothing could run in this process, another
   * consumer may have taken over. Undefined if that is so already, as before almost every message.
   */
  confirm(tenure: Tenure, signal: AbortSignal): Promise<void> | undefined {
    const isSettled = () => tenure.over.aborted || signal.aborted || this.#isCertain
    return isSettled() ? undefined : this.#renewUntil(isSettled, signal)
  }

  async #renewUntil(isSettled: () => boolean, signal: AbortSignal): Promise<void> {
    do {
      if (!(await this.#renew())) await sleep(this.#access.clock, confirmPauseMs, signal)
    } while (!isSettled())
  }

  get #isCertain(): boolean {
    const { life } = this.#access
    life.look()
    return this.#epoch === life.epoch && this.#leftMs > 0
  }

  get #leftMs(): number {
    return this.#leaseMs - passedBetween(this.#leasedFrom, momentOf(this.#access.clock))
  }

  /** Ends a tenure that is known to be stale. The next answer tells whether another consumer has the subscription. */
  doubt(tenure: Tenure): void {
    if (this.#tenure !== tenure || tenure.over.aborted) return
    this.#moved(tenure)
    void this.#renew()
  }

  async #askNow(): Promise<Answer> {
    if (this.#left) return { held: false, retryMs: this.#leaseMs }
    const { store, topic, name, clock, life } = this.#access
    this.#leaveLife ??= life.join({ blocked: this.#blocked, doubted: () => this.#renewIfHeld() })
    if (this.#tenure === null) await life.inForce()
    const from = momentOf(clock)
    const { epoch } = life
    const passed = this.#tenure?.passed ?? 0
    const hold = await store.hold(topic, name, this.#consumer, this.#leaseMs, true)
    if (!hold.held) {
      this.#lose()
      return hold
    }
    this.#leasedFrom = from
    this.#epoch = epoch
    if (this.#timer === undefined) this.#arm()
    const { cursor, receipt, vanished } = hold
    const before = this.#tenure
    if (before !== null && !before.over.aborted) {
      // A storage that has forgotten acknowledgements may have forgotten messages, too, and will give their offsets to others.
      const hasForgotten = before.receipt === receipt && cursor < passed
      if (!hasForgotten && (before.receipt === receipt || (await this.#isGood(before))))
        return { held: true, tenure: before, cursor, vanished }
      this.#moved(before)
    }
    const tenure = new Tenure(receipt, cursor)
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
    const tickMs = Math.min(longestTickMs, Math.max(1, Math.floor(this.#leaseMs / 20)))
    this.#timer = this.#access.clock.after(tickMs, () => this.#tick())
  }

  #tick(): void {
    this.#arm()
    this.#access.life.look()
    if (this.#tenure === null || this.#tenure.lost.aborted) return
    // The lease has run out, and the storage does not answer: another consumer may have the subscription.
    if (this.#leftMs <= 0 && this.#renewing) this.#lose()
    else if (this.#leftMs <= this.#leaseMs * 0.8 || !this.#isCertain) void this.#renew()
  }

  #renewIfHeld(): void {
    if (this.#tenure !== null && !this.#tenure.lost.aborted) void this.#renew()
  }

  /** @returns whether the storage has answered */
  async #renew(): Promise<boolean> {
    if (this.#renewing) {
      await this.#inTurn(async () => {})
      return this.#isCertain
    }
    this.#renewing = true
    try {
      await this.ask()
      return true
    } catch (error) {
      // A call without an answer is repeated at the next tick.
      const isGone = isTidingsError(error, 'SUBSCRIPTION_NOT_FOUND') || isTidingsError(error, 'TOPIC_NOT_FOUND')
      if (isGone || this.#leftMs <= 0) this.#lose()
      return false
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
