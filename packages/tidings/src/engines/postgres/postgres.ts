import { eachAlone } from '../../core/each-alone.ts'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
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
  StatsOptions,
  StoredMessage,
  TopicRule,
  Transaction,
} from '../../port/engine.ts'
import { usualLimits } from '../../port/limits.ts'
import type { Listener, Listening } from '../../port/listening.ts'
import type { ProcessInfo } from '../../port/processes.ts'
import { noQueue, queueFull } from '../../port/refusals.ts'
import { Calls } from './calls.ts'
import { Claims } from './claims.ts'
import { diagnose, refuseFiltered } from './diagnose.ts'
import { Disk } from './disk.ts'
import { Driver, type PostgresTarget } from './driver.ts'
import { PostgresHistory } from './history.ts'
import { Life, shortestHeldMs } from './life.ts'
import { PostgresListening } from './listening.ts'
import { migrate } from './migrate.ts'
import { QueueFunctions } from './queue-functions.ts'
import {
  checkId,
  isPlain,
  isSorted,
  toBatch,
  toColumns,
  toCorrelationState,
  toIdList,
  toLeaseColumns,
  toLeaseEntry,
  toPeeked,
  toProcess,
  toPublishedCopies,
  toQueueInfo,
  toQueueStats,
  toRoutedBatch,
  toSendResult,
  toSettleEntry,
} from './rows.ts'
import { PostgresSchedules } from './schedules.ts'
import { statements } from './sql.gen.ts'
import { PostgresTopics } from './topics.ts'

/** Queues on PGMQ's tables, and topics beside them, in PostgreSQL 13 and newer. What the statements do stands in the .sql files. */
export class PostgresEngine implements Engine {
  readonly name = 'postgres'
  readonly supports: ReadonlySet<Feature> = new Set<Feature>([
    'transactions',
    'durable',
    'events',
    'topics',
    'limits',
    'schedules',
  ])
  readonly limits = usualLimits
  readonly topics: PostgresTopics
  readonly schedules: PostgresSchedules
  readonly history: PostgresHistory
  readonly #driver: Driver
  readonly #calls: Calls
  readonly #functions: QueueFunctions
  readonly #disk: Disk
  readonly #life = new Life()
  readonly #claims: Claims
  readonly #sleeps: boolean
  /** Since the last upkeep. */
  #wasUsed = true
  readonly #listenings = new Set<PostgresListening>()

  /**
   * @param options poolMax: how many connections there may be, for everything; sleeps: whether nothing is asked of an idle
   *   server
   */
  constructor(
    target: PostgresTarget,
    { poolMax, sleeps = false }: { poolMax?: number | undefined; sleeps?: boolean } = {},
  ) {
    this.#driver = new Driver(target, poolMax)
    this.#sleeps = sleeps
    this.#driver.used = () => {
      this.#wasUsed = true
      for (const listening of this.#listenings) listening.used()
    }
    this.#calls = new Calls(this.#driver)
    this.#functions = new QueueFunctions(this.#calls)
    this.#disk = new Disk(this.#calls)
    this.#claims = new Claims(this.#calls, this.#functions, this.#life)
    this.topics = new PostgresTopics(this.#calls, this.#life)
    this.schedules = new PostgresSchedules(this.#calls, this)
    this.history = new PostgresHistory(this.#calls, () => this.#sleeps && !this.#wasUsed)
  }

  async open(): Promise<void> {
    await this.#driver.open()
    try {
      await migrate(this.#driver)
      await refuseFiltered(this.#driver)
      if (this.#sleeps) await this.#refuseDeaf()
    } catch (error) {
      await this.#driver.close()
      throw error
    }
  }

  /** Nobody would hear of new messages. */
  async #refuseDeaf(): Promise<void> {
    const connection = await this.#driver.connect('statement')
    connection.release(false)
    if (connection.session.isDirect) return
    throw new TidingsError(
      'UNSUPPORTED',
      `idle is 'sleep', and events do not come through the pooler at ${this.#driver.where}`,
      {
        hint: "Connect to the server itself, or leave out idle: 'sleep'.",
      },
    )
  }

  async close(): Promise<void> {
    await Promise.all([...this.#listenings].map((listening) => listening.close()))
    await this.#driver.close()
  }

  async createQueue(queue: string): Promise<boolean> {
    const [row] = await this.#calls.read(statements.createQueue, [queue])
    return row?.created === true
  }

  async dropQueue(queue: string): Promise<boolean> {
    this.#claims.forget(queue)
    const [row] = await this.#calls.read(statements.dropQueue, [queue])
    return row?.dropped === true
  }

  async describe(queue: string | null): Promise<QueueInfo[]> {
    const rows = await this.#calls.read(statements.describe, [queue])
    if (queue !== null && rows.length === 0) throw noQueue(queue)
    return rows.map(toQueueInfo)
  }

  async configure(queue: string, change: JsonObject): Promise<JsonObject> {
    const [row] = await this.#calls.read(statements.configure, [queue, JSON.stringify(change)])
    return JSON.parse(row?.settings as string) as JsonObject
  }

  async purgeQueue(queue: string): Promise<number> {
    const [row] = await this.#calls.write(statements.purgeQueue, [queue])
    return Number(row?.purged)
  }

  async stats(queue: string, { upTo }: StatsOptions = {}): Promise<QueueStats> {
    const [row] = await this.#calls.read(statements.stats, [queue, upTo ?? null])
    return toQueueStats(queue, row!)
  }

  async send(
    queue: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    { maxLength, durability }: SendTerms = {},
  ): Promise<SendResult[]> {
    if (messages.length === 0) return []
    if (durability === 'fsync') await this.#disk.confirm(queue, transaction)
    const plain = messages.every(isPlain)
    if (plain && transaction === null && maxLength === undefined) return this.#sendPlain(queue, messages)
    if (transaction) await this.#functions.prepare(queue)
    const values = [queue, toBatch(messages), plain]
    if (messages.some(isSorted)) await this.#calls.enableSorting(queue, messages)
    const rows =
      maxLength === undefined
        ? await this.#calls.writeWithin(transaction, statements.send, values)
        : await this.#calls.writeWithin(transaction, statements.sendLimited, [...values, maxLength])
    if (maxLength !== undefined && rows[0]?.id === null) {
      const { there, fresh } = rows[0] as Record<string, number>
      throw queueFull(queue, there!, maxLength, fresh!)
    }
    return rows.map(toSendResult)
  }

  async #sendPlain(queue: string, messages: readonly NewMessage[]): Promise<SendResult[]> {
    const values = toColumns(messages)
    const [row] = await this.#functions.call(queue, 'sendPlain', (text) => this.#calls.write(text, values))
    return String(row?.ids)
      .split(',')
      .map((id) => ({ id, duplicate: false }))
  }

  async bind(rule: Rule): Promise<boolean> {
    const [row] =
      'topic' in rule
        ? await this.#calls.read(statements.bindTopic, endsOf(rule))
        : await this.#calls.read(statements.bind, [rule.pattern, rule.queue])
    return row?.bound === true
  }

  async unbind(rule: Rule): Promise<boolean> {
    const [row] =
      'topic' in rule
        ? await this.#calls.read(statements.unbindTopic, endsOf(rule))
        : await this.#calls.read(statements.unbind, [rule.pattern, rule.queue])
    return row?.unbound === true
  }

  async bindings(queue: string | null): Promise<Binding[]> {
    const rows = await this.#calls.read(statements.bindings, [queue])
    return rows.map((row) => ({
      pattern: row.pattern as string,
      queue: row.queue_name as string,
      boundAt: row.bound_at as number,
    }))
  }

  async publish(messages: readonly RoutedMessage[], transaction: Transaction | null): Promise<PublishedCopy[][]> {
    if (messages.length === 0) return []
    const batch = toRoutedBatch(messages)
    const plain = messages.every(isPlain)
    const rows = await this.#calls.whereEnabled(messages, (enabled) =>
      this.#calls.writeWithin(transaction, statements.publish, [batch, plain, enabled, transaction === null]),
    )
    return toPublishedCopies(rows, messages.length)
  }

  claim(queue: string, request: ClaimRequest): Promise<Claim> {
    return this.#claims.claim(queue, request)
  }

  pop(queue: string, limit: number): Promise<StoredMessage[]> {
    return this.#claims.pop(queue, limit)
  }

  async peek(queue: string, { place, limit, afterId, ids, dedupId, meta, scan }: PeekRequest): Promise<Peeked> {
    const after = afterId === null ? null : checkId(afterId)
    const wanted = meta ? JSON.stringify(meta) : null
    const values = [queue, place, limit, after, ids && toIdList(ids), wanted, scan ?? null, dedupId ?? null]
    return toPeeked(await this.#calls.read(statements.peek, values))
  }

  async settle(
    queue: string,
    settlements: readonly Settlement[],
    transaction: Transaction | null = null,
  ): Promise<SettleResult[]> {
    if (settlements.length === 0) return []
    const plain = settlements.every(({ kind }) => kind === 'delete')
    if (plain && transaction === null) return this.#delete(queue, settlements)
    if (transaction) await this.#functions.prepare(queue)
    if (settlements.some((one) => one.kind === 'release' && one.hold !== undefined))
      await this.#calls.enableHolds(queue)
    const batch = JSON.stringify(settlements.map(toSettleEntry))
    const rows = await this.#calls.writeWithin(transaction, statements.settle, [queue, batch, plain])
    const results: SettleResult[] = settlements.map(() => ({ settled: false, newId: null }))
    for (const row of rows)
      results[(row.at as number) - 1] = { settled: true, newId: (row.new_id as string | null) ?? null }
    for (const [index, settlement] of settlements.entries())
      if (settlement.kind === 'release' && results[index]?.settled) this.#claims.givenBack(queue, settlement.id)
    this.#claims.ended(queue, settlements, results)
    return results
  }

  async #delete(queue: string, leases: readonly Lease[]): Promise<SettleResult[]> {
    const values = toLeaseColumns(leases)
    const [row] = await this.#functions.call(queue, 'settlePlain', (text) => this.#calls.write(text, values))
    const results: SettleResult[] = leases.map(() => ({ settled: false, newId: null }))
    const positions = row?.positions as string | null
    if (positions !== null)
      for (const position of positions.split(',')) results[Number(position) - 1] = { settled: true, newId: null }
    this.#claims.ended(queue, leases, results)
    return results
  }

  async extend(queue: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    if (leases.length === 0) return []
    const entries = leases.map(toLeaseEntry)
    const holder = leaseMs >= shortestHeldMs ? this.#life.number : null
    const values = [queue, JSON.stringify(entries), leaseMs, holder]
    const rows = await this.#calls.read(statements.extend, values)
    const receipts: (string | null)[] = leases.map(() => null)
    for (const row of rows) {
      const index = (row.at as number) - 1
      receipts[index] = `${String(entries[index]?.r)}.${row.vt_us as string}`
    }
    return receipts
  }

  async cancel(queue: string, ids: readonly string[], { running = false } = {}): Promise<Cancelled[]> {
    const statement = running ? statements.cancelRunning : statements.cancel
    const rows = await this.#calls.write(statement, [queue, toIdList(ids)])
    const ended = new Map(rows.map(({ id, asked }) => [id, asked === true ? ('asked' as const) : ('removed' as const)]))
    return ids.map((id) => ended.get(id) ?? null)
  }

  async makeReady(queue: string, ids: readonly string[]): Promise<boolean[]> {
    const rows = await this.#calls.read(statements.makeReady, [queue, toIdList(ids)])
    const ready = new Set(rows.map(({ id }) => id as string))
    for (const id of ready) this.#claims.givenBack(queue, id)
    return ids.map((id) => ready.has(id))
  }

  async correlation(id: string): Promise<CorrelationState | null> {
    return toCorrelationState(await this.#calls.read(statements.correlation, [id]))
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#driver.hold(work)
  }

  async listen(listener: Listener): Promise<Listening> {
    const listening: PostgresListening = new PostgresListening(this.#driver, listener, {
      life: this.#life,
      sleeps: this.#sleeps,
      promoteDue: () => this.#maintainQueues(),
      ended: () => this.#listenings.delete(listening),
    })
    this.#listenings.add(listening)
    return listening
  }

  async maintain(request: MaintainRequest): Promise<number> {
    if (request.kind === 'archive') {
      const { queue, archivedForMs, keep, limit } = request
      const [row] = await this.#calls.write(statements.prune, [queue, archivedForMs, keep, limit])
      return Number(row?.pruned)
    }
    // It would wake a server that sleeps.
    if (this.#sleeps && !this.#wasUsed) return 0
    await eachAlone([
      () => this.#maintainQueues(),
      () => this.#calls.read(statements.maintain, []),
      () => this.topics.maintain(),
      async () => this.#claims.expectSweeps(),
    ]).finally(() => {
      this.#wasUsed = false
    })
    return 0
  }

  /** Moves due messages in, among other things. */
  async #maintainQueues(): Promise<void> {
    const queues = (await this.#calls.read(statements.queuesToMaintain, [])).map((row) => row.queue as string)
    await eachAlone(queues.map((queue) => () => this.#maintainQueue(queue)))
  }

  async #maintainQueue(queue: string): Promise<void> {
    try {
      await this.#calls.read(statements.maintainQueue, [queue])
      await this.#calls.read(statements.indexQueue, [queue])
    } catch (error) {
      // It was dropped in this moment.
      if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return
      throw isTidingsError(error) ? error.within(`queue '${queue}'`) : error
    }
  }

  async processes(): Promise<ProcessInfo[]> {
    return (await this.#calls.read(statements.processes, [])).flatMap(toProcess)
  }

  diagnose(): Promise<Finding[]> {
    return diagnose(this.#driver)
  }
}

const endsOf = (rule: TopicRule): [topic: string, pattern: string | null, queue: string | null] =>
  'pattern' in rule ? [rule.topic, rule.pattern, null] : [rule.topic, null, rule.queue]
