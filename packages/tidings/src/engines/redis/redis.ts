import type { JsonObject } from '../../core/json.ts'
import type {
  Binding,
  Cancelled,
  Claim,
  ClaimRequest,
  CorrelationState,
  Engine,
  Feature,
  Finding,
  Lease,
  MaintainRequest,
  NewMessage,
  Peeked,
  PeekRequest,
  PublishedCopy,
  QueueInfo,
  QueueStats,
  RoutedMessage,
  Rule,
  SendResult,
  SendTerms,
  Settlement,
  SettleResult,
  StoredMessage,
  Transaction,
} from '../../port/engine.ts'
import { usualLimits } from '../../port/limits.ts'
import type { Interest, Listener, Listening } from '../../port/listening.ts'
import type { ProcessInfo } from '../../port/processes.ts'
import { slowMs } from './calling.ts'
import { Claims } from './claims.ts'
import { Correlations } from './correlations.ts'
import { diagnose, refuseOldServer } from './diagnose.ts'
import { Driver, type RedisSource } from './driver.ts'
import { unsupported } from './errors.ts'
import { RedisHistory } from './history.ts'
import { keysOf, newNonce, queueKeyCount, removedQueueKeys } from './keys.ts'
import { RedisListening } from './listening.ts'
import {
  checkId,
  hasMeta,
  needlesOf,
  type Row,
  toReceipt,
  toSettlement,
  toSettleResult,
  toStoredMessage,
} from './messages.ts'
import { listProcesses } from './processes.ts'
import { queues, Registry, topics } from './registry.ts'
import { Relay } from './relay/relay.ts'
import { Routes } from './routes.ts'
import { RedisSchedules } from './schedules.ts'
import { Sends } from './sends.ts'
import { type StatsAnswer, toStats } from './stats.ts'
import { RedisTopics } from './topics.ts'
import { Upkeep } from './upkeep.ts'

/** How many messages one call of a peek reads. */
const peekBudget = 1_000

const repeatable = { repeatable: true }
/** For a script that must not run twice: if its answer is lost, the outcome is unknown. */
const once = { repeatable: false }
const slow = { repeatable: true, timeoutMs: slowMs }
const slowOnce = { repeatable: false, timeoutMs: slowMs }

/** Queues and topics in Redis 7 and newer and in Valkey, one server or a Cluster. The headers of the .lua files say what scripts do. */
export class RedisEngine implements Engine {
  readonly name = 'redis'
  readonly supports: ReadonlySet<Feature> = new Set<Feature>(['durable', 'topics', 'limits', 'schedules'])
  readonly limits = usualLimits
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #routes: Routes
  readonly #correlations: Correlations
  readonly #relay: Relay
  readonly #claims: Claims
  readonly #sends: Sends
  readonly #upkeep: Upkeep
  readonly #listenings = new Set<RedisListening>()
  readonly #topicRegistry: Registry
  readonly topics: RedisTopics
  readonly schedules: RedisSchedules
  readonly history: RedisHistory

  /**
   * @param settings intentMs: the age at which upkeep withdraws the intent of a killed sender, default 60,000; sleeps: whether
   *   nothing is asked of an idle server
   * @throws URL_INVALID; as `targetOfClient`
   */
  constructor(
    source: RedisSource,
    { intentMs = 60_000, sleeps = false }: { intentMs?: number; sleeps?: boolean } = {},
  ) {
    this.#driver = new Driver(source, sleeps)
    this.#registry = new Registry(this.#driver, queues)
    this.#topicRegistry = new Registry(this.#driver, topics)
    this.#routes = new Routes(this.#driver, this.#registry, this.#topicRegistry)
    this.#correlations = new Correlations(this.#driver)
    this.#relay = new Relay(this.#driver, this.#registry, this.#routes, this.#correlations)
    this.#upkeep = new Upkeep(this.#driver, this.#registry, this.#topicRegistry, this.#routes, this.#relay, intentMs)
    const tokenFor = (interest: Interest, leaseMs: number) => this.#tokenFor(interest, leaseMs)
    this.#sends = new Sends(this.#driver, this.#relay)
    this.#claims = new Claims(this.#driver, tokenFor)
    this.topics = new RedisTopics(this.#driver, this.#topicRegistry, this.#routes, this.#relay, tokenFor)
    this.schedules = new RedisSchedules(this.#driver, this.#registry, this.#topicRegistry, this)
    this.history = new RedisHistory(this.#driver)
  }

  /** The token of the process to which leases there belong: of the listening that came last. '' if none does. */
  async #tokenFor(interest: Interest, leaseMs: number): Promise<string> {
    const listening = [...this.#listenings].findLast(({ wantsLife }) => wantsLife)
    return (await listening?.holdIn(interest, leaseMs)) ?? ''
  }

  async open(): Promise<void> {
    await this.#driver.open()
    try {
      await refuseOldServer(this.#driver)
    } catch (error) {
      await this.#driver.close()
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listenings].map((listening) => listening.close()))
    await this.#driver.close()
    this.#relay.close()
  }

  createQueue(queue: string): Promise<boolean> {
    return this.#driver.whileOpen(() => this.#registry.create(queue))
  }

  dropQueue(queue: string): Promise<boolean> {
    return this.#driver.whileOpen(async () => {
      const answer = await this.#remove('drop', queue)
      if (answer === null) return false
      const [incarnation, entries] = answer as [string, string[]]
      await this.#routes.forget(queue, incarnation)
      // Upkeep finds the rest of the outbox by the name.
      if (await this.#relay.tryDeliver(queue, entries)) await this.#registry.forget(queue)
      return true
    })
  }

  describe(queue: string | null): Promise<QueueInfo[]> {
    return this.#driver.whileOpen(async () =>
      (await this.#registry.list(queue)).map(({ name, ...info }) => ({ queue: name, ...info })),
    )
  }

  configure(queue: string, change: JsonObject): Promise<JsonObject> {
    return this.#driver.whileOpen(() => this.#registry.configure(queue, change))
  }

  purgeQueue(queue: string): Promise<number> {
    return this.#driver.whileOpen(async () => {
      const [count, entries] = (await this.#remove('purge', queue)) as [number, string[]]
      await this.#relay.tryDeliver(queue, entries)
      return count
    })
  }

  #remove(script: 'drop' | 'purge', queue: string): Promise<unknown> {
    const removed = newNonce()
    return this.#driver.run(script, [...keysOf(queue), ...removedQueueKeys(queue, removed)], [removed], slowOnce)
  }

  stats(queue: string): Promise<QueueStats> {
    return this.#driver.whileOpen(async () =>
      toStats(queue, await this.#run<StatsAnswer>('stats', queue, [], repeatable)),
    )
  }

  async send(
    queue: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    terms?: SendTerms,
  ): Promise<SendResult[]> {
    if (transaction) throw unsupported()
    return this.#driver.whileOpen(() => this.#sends.send(queue, messages, terms))
  }

  bind(rule: Rule): Promise<boolean> {
    return this.#driver.whileOpen(() => this.#routes.bind(rule))
  }

  unbind(rule: Rule): Promise<boolean> {
    return this.#driver.whileOpen(() => this.#routes.unbind(rule))
  }

  bindings(queue: string | null): Promise<Binding[]> {
    return this.#driver.whileOpen(() => this.#routes.list(queue))
  }

  async publish(messages: readonly RoutedMessage[], transaction: Transaction | null): Promise<PublishedCopy[][]> {
    if (transaction) throw unsupported()
    return this.#driver.whileOpen(() => this.#relay.publish(messages))
  }

  claim(queue: string, request: ClaimRequest): Promise<Claim> {
    return this.#driver.whileOpen(() => this.#claims.claim(queue, request))
  }

  pop(queue: string, limit: number): Promise<StoredMessage[]> {
    return this.#driver.whileOpen(async () => {
      const at = JSON.stringify(new Date().toISOString())
      const [rows, entries] = await this.#run<[Row[], string[]]>('pop', queue, [newNonce(), limit, at], slowOnce)
      await this.#relay.tryDeliver(queue, entries)
      return rows.map(toStoredMessage)
    })
  }

  peek(queue: string, { place, limit, afterId, ids, dedupId, meta = {}, scan }: PeekRequest): Promise<Peeked> {
    return this.#driver.whileOpen(async () => {
      const common = { place: place ?? '', texts: needlesOf(meta), ids: ids?.map(checkId), dedupId }
      let left = scan ?? Number.POSITIVE_INFINITY
      const found: StoredMessage[] = []
      let after: string | null = afterId === null ? '' : checkId(afterId)
      while (after !== null && found.length < limit && left > 0) {
        const budget = Math.min(peekBudget, left)
        left -= budget
        const request: string = JSON.stringify({ ...common, after, budget, limit: limit - found.length })
        const [rows, last]: [Row[], string | null] = await this.#run<[Row[], string | null]>(
          'peek',
          queue,
          [request],
          slow,
        )
        found.push(...rows.map(toStoredMessage).filter((message) => hasMeta(message, meta)))
        after = last
      }
      return after !== null && found.length < limit ? Object.assign(found, { after }) : found
    })
  }

  async settle(
    queue: string,
    settlements: readonly Settlement[],
    transaction: Transaction | null = null,
  ): Promise<SettleResult[]> {
    if (transaction) throw unsupported()
    return this.#driver.whileOpen(async () => {
      if (settlements.length === 0) return []
      const [results, entries] = await (settlements.every(({ kind }) => kind === 'delete')
        ? this.#delete(queue, settlements)
        : this.#settle(queue, settlements))
      let moved: ReadonlyMap<string, string> | undefined
      // Only a move needs the results of its deliveries.
      if (results.some((result) => result.startsWith('>'))) moved = (await this.#relay.deliver(queue, entries)).moved
      else if (entries.length > 0) await this.#relay.tryDeliver(queue, entries)
      return results.map((result) => toSettleResult(result, moved))
    })
  }

  #delete(queue: string, leases: readonly Lease[]): Promise<SettleAnswer> {
    const args = [newNonce()]
    for (const { id, receipt } of leases) args.push(id, toReceipt(receipt))
    return this.#run('delete', queue, args, once)
  }

  #settle(queue: string, settlements: readonly Settlement[]): Promise<SettleAnswer> {
    const { keys, keyNumberOf } = this.#targets(queue, settlements)
    const list = JSON.stringify(settlements.map((settlement) => toSettlement(settlement, keyNumberOf)))
    return this.#driver.run('settle', keys, [newNonce(), list], once) as Promise<SettleAnswer>
  }

  /** The queue with those that a message may be moved to in the same step: on a Cluster only itself. */
  #targets(queue: string, settlements: readonly Settlement[]) {
    const moves = settlements.flatMap((each) => (each.kind === 'move' ? [each.to] : []))
    const queues = [...new Set([queue, ...(this.#driver.isCluster ? [] : moves)])]
    const [first, ...others] = keysOf(queue)
    const keys: readonly [string, ...string[]] = [first, ...others, ...queues.slice(1).flatMap(keysOf)]
    const keyNumberOf = (to: string) => (queues.includes(to) ? queues.indexOf(to) * queueKeyCount + 1 : 0)
    return { keys, keyNumberOf }
  }

  extend(queue: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    return this.#driver.whileOpen(async () => {
      if (leases.length === 0) return []
      for (const listening of this.#listenings) listening.prolong(`queue:${queue}`, leaseMs)
      const list = JSON.stringify(
        leases.map(({ id, receipt, cancelled }) => [id, toReceipt(receipt), cancelled ? 1 : 0]),
      )
      return this.#run<(string | null)[]>('extend', queue, [newNonce(), leaseMs, list], repeatable)
    })
  }

  cancel(queue: string, ids: readonly string[], { running = false } = {}): Promise<Cancelled[]> {
    return this.#driver.whileOpen(async () => {
      const at = running ? JSON.stringify(new Date().toISOString()) : ''
      const answer = await this.#run<[number[], string[]]>('cancel', queue, [newNonce(), toIdList(ids), at], once)
      const [ended, entries] = answer
      await this.#relay.tryDeliver(queue, entries)
      return ended.map((flag) => cancelled[flag] ?? null)
    })
  }

  makeReady(queue: string, ids: readonly string[]): Promise<boolean[]> {
    return this.#driver.whileOpen(async () => {
      const ready = await this.#run<number[]>('make-ready', queue, [newNonce(), toIdList(ids)], repeatable)
      return ready.map((one) => one === 1)
    })
  }

  correlation(id: string): Promise<CorrelationState | null> {
    return this.#driver.whileOpen(() => this.#correlations.state(id))
  }

  transaction(): Promise<never> {
    return Promise.reject(unsupported())
  }

  listen(listener: Listener): Promise<Listening> {
    return this.#driver.whileOpen(async () => {
      const registries = { queues: this.#registry, topics: this.#topicRegistry }
      const listening: RedisListening = new RedisListening(this.#driver, registries, listener, () =>
        this.#listenings.delete(listening),
      )
      this.#listenings.add(listening)
      return listening
    })
  }

  maintain(request: MaintainRequest): Promise<number> {
    if (request.kind === 'due') return this.#upkeep.run()
    const { queue, archivedForMs, keep, limit } = request
    const args = [archivedForMs ?? '', keep ?? '', limit]
    return this.#driver.whileOpen(() => this.#run<number>('prune', queue, args, slowOnce))
  }

  processes(): Promise<ProcessInfo[]> {
    return this.#driver.whileOpen(() => listProcesses(this.#driver))
  }

  diagnose(): Promise<Finding[]> {
    return this.#driver.whileOpen(() => diagnose(this.#driver))
  }

  #run<T>(
    script: Parameters<Driver['run']>[0],
    queue: string,
    args: readonly (string | number)[],
    options: Parameters<Driver['run']>[3],
  ): Promise<T> {
    return this.#driver.run(script, keysOf(queue), args, options) as Promise<T>
  }
}

type SettleAnswer = [results: string[], entries: string[]]

const cancelled: readonly Cancelled[] = [null, 'removed', 'asked']
const toIdList = (ids: readonly string[]) => JSON.stringify(ids.map(checkId))
