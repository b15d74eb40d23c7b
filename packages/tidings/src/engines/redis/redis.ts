import { isTidingsError } from '../../core/errors.ts'
import type {
  Binding,
  Claim,
  ClaimRequest,
  CorrelationState,
  Engine,
  Feature,
  Finding,
  Lease,
  MaintainRequest,
  NewMessage,
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
import type { Listener, Listening } from '../../port/listening.ts'
import { queueFull } from '../../port/refusals.ts'
import { slowMs } from './calling.ts'
import { Correlations, type Task, toTasks } from './correlations.ts'
import { diagnose, refuseOldServer } from './diagnose.ts'
import { Driver, type RedisSource } from './driver.ts'
import { unsupported } from './errors.ts'
import { keysOf, newNonce, queueKeyCount, removedQueueKeys } from './keys.ts'
import { RedisListening } from './listening.ts'
import {
  checkId,
  encode,
  hasMeta,
  needlesOf,
  type Row,
  toReceipt,
  toSendResult,
  toSettlement,
  toStoredMessage,
} from './messages.ts'
import { queues, Registry, topics } from './registry.ts'
import { Relay } from './relay/relay.ts'
import { Routes } from './routes.ts'
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
  readonly supports: ReadonlySet<Feature> = new Set<Feature>(['durable', 'topics'])
  readonly limits = usualLimits
  readonly #driver: Driver
  readonly #registry: Registry
  readonly #routes: Routes
  readonly #correlations: Correlations
  readonly #relay: Relay
  readonly #upkeep: Upkeep
  readonly #listenings = new Set<RedisListening>()
  readonly #topicRegistry: Registry
  readonly topics: RedisTopics

  /**
   * @param settings intentMs: the age at which upkeep withdraws the intent of a killed sender; default 60,000
   * @throws URL_INVALID; as `targetOfClient`
   */
  constructor(source: RedisSource, { intentMs = 60_000 }: { intentMs?: number } = {}) {
    this.#driver = new Driver(source)
    this.#registry = new Registry(this.#driver, queues)
    this.#topicRegistry = new Registry(this.#driver, topics)
    this.#routes = new Routes(this.#driver, this.#registry, this.#topicRegistry)
    this.#correlations = new Correlations(this.#driver)
    this.#relay = new Relay(this.#driver, this.#registry, this.#routes, this.#correlations)
    this.#upkeep = new Upkeep(this.#driver, this.#registry, this.#topicRegistry, this.#routes, this.#relay, intentMs)
    this.topics = new RedisTopics(this.#driver, this.#topicRegistry, this.#routes, this.#relay)
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
      (await this.#registry.list(queue)).map(({ name, createdAt }) => ({ queue: name, createdAt })),
    )
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
    return this.#driver.whileOpen(async () => {
      const [ready, delayed, leased, archived, totalSent, oldestReadyMs, newestMs, oldestMs, createdAt] =
        await this.#run<StatsAnswer>('stats', queue, [], repeatable)
      return { queue, ready, delayed, leased, archived, totalSent, oldestReadyMs, newestMs, oldestMs, createdAt }
    })
  }

  async send(
    queue: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    terms?: SendTerms,
  ): Promise<SendResult[]> {
    if (transaction) throw unsupported()
    return this.#driver.whileOpen(async () => {
      if (messages.length === 0) return []
      const nonce = newNonce()
      const names = toTasks(messages, nonce)
      const tasks = messages.flatMap(({ tracked }, index): Task[] =>
        tracked ? [{ ...tracked, correlation: tracked.correlationId, queue, task: names[index]! }] : [],
      )
      const onDisk = terms?.durability === 'fsync'
      // Asked before anything is written, of tasks too.
      if (onDisk && tasks.length > 0) await this.#driver.confirmDisk(keysOf(queue)[0])
      const intent = await this.#relay.intend(queue, tasks)
      const encoded = messages.flatMap((message, index) => encode(message, names[index]))
      const args = [nonce, intent, terms?.maxLength ?? '', ...encoded]
      const answer = await this.#run<SendAnswer>('send', queue, args, { ...once, onDisk })
      const [results, entries, length, count] = answer
      await this.#relay.tryDeliver(queue, entries)
      if (length !== undefined) throw queueFull(queue, length, terms!.maxLength!, count!)
      return results.map(toSendResult)
    })
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

  claim(queue: string, { limit, leaseMs, ids }: ClaimRequest): Promise<Claim> {
    return this.#driver.whileOpen(async () => {
      const args = [newNonce(), limit, leaseMs, ids ? toIdList(ids) : '']
      const claim = (isAgain: boolean) =>
        this.#run<[Row[], number | null]>('claim', queue, [...args, isAgain ? 1 : ''], isAgain ? repeatable : once)
      const [rows, nextDueMs] = await claim(false).catch((error: unknown) => {
        if (!isTidingsError(error, 'OUTCOME_UNKNOWN')) throw error
        return claim(true)
      })
      return { messages: rows.map(toStoredMessage), nextDueMs }
    })
  }

  pop(queue: string, limit: number): Promise<StoredMessage[]> {
    return this.#driver.whileOpen(async () => {
      const [rows, entries] = await this.#run<[Row[], string[]]>('pop', queue, [newNonce(), limit], slowOnce)
      await this.#relay.tryDeliver(queue, entries)
      return rows.map(toStoredMessage)
    })
  }

  peek(queue: string, { place, limit, afterId, ids, meta = {} }: PeekRequest): Promise<StoredMessage[]> {
    return this.#driver.whileOpen(async () => {
      const common = { place: place ?? '', texts: needlesOf(meta), budget: peekBudget, ids: ids?.map(checkId) }
      const found: StoredMessage[] = []
      let after: string | null = afterId === null ? '' : checkId(afterId)
      while (after !== null && found.length < limit) {
        const request: string = JSON.stringify({ ...common, after, limit: limit - found.length })
        const [rows, last]: [Row[], string | null] = await this.#run<[Row[], string | null]>(
          'peek',
          queue,
          [request],
          slow,
        )
        found.push(...rows.map(toStoredMessage).filter((message) => hasMeta(message, meta)))
        after = last
      }
      return found
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
      const { keys, keyNumberOf } = this.#targets(queue, settlements)
      const list = JSON.stringify(settlements.map((settlement) => toSettlement(settlement, keyNumberOf)))
      const answer = await this.#driver.run('settle', keys, [newNonce(), list], once)
      const [results, entries] = answer as [string[], string[]]
      let moved: ReadonlyMap<string, string> = new Map()
      // Only a move needs the results of its deliveries.
      if (!results.some((result) => result.startsWith('>'))) await this.#relay.tryDeliver(queue, entries)
      else moved = (await this.#relay.deliver(queue, entries)).moved
      return results.map((result) => toSettleResult(result, moved))
    })
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
      const list = JSON.stringify(leases.map(({ id, receipt }) => [id, toReceipt(receipt)]))
      return this.#run<(string | null)[]>('extend', queue, [newNonce(), leaseMs, list], repeatable)
    })
  }

  cancel(queue: string, ids: readonly string[]): Promise<boolean[]> {
    return this.#driver.whileOpen(async () => {
      const answer = await this.#run<[number[], string[]]>('cancel', queue, [newNonce(), toIdList(ids)], once)
      const [removed, entries] = answer
      await this.#relay.tryDeliver(queue, entries)
      return removed.map((flag) => flag === 1)
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
    return this.#driver.whileOpen(async () => {
      if (request.kind === 'archive') {
        const { queue, archivedForMs, keep, limit } = request
        return this.#run<number>('prune', queue, [archivedForMs ?? '', keep ?? '', limit], slowOnce)
      }
      await this.#upkeep.run()
      return 0
    })
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

type SendAnswer = [results: string[], entries: string[], length?: number, count?: number]

type StatsAnswer = [
  ready: number,
  delayed: number,
  leased: number,
  archived: number,
  totalSent: number,
  oldestReadyMs: number | null,
  newestMs: number | null,
  oldestMs: number | null,
  createdAt: number,
]

function toSettleResult(result: string, moved: ReadonlyMap<string, string>): SettleResult {
  if (result === '') return { settled: false, newId: null }
  const rest = result.slice(1)
  return { settled: true, newId: result.startsWith('>') ? (moved.get(rest) ?? null) : rest || null }
}

const toIdList = (ids: readonly string[]) => JSON.stringify(ids.map(checkId))
