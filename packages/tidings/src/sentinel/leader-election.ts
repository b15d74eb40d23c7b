import { type Clock, sleep } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { Service } from '../core/service.ts'
import type { Engine, Lease } from '../port/engine.ts'

/** The queue with the one message whose lease makes a sentinel the active one. */
export const leadQueue = 'tidings_sentinel'

const leaseMs = 6_000
/** How often the lease is prolonged, or tried for: whoever is killed is replaced after `leaseMs + roundMs` at most. */
const roundMs = 2_000

export interface LeadSite {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  /** Told when the lead was taken, and when it was lost. Not told by `stop`. */
  taken(): void
  lost(): void
}

/**
 * One of many processes has the lead: the one that holds the lease of the one message in a queue. The message has a
 * target, so there is never a second one.
 */
export class Lead extends Service {
  readonly #site: LeadSite
  readonly #stopping = new AbortController()
  #lease: Lease | undefined
  /** By our clock, counted from before the storage was asked: it is not later than the end by the storage's. */
  #until = 0
  #wasHeld = false
  #running: Promise<void> = Promise.resolve()

  constructor(site: LeadSite) {
    super()
    this.#site = site
  }

  /** Whether the lead is ours for certain, now. */
  get held(): boolean {
    return this.#lease !== undefined && this.#site.clock.now() < this.#until
  }

  protected override async onStart(): Promise<void> {
    this.#running = this.#run()
  }

  protected override async onStop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#giveBack()
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#site
    const { signal } = this.#stopping
    let hasFailed = false
    while (!signal.aborted) {
      try {
        await this.#round()
        hasFailed = false
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) return
        if (!hasFailed) logger.warn({ error }, 'the sentinel does not reach its queue; it goes on trying')
        hasFailed = true
      }
      this.#tell()
      await sleep(clock, roundMs, signal)
    }
  }

  async #round(): Promise<void> {
    const asked = this.#site.clock.now()
    this.#lease = this.#lease === undefined ? await this.#take() : await this.#prolong(this.#lease)
    this.#until = asked + leaseMs
  }

  #tell(): void {
    const { held } = this
    if (held === this.#wasHeld) return
    this.#wasHeld = held
    if (held) this.#site.taken()
    else this.#site.lost()
  }

  async #take(): Promise<Lease | undefined> {
    const { engine } = this.#site
    const [message] = await this.#sendOnce()
    const { messages } = await engine.claim(leadQueue, { limit: 1, leaseMs, ids: [message!.id] })
    const [claimed] = messages
    return claimed && { id: claimed.id, receipt: claimed.receipt! }
  }

  /** @returns the message, whoever sent it */
  async #sendOnce() {
    const { engine } = this.#site
    const send = () => engine.send(leadQueue, [leadMessage], null)
    try {
      return await send()
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      await engine.createQueue(leadQueue)
      return send()
    }
  }

  /** While the storage does not answer, the lease is kept: it may be good still, and counts until its time is over. */
  async #prolong(lease: Lease): Promise<Lease | undefined> {
    try {
      const [receipt] = await this.#site.engine.extend(leadQueue, [lease], leaseMs)
      return receipt ? { id: lease.id, receipt } : undefined
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND') && this.held) throw error
      this.#lease = undefined
      throw error
    }
  }

  /** So that another sentinel need not wait for the end of the lease. */
  async #giveBack(): Promise<void> {
    if (this.#lease === undefined) return
    const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: false } as const
    const lease = this.#lease
    this.#lease = undefined
    // If that fails, it runs out by itself.
    await this.#site.engine.settle(leadQueue, [{ ...lease, ...ending }]).catch(() => {})
  }
}

const leadMessage = {
  data: 'null',
  meta: {},
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: 'lead',
  bare: false,
}
