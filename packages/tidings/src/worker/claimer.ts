import { type Moment, momentOf, passedBetween, sleep } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { QueueAccess } from '../messages/access.ts'
import { isUnknown } from '../messages/lease.ts'
import { Poller } from '../messages/wait.ts'
import type { Claim, StoredMessage } from '../port/engine.ts'
import { ClaimSize } from './claim-size.ts'
import { Delivery } from './delivery.ts'
import type { Journal } from './events.ts'
import type { Settler } from './settler.ts'

const firstPauseMs = 100
const longestPauseMs = 1_000
/** How long claims wait for pending settlements after an interruption. */
const settleFirstMs = 1_000

/** How many messages are wanted, and how many of them, the last ones, no handler begins at once. */
export interface Demand {
  readonly limit: number
  readonly ahead: number
}

export interface ClaimTask {
  readonly demand: () => Demand
  readonly signal: AbortSignal
  /** Gives up after this, in milliseconds. */
  readonly waitMs: number
  /** Whether an empty queue is an answer too. */
  readonly mayBeEmpty: () => boolean
}

/** Claims messages of one queue: sleeps while the queue is empty, and retries while the storage fails. */
export class Claimer {
  readonly #access: QueueAccess<unknown>
  readonly #options: { readonly lease: number }
  readonly #pollMs: number
  readonly #poller: Poller
  readonly #settler: Settler
  readonly #journal: Journal
  readonly #heldBack: (isHeldBack: boolean) => void
  #ensured = false
  #failing = false
  readonly #size = new ClaimSize()
  /** How long the last messages were on their way: on a slow line, longer than a lease. */
  #tookMs = 0

  /** @param heldBack called with what each claim says of limits */
  constructor(
    access: QueueAccess<unknown>,
    options: { readonly lease: number; readonly pollInterval: number },
    settler: Settler,
    journal: Journal,
    heldBack: (isHeldBack: boolean) => void,
  ) {
    this.#access = access
    this.#options = options
    this.#pollMs = options.pollInterval
    const { wakeups, clock, name, settings } = access
    this.#poller = new Poller({
      wakeups,
      clock,
      interest: `queue:${name}`,
      pollMs: options.pollInterval,
      changed: () => settings.forget(),
    })
    this.#settler = settler
    this.#journal = journal
    this.#heldBack = heldBack
  }

  /**
   * @returns messages; none if the signal was aborted, the time is over or the queue may be empty
   * @throws only CLOSED
   */
  async claim({ demand, signal, waitMs, mayBeEmpty }: ClaimTask): Promise<Delivery[]> {
    const { name: queue } = this.#access
    if (mayBeEmpty()) this.#poller.forget()
    const resting = () => this.#journal.tell({ type: 'idle', queue })
    const attempt = async () => {
      if (signal.aborted) return { found: [], full: false, nextDueMs: null }
      const asked = demand()
      const { deliveries, nextDueMs, heldBack } = await this.#claim(asked, null, signal)
      const full = deliveries.length === asked.limit || nextDueMs === 0
      // With limits nothing is read ahead; it is for the worker to say when a handler is free.
      const isAheadOnly = heldBack && asked.ahead === asked.limit
      const isAnswer = deliveries.length > 0 || isAheadOnly || (mayBeEmpty() && !heldBack)
      return { found: isAnswer ? deliveries : null, full, nextDueMs }
    }
    const found = await this.#persistently(signal, () => this.#poller.wait({ waitMs, signal, resting }, attempt))
    return found ?? []
  }

  /** Nothing more will be claimed. */
  close(): void {
    this.#poller.close()
  }

  /** Claims the messages that are ready. @throws only CLOSED */
  async claimIds(ids: readonly string[], signal: AbortSignal): Promise<Delivery[]> {
    const claim = await this.#persistently(signal, () => this.#claim({ limit: ids.length, ahead: 0 }, ids, signal))
    return claim?.deliveries ?? []
  }

  /** Peeks at messages. @throws only CLOSED */
  async peek(
    state: 'delayed' | 'leased',
    limit: number,
    ids: readonly string[] | null,
    signal: AbortSignal,
  ): Promise<StoredMessage[]> {
    const { engine, name } = this.#access
    const found = await this.#persistently(signal, () => engine.peek(name, { place: state, limit, afterId: null, ids }))
    return found ?? []
  }

  async #claim({ limit, ahead }: Demand, ids: readonly string[] | null, signal: AbortSignal) {
    const { engine, clock, life, settings, name: queue } = this.#access
    await settings.latest()
    // What a claim has leased whose answer is lost can be given back only if it belongs to this process.
    if (life.isAway) await life.inForce(signal)
    if (signal.aborted) return { deliveries: [], nextDueMs: null, heldBack: false }
    life.look()
    const { epoch } = life
    const from = momentOf(clock)
    const leaseMs = Math.max(this.#options.lease, 2 * this.#tookMs)
    const request = { limit, leaseMs, ids, held: true, ahead, maxBytes: this.#size.bytes }
    const claim = await engine.claim(queue, request).catch((error: unknown) => {
      if (isUnknown(error)) this.#size.failed()
      throw error
    })
    // What came late must not pass for what came in time.
    life.look()
    this.#succeeded()
    this.#learn(claim, from)
    const deliveries = claim.messages.map((message, index) => {
      const isAhead = index >= limit - ahead
      return new Delivery(this.#access, message, { leaseMs, from, epoch, isAhead })
    })
    if (deliveries.length > 0) this.#journal.tell({ type: 'claimed', queue, count: deliveries.length })
    const heldBack = claim.heldBack ?? false
    this.#heldBack(heldBack)
    return { deliveries, nextDueMs: claim.nextDueMs, heldBack }
  }

  #learn({ messages, nextDueMs }: Claim, from: Moment): void {
    if (messages.length === 0) return
    this.#tookMs = passedBetween(from, momentOf(this.#access.clock))
    const characters = messages.reduce((sum, { data }) => sum + data.length, 0)
    this.#size.came(characters, this.#tookMs, nextDueMs === 0)
  }

  /** Repeats a call until it succeeds. @returns null if the signal was aborted first */
  async #persistently<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T | null> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        if (!this.#ensured) await this.#access.ensure()
        this.#ensured = true
        const result = await call()
        this.#succeeded()
        return result
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) throw error
        const missing = isTidingsError(error, 'QUEUE_NOT_FOUND')
        // The queue may have been dropped; it is created again at once where that is allowed.
        const firstTime = !this.#failing
        this.#ensured = !missing
        this.#failed(error)
        if (!missing) await sleep(this.#access.clock, pauseMs, signal)
        else if (!firstTime) await sleep(this.#access.clock, this.#pollMs, signal)
        await this.#letSettlementsGoFirst(signal)
      }
      if (signal.aborted) return null
    }
  }

  /** Without this, an expired lease would be claimed again just before its settlement arrives. */
  async #letSettlementsGoFirst(signal: AbortSignal): Promise<void> {
    for (let waitedMs = 0; this.#settler.retrying > 0 && waitedMs < settleFirstMs && !signal.aborted; waitedMs += 50)
      await sleep(this.#access.clock, 50, signal)
  }

  #failed(error: unknown): void {
    if (!this.#failing) this.#journal.tell({ type: 'fetchFailed', queue: this.#access.name, error })
    this.#failing = true
  }

  #succeeded(): void {
    if (this.#failing) this.#journal.tell({ type: 'fetchResumed', queue: this.#access.name })
    this.#failing = false
  }
}
