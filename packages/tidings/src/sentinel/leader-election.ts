import { type Clock, sleep } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { leaderQueue } from '../core/names.ts'
import { Service } from '../core/service.ts'
import type { Engine, Lease } from '../port/engine.ts'

const leaseMs = 6_000
/** How often the lease is extended or tried for. A killed leader is replaced after `leaseMs + roundMs` at most. */
const roundMs = 2_000

export interface LeaderElectionDependencies {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  /** Called when this process becomes the leader, and when it ceases to be. `stop` calls neither. */
  taken(): void
  lost(): void
}

/**
 * Elects one of many processes: the leader holds the lease of the one message in a queue. The message has a unique target,
 * so there is never a second one.
 */
export class LeaderElection extends Service {
  readonly #dependencies: LeaderElectionDependencies
  readonly #stopping = new AbortController()
  #lease: Lease | undefined
  /** By this clock, counted from before the call, so never later than the end by the storage's clock. */
  #until = 0
  #wasHeld = false
  #running: Promise<void> = Promise.resolve()

  constructor(dependencies: LeaderElectionDependencies) {
    super()
    this.#dependencies = dependencies
  }

  /** Whether this process is certainly the leader now. */
  get held(): boolean {
    return this.#lease !== undefined && this.#dependencies.clock.now() < this.#until
  }

  protected override async onStart(): Promise<void> {
    this.#running = this.#run()
  }

  protected override async onStop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#release()
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#dependencies
    const { signal } = this.#stopping
    let hasFailed = false
    while (!signal.aborted) {
      try {
        await this.#round()
        hasFailed = false
      } catch (error) {
        if (isTidingsError(error, 'CLOSED')) return
        if (!hasFailed)
          logger.warn({ err: loggable(error) }, 'the sentinel does not reach its queue; it goes on trying')
        hasFailed = true
      }
      this.#notify()
      await sleep(clock, roundMs, signal)
    }
  }

  async #round(): Promise<void> {
    const asked = this.#dependencies.clock.now()
    this.#lease = this.#lease === undefined ? await this.#take() : await this.#extend(this.#lease)
    this.#until = asked + leaseMs
  }

  #notify(): void {
    const { held } = this
    if (held === this.#wasHeld) return
    this.#wasHeld = held
    if (held) this.#dependencies.taken()
    else this.#dependencies.lost()
  }

  async #take(): Promise<Lease | undefined> {
    const { engine } = this.#dependencies
    const [message] = await this.#sendOnce()
    const { messages } = await engine.claim(leaderQueue, { limit: 1, leaseMs, ids: [message!.id] })
    const [claimed] = messages
    return claimed && { id: claimed.id, receipt: claimed.receipt! }
  }

  /** @returns the message, sent by this process or another */
  async #sendOnce() {
    const { engine } = this.#dependencies
    const send = () => engine.send(leaderQueue, [leaderMessage], null)
    try {
      return await send()
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
      await engine.createQueue(leaderQueue)
      return send()
    }
  }

  /** The lease is kept while the storage does not answer: it counts until its time is over. */
  async #extend(lease: Lease): Promise<Lease | undefined> {
    try {
      const [receipt] = await this.#dependencies.engine.extend(leaderQueue, [lease], leaseMs)
      return receipt ? { id: lease.id, receipt } : undefined
    } catch (error) {
      if (!isTidingsError(error, 'QUEUE_NOT_FOUND') && this.held) throw error
      this.#lease = undefined
      throw error
    }
  }

  /** Releases the lease, so that another sentinel need not wait for its end. */
  async #release(): Promise<void> {
    if (this.#lease === undefined) return
    const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: false } as const
    const lease = this.#lease
    this.#lease = undefined
    // If the release fails, the lease runs out by itself.
    await this.#dependencies.engine.settle(leaderQueue, [{ ...lease, ...ending }]).catch(() => {})
  }
}

const leaderMessage = {
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
