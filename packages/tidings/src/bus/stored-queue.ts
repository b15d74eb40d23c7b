import { momentOf } from '../core/clock.ts'
import { TidingsError } from '../core/errors.ts'
import type * as option from '../core/options.ts'
import { validate } from '../core/schema.ts'
import { unpack, unpackOrBytes } from '../core/serializer.ts'
import type { BusDependencies, QueueAccess } from '../messages/access.ts'
import type { QueueCalls } from '../messages/calls.ts'
import { type Decoded, decodeAll, giveBack, unlessLost } from '../messages/decode.ts'
import { anything, scan, type Wanted } from '../messages/filter.ts'
import type { Term } from '../messages/lease.ts'
import type { queueOptions } from '../messages/options.ts'
import { fittingPage, type Page, pageBytes, readPage } from '../messages/pages.ts'
import { admit, type Composed } from '../messages/prepare.ts'
import { pauseIn, type QueueSettings, type QueueSettingsChange } from '../messages/settings.ts'
import { stricter } from '../messages/terms.ts'
import { popUnexpired } from '../messages/unexpired.ts'
import { Poller } from '../messages/wait.ts'
import type {
  Binding,
  Cancelled,
  Claim,
  ClaimRequest,
  Engine,
  Lease,
  PeekRequest,
  PruneRequest,
  QueueInfo,
  SendResult,
  SendTerms,
  Settlement,
  SettleResult,
  StatsOptions,
  StoredMessage,
  Transaction,
} from '../port/engine.ts'
import type { Interest } from '../port/listening.ts'
import type { QueueFigures } from '../port/pause.ts'
import { ById } from './by-id.ts'
import { configureQueue } from './configuring.ts'
import { DeadLetters } from './dead-letters.ts'
import type { Look, Patience } from './look.ts'
import { QueueRules } from './queue-rules.ts'
import { type Found, type Search, search } from './search.ts'

type ParsedOptions = option.OptionsOutput<typeof queueOptions>

/** How often a read that waits looks even if nothing woke it. */
const pollMs = 2_000
/** For judging what is popped. */
const popLeaseMs = 30_000
const whole = { more: false } as const

/** Gives the data of a message the application's type. @throws BODY_INVALID */
export type Decode<T> = (stored: StoredMessage) => T | Promise<T>

interface Popped<T> {
  readonly stored: StoredMessage
  readonly data: T
}

export interface ReadRequest extends ClaimRequest, Patience {
  readonly wanted: Wanted
  /** Leaves it to the caller to judge what has expired and what the schema refuses. */
  readonly unjudged: boolean
}

/** What a queue gets from its bus. */
export interface StoredQueueDependencies extends BusDependencies {
  /** The calls of a queue, which all its users in this process share, so that they travel in batches. */
  callsOf(queue: string): QueueCalls
}

/**
 * A queue in the forms of the storage: `Queue` gives them types, and the HTTP server passes them on. What the options of
 * the queue say holds for both. Where the queue is missing, no other name is told: the caller may not know it.
 */
export class StoredQueue {
  readonly name: string
  /** What its options say, and what is stored for it. */
  readonly rules: QueueRules
  readonly #settings: ParsedOptions
  readonly #dependencies: StoredQueueDependencies
  readonly #engine: Engine
  readonly #calls: QueueCalls

  constructor(name: string, settings: ParsedOptions, dependencies: StoredQueueDependencies) {
    this.name = name
    this.#settings = settings
    this.#dependencies = dependencies
    this.#engine = dependencies.engine
    this.#calls = dependencies.callsOf(name)
    this.rules = new QueueRules(name, settings, this.#calls.settings, dependencies)
  }

  /** What to watch for. */
  get interest(): Interest {
    return `queue:${this.name}`
  }

  /** @throws QUEUE_NOT_FOUND */
  async info(): Promise<QueueInfo> {
    return (await this.#engine.describe(this.name))[0]!
  }

  /** All settings. @throws QUEUE_NOT_FOUND */
  async settings(): Promise<QueueSettings> {
    return this.#calls.settings.set((await this.info()).settings ?? {})
  }

  /** @returns and throws as `configureQueue` */
  async configure(change: QueueSettingsChange): Promise<QueueSettings> {
    const now = this.#dependencies.clock.now()
    return this.#calls.settings.set(await configureQueue(this.#engine, this.name, change, now))
  }

  create(): Promise<boolean> {
    return this.#calls.create()
  }

  drop(): Promise<boolean> {
    return this.#calls.drop()
  }

  purge(): Promise<number> {
    return this.#engine.purgeQueue(this.name)
  }

  prune(request: PruneRequest): Promise<number> {
    return this.#engine.maintain({ kind: 'archive', queue: this.name, ...request })
  }

  async stats(options?: StatsOptions): Promise<QueueFigures> {
    const [stats, { settings }] = await Promise.all([this.#engine.stats(this.name, options), this.info()])
    return { ...stats, pause: pauseIn(settings, this.#dependencies.clock.now()) }
  }

  /**
   * Stores what another process has composed, all or none, in its order.
   * @param terms of the sender; the stricter ones hold. @throws TRANSACTION_REQUIRED; what `admit` throws
   */
  async send(composed: readonly Composed[], terms: SendTerms): Promise<SendResult[]> {
    this.checkTransaction(null)
    const { outgoing } = this.rules
    const known = (await outgoing.pending) ?? outgoing
    const messages = await Promise.all(composed.map((one) => admit(one, known)))
    return this.#engine.send(this.name, messages, null, stricter(this.rules.terms, terms))
  }

  /** @throws TRANSACTION_REQUIRED */
  checkTransaction(tx: Transaction | null): void {
    if (tx === null && this.#settings.requireTransaction)
      throw new TidingsError('TRANSACTION_REQUIRED', `queue '${this.name}' takes messages only within a transaction`, {
        details: { queue: this.name },
      })
  }

  /** Takes messages for the length of a lease, as many as fit into one answer. */
  async read(request: ReadRequest): Promise<Look<StoredMessage>> {
    return this.wait(request, () => this.claimPage(request, request))
  }

  /**
   * The same without waiting. Goes on while all messages are sorted out: behind those there may be others. What was
   * claimed and does not fit is given back, and the read does not count.
   */
  async claimPage(request: ClaimRequest, { wanted = anything, unjudged = false } = {}): Promise<Look<StoredMessage>> {
    const bound = request.maxBytes === undefined ? {} : { maxBytes: Math.min(request.maxBytes, pageBytes) }
    await this.rules.ready()
    let begun = 0
    const claim = async (limit: number) => {
      const ahead = Math.max(0, limit - Math.max(0, request.limit - (request.ahead ?? 0) - begun))
      const claimed = await this.#engine.claim(this.name, { ...request, ...bound, limit, ahead })
      if (request.held) this.#dependencies.telemetry.handed(this.name, claimed.messages)
      begun += claimed.messages.length
      return claimed
    }
    const next = wanted === anything ? claim : this.#claimWanted(request, wanted)
    for (;;) {
      const term = this.#termOf(request)
      const { found, ...rest } = await this.#claimFitting(request, next)
      const decoded = unjudged ? [] : await decodeAll(this.access(this.#judge), found, term)
      const judged = unjudged ? found : decoded.map(({ stored }) => stored)
      if (judged.length > 0 || found.length === 0) return { found: judged, ...rest }
    }
  }

  async #claimFitting(
    { limit, maxBytes }: ClaimRequest,
    next: (limit: number) => Promise<Claim>,
  ): Promise<Look<StoredMessage>> {
    const claimed: StoredMessage[] = []
    let last: Omit<Claim, 'messages'> = { nextDueMs: null }
    const claim = async (count: number) => {
      const { messages, ...rest } = await next(count)
      claimed.push(...messages)
      last = rest
      return messages
    }
    try {
      // With a bound on bytes the storage sees to it that no more is taken than fits into the memory.
      const { more } = maxBytes === undefined ? await readPage(limit, claim) : await claim(limit).then(() => whole)
      const found = claimed.splice(0, fittingPage(claimed))
      const isCut = more || claimed.length > 0
      return { found, ...last, ...(isCut ? { nextDueMs: 0 } : {}), more: isCut }
    } finally {
      // All of them, if a further claim failed.
      await this.giveBack(claimed.map(({ id, receipt }) => ({ id, receipt: receipt ?? '' })))
    }
  }

  /** @returns what claims the next messages that are wanted; fewer than asked for where there are no more */
  #claimWanted({ leaseMs, ids }: ClaimRequest, wanted: Wanted): (limit: number) => Promise<Claim> {
    const pages = scan(this.#engine, this.name, 'ready', wanted)
    let candidates: string[] = []
    return async (limit) => {
      const messages: StoredMessage[] = []
      while (messages.length < limit) {
        if (candidates.length === 0) {
          const page = await pages.next()
          if (page.done) break
          candidates = page.value.map(({ id }) => id).filter((id) => ids?.includes(id) ?? true)
        } else {
          const room = limit - messages.length
          const claim = await this.#engine.claim(this.name, { limit: room, leaseMs, ids: candidates })
          messages.push(...claim.messages)
          const taken = new Set(claim.messages.map(({ id }) => id))
          candidates = taken.size < room ? [] : candidates.filter((id) => !taken.has(id))
        }
      }
      return { messages, nextDueMs: null }
    }
  }

  /** Claims messages and gives data its type. Goes on while all of them are sorted out: behind those there may be others. */
  async claim<T>(request: ClaimRequest, signal: AbortSignal | null, decode: Decode<T>): Promise<Look<Decoded<T>>> {
    await this.rules.ready()
    for (;;) {
      const term = this.#termOf(request)
      const { messages, nextDueMs } = await this.#engine.claim(this.name, request)
      const found = await decodeAll(this.access(decode), messages, term)
      // Nobody may be there any more who would settle them.
      if (signal?.aborted) await giveBack(found.splice(0))
      if (signal?.aborted || found.length > 0 || messages.length === 0) return { found, nextDueMs }
    }
  }

  #termOf({ leaseMs }: ClaimRequest): Term {
    return { leaseMs, from: momentOf(this.#dependencies.clock) }
  }

  /** Takes messages for good, as many as fit into one answer. */
  popPage(limit: number, { unjudged }: { unjudged: boolean }): Promise<Page<StoredMessage>> {
    return readPage<StoredMessage>(limit, async (count) => {
      if (unjudged) return this.#engine.pop(this.name, count)
      const { found } = await this.pop(count, { waitMs: 0, signal: null }, this.#judge)
      return found.map(({ stored }) => stored)
    })
  }

  /** Takes messages for good and gives data its type. A claim also tells a reader that waits when the next one is due. */
  async pop<T>(limit: number, { waitMs, signal }: Patience, decode: Decode<T>): Promise<Look<Popped<T>>> {
    await this.rules.ready()
    if (waitMs > 0 || this.#judgesUnderLease) return this.#claimAndDelete(limit, signal, decode)
    const popped = await popUnexpired(this.access(decode), limit)
    const found = await Promise.all(popped.map(async (stored) => ({ stored, data: await decode(stored) })))
    return { found, nextDueMs: null }
  }

  /** What is refused can be moved then, and nothing is lost meanwhile. Into the archive it can be moved only so. */
  get #judgesUnderLease(): boolean {
    const { schema, serializer, ttl, expired } = this.#settings
    const expires = expired === 'deadLetter' && (ttl !== null || this.rules.deadLetterQueue === null)
    return schema !== null || serializer !== null || expires
  }

  async #claimAndDelete<T>(limit: number, signal: AbortSignal | null, decode: Decode<T>) {
    const { found, nextDueMs } = await this.claim({ limit, leaseMs: popLeaseMs, ids: null }, signal, decode)
    const deleted = await Promise.all(found.map(({ lease }) => unlessLost(lease.settle({ kind: 'delete' }))))
    return { found: found.filter((_, index) => deleted[index]), nextDueMs }
  }

  /** @returns where to go on, too, if `scan` has ended it */
  peekPage({ limit, afterId, ...request }: PeekRequest): Promise<Page<StoredMessage>> {
    return readPage<StoredMessage>(limit, (count, last) =>
      this.#engine.peek(this.name, { ...request, limit: count, afterId: last?.id ?? afterId }),
    )
  }

  bind(pattern: string): Promise<boolean> {
    return this.#engine.bind({ pattern, queue: this.name })
  }

  unbind(pattern: string): Promise<boolean> {
    return this.#engine.unbind({ pattern, queue: this.name })
  }

  bindings(): Promise<Binding[]> {
    return this.#engine.bindings(this.name)
  }

  settle(settlements: readonly Settlement[]): Promise<SettleResult[]> {
    return this.#engine.settle(this.name, settlements)
  }

  /** Ends leases of messages that nobody has seen, as if they had not been read. */
  async giveBack(leases: readonly Lease[]): Promise<void> {
    const ending = { kind: 'release', delayMs: 0, meta: {}, uncount: true } as const
    if (leases.length > 0) await this.settle(leases.map(({ id, receipt }) => ({ id, receipt, ...ending })))
  }

  extend(leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    return this.#engine.extend(this.name, leases, leaseMs)
  }

  cancel(ids: readonly string[], options: { readonly running: boolean } = { running: false }): Promise<Cancelled[]> {
    return this.#engine.cancel(this.name, ids, options)
  }

  /** What failed too often. */
  get deadLetters(): DeadLetters {
    return new DeadLetters(this.name, this.rules, this.#engine, this.show)
  }

  /** Single messages in the hands of a person. */
  get byId(): ById {
    return new ById(this.name, this.rules, this.#dependencies)
  }

  /** @param shown a message as it may be looked for and answered */
  search(asked: Search, shown: (message: StoredMessage) => StoredMessage): Promise<Found<StoredMessage>> {
    return search(this.#engine, this.name, asked, shown)
  }

  /** The data of a message for who only looks: as it was given, unchecked. What the serializer refuses is its bytes. */
  readonly show = (stored: StoredMessage): unknown => unpackOrBytes(stored, this.#settings.serializer)

  /** What waits for messages; is to be closed. */
  poller(every = pollMs): Poller {
    const changed = () => this.#calls.settings.forget()
    return new Poller({ ...this.#dependencies, interest: this.interest, pollMs: every, changed })
  }

  /** Looks until something is found, the time is over or the signal is aborted. */
  async wait<T>({ waitMs, signal, pollMs: every }: Patience, look: () => Promise<Look<T>>): Promise<Look<T>> {
    const poller = this.poller(every)
    let last: Look<T> = { found: [], nextDueMs: null }
    try {
      await poller.wait({ waitMs, ...(signal ? { signal } : {}) }, async () => {
        if (!signal?.aborted) last = await look()
        return { found: last.found.length > 0 ? last : null, full: false, nextDueMs: last.nextDueMs }
      })
      return last
    } finally {
      poller.close()
    }
  }

  /** What readers have to know of the queue. */
  access<T>(decode: Decode<T>): QueueAccess<T> {
    const { engine, telemetry, wakeups, life, clock, logger } = this.#dependencies
    const { rules } = this
    return {
      name: this.name,
      engine,
      telemetry,
      wakeups,
      life,
      clock,
      logger,
      get deadLetterQueue() {
        return rules.deadLetterQueue
      },
      expired: this.#settings.expired,
      leaseCalls: this.#calls,
      settings: this.#calls.settings,
      ensure: async () => {
        // Not remembered: a worker asks at its start, and when the queue has gone.
        if (this.#settings.create) await this.#calls.create()
      },
      decode,
      show: this.show,
    }
  }

  /** Refuses what the application could not read. */
  readonly #judge: Decode<unknown> = (stored) => {
    const { schema, serializer } = this.#settings
    return schema !== null || serializer !== null ? this.decode(stored) : null
  }

  /** The data of a message as the application's type. @throws BODY_INVALID */
  decode(stored: StoredMessage): unknown {
    const { schema, serializer } = this.#settings
    const what = `data of message ${stored.id} in queue '${this.name}'`
    const data = unpack(stored, serializer, what)
    return schema ? validate(schema, data, what) : data
  }
}
