import { eachAlone } from '../../core/each-alone.ts'
import { isTidingsError, show, TidingsError } from '../../core/errors.ts'
import { Recent } from '../../core/recent.ts'
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
  TopicRule,
  Transaction,
} from '../../port/engine.ts'
import { usualLimits } from '../../port/limits.ts'
import type { Listener, Listening } from '../../port/listening.ts'
import { noQueue, queueFull } from '../../port/refusals.ts'
import { Calls } from './calls.ts'
import { Cursor } from './cursor.ts'
import { diagnose, refuseFiltered } from './diagnose.ts'
import { Disk } from './disk.ts'
import { Driver, type PostgresTarget, type Row } from './driver.ts'
import { PostgresListening } from './listening.ts'
import { migrate } from './migrate.ts'
import {
  isId,
  isPlain,
  isSorted,
  toBatch,
  toCorrelationState,
  toLeaseEntry,
  toPublishedCopies,
  toRoutedBatch,
  toSettleEntry,
  toStoredMessage,
} from './rows.ts'
import { statements } from './sql.gen.ts'
import { PostgresTopics } from './topics.ts'

/** Queues on PGMQ's tables, and topics beside them, in PostgreSQL 13 and newer. What the statements do stands in the .sql files. */
export class PostgresEngine implements Engine {
  readonly name = 'postgres'
  readonly supports: ReadonlySet<Feature> = new Set<Feature>(['transactions', 'durable', 'events', 'topics'])
  readonly limits = usualLimits
  readonly topics: PostgresTopics
  readonly #driver: Driver
  readonly #calls: Calls
  readonly #disk: Disk
  readonly #listenings = new Set<PostgresListening>()
  /** Losing one costs a sweep. */
  readonly #cursors = new Recent(() => new Cursor())

  /** @param poolMax how many connections there may be, for everything */
  constructor(target: PostgresTarget, poolMax?: number) {
    this.#driver = new Driver(target, poolMax)
    this.#calls = new Calls(this.#driver)
    this.#disk = new Disk(this.#calls)
    this.topics = new PostgresTopics(this.#calls)
  }

  async open(): Promise<void> {
    await this.#driver.open()
    try {
      await migrate(this.#driver)
      await refuseFiltered(this.#driver)
    } catch (error) {
      await this.#driver.close()
      throw error
    }
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
    this.#cursors.forget(queue)
    const [row] = await this.#calls.read(statements.dropQueue, [queue])
    return row?.dropped === true
  }

  async describe(queue: string | null): Promise<QueueInfo[]> {
    const rows = await this.#calls.read(statements.describe, [queue])
    if (queue !== null && rows.length === 0) throw noQueue(queue)
    return rows.map((row) => ({ queue: row.queue as string, createdAt: row.created_at as number }))
  }

  async purgeQueue(queue: string): Promise<number> {
    const [row] = await this.#calls.write(statements.purgeQueue, [queue])
    return Number(row?.purged)
  }

  async stats(queue: string): Promise<QueueStats> {
    const [row] = await this.#calls.read(statements.stats, [queue])
    const { ready, delayed, leased, archived, total_sent, oldest_ready_ms, newest_ms, oldest_ms, created_at } =
      row as Record<string, number>
    return {
      queue,
      ready: ready!,
      delayed: delayed!,
      leased: leased!,
      archived: archived!,
      totalSent: total_sent!,
      oldestReadyMs: oldest_ready_ms ?? null,
      newestMs: newest_ms ?? null,
      oldestMs: oldest_ms ?? null,
      createdAt: created_at!,
    }
  }

  async send(
    queue: string,
    messages: readonly NewMessage[],
    transaction: Transaction | null,
    { maxLength, durability }: SendTerms = {},
  ): Promise<SendResult[]> {
    if (messages.length === 0) return []
    if (durability === 'fsync') await this.#disk.confirm(queue, transaction)
    const values = [queue, toBatch(messages), messages.every(isPlain)]
    if (messages.some(isSorted)) await this.#calls.enableSorting(queue, messages)
    const rows =
      maxLength === undefined
        ? await this.#calls.writeWithin(transaction, statements.send, values)
        : await this.#calls.writeWithin(transaction, statements.sendLimited, [...values, maxLength])
    if (maxLength !== undefined && rows[0]?.id === null) {
      const { there, fresh } = rows[0] as Record<string, number>
      throw queueFull(queue, there!, maxLength, fresh!)
    }
    return rows.map((row) => ({ id: String(row.id), duplicate: row.duplicate === true }))
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

  async claim(queue: string, { limit, leaseMs, ids }: ClaimRequest): Promise<Claim> {
    if (ids) {
      const rows = await this.#calls.read(statements.claimIds, [queue, limit, leaseMs, toIdList(ids)])
      return { messages: rows.map((row) => toStoredMessage(row, true)).sort(inOrder), nextDueMs: null }
    }
    return this.#claimNext(queue, limit, leaseMs)
  }

  async pop(queue: string, limit: number): Promise<StoredMessage[]> {
    const cursor = this.#cursors.get(queue)
    // One statement, so that it is one step; from the mark only where a sweep would cost too much.
    const sweep = cursor.maySweep(performance.now())
    const { messages } = await this.#takeOnce(cursor, limit, sweep, false, () =>
      this.#calls.write(statements.pop, [queue, limit, cursor.mark, cursor.lastKey, sweep]),
    )
    return messages.sort(inOrder)
  }

  /** Claims from the mark on, and sweeps behind it where that is due or nothing else is left. */
  async #claimNext(queue: string, limit: number, leaseMs: number): Promise<Claim> {
    const cursor = this.#cursors.get(queue)
    const endsAt = performance.now() + leaseMs
    const take = (quantity: number, sweep: boolean) =>
      this.#takeOnce(cursor, quantity, sweep, true, () =>
        this.#calls.read(statements.claim, [queue, quantity, leaseMs, cursor.mark, cursor.lastKey, sweep]),
      )
    const first = await take(limit, cursor.shouldSweep(performance.now()))
    const left = limit - first.messages.length
    const now = performance.now()
    // On a slow line the first ones may have been on their way for longer than their lease, and would come twice.
    const goesOn = left > 0 && !first.swept && cursor.maySweep(now) && now < endsAt
    const rest = goesOn ? await take(left, true) : undefined
    return {
      messages: [...first.messages, ...(rest?.messages ?? [])].sort(inOrder),
      nextDueMs: cursor.nextDueMs(performance.now(), first.swept || rest !== undefined),
    }
  }

  async #takeOnce(
    cursor: Cursor,
    quantity: number,
    sweep: boolean,
    leased: boolean,
    take: () => Promise<Row[]>,
  ): Promise<{ messages: StoredMessage[]; swept: boolean }> {
    const rows = await take()
    const summary = sweep ? rows.pop() : undefined
    const messages = rows.map((row) => toStoredMessage(row, leased))
    const full = messages.length === quantity
    if (sweep)
      cursor.noteSweep(messages, {
        full,
        endedAt: performance.now(),
        costMs: (summary?.sweep_ms as number | undefined) ?? 0,
        nextDueMs: (summary?.next_due_ms as number | null) ?? null,
      })
    else cursor.noteClaim(messages, full)
    return { messages, swept: sweep }
  }

  async peek(queue: string, { place, limit, afterId, ids, meta }: PeekRequest): Promise<StoredMessage[]> {
    const after = afterId === null ? null : checkId(afterId)
    const wanted = meta ? JSON.stringify(meta) : null
    const rows = await this.#calls.read(statements.peek, [queue, place, limit, after, ids && toIdList(ids), wanted])
    return rows.map((row) => toStoredMessage(row, false))
  }

  async settle(
    queue: string,
    settlements: readonly Settlement[],
    transaction: Transaction | null = null,
  ): Promise<SettleResult[]> {
    if (settlements.length === 0) return []
    const plain = settlements.every(({ kind }) => kind === 'delete')
    const batch = JSON.stringify(settlements.map(toSettleEntry))
    const rows = await this.#calls.writeWithin(transaction, statements.settle, [queue, batch, plain])
    const results: SettleResult[] = settlements.map(() => ({ settled: false, newId: null }))
    for (const row of rows)
      results[(row.at as number) - 1] = { settled: true, newId: (row.new_id as string | null) ?? null }
    for (const [index, settlement] of settlements.entries())
      if (settlement.kind === 'release' && results[index]?.settled) this.#cursors.get(queue).lowerTo(settlement.id)
    return results
  }

  async extend(queue: string, leases: readonly Lease[], leaseMs: number): Promise<(string | null)[]> {
    if (leases.length === 0) return []
    const entries = leases.map(toLeaseEntry)
    const rows = await this.#calls.read(statements.extend, [queue, JSON.stringify(entries), leaseMs])
    const receipts: (string | null)[] = leases.map(() => null)
    for (const row of rows) {
      const index = (row.at as number) - 1
      receipts[index] = `${String(entries[index]?.r)}.${row.vt_us as string}`
    }
    return receipts
  }

  async cancel(queue: string, ids: readonly string[]): Promise<boolean[]> {
    const rows = await this.#calls.write(statements.cancel, [queue, toIdList(ids)])
    const removed = new Set(rows.map((row) => row.id))
    return ids.map((id) => removed.has(id))
  }

  async correlation(id: string): Promise<CorrelationState | null> {
    return toCorrelationState(await this.#calls.read(statements.correlation, [id]))
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#driver.hold(work)
  }

  async listen(listener: Listener): Promise<Listening> {
    const listening: PostgresListening = new PostgresListening(this.#driver, listener, {
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
    await eachAlone([
      () => this.#maintainQueues(),
      () => this.#calls.read(statements.maintain, []),
      () => this.topics.maintain(),
      async () => {
        for (const cursor of this.#cursors.values()) cursor.expectSweep()
      },
    ])
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

  diagnose(): Promise<Finding[]> {
    return diagnose(this.#driver)
  }
}

function checkId(id: string): string {
  if (isId(id)) return id
  throw new TidingsError('MESSAGE_ID_INVALID', `${show(id)} is not an id of a message in PostgreSQL`)
}

/** By priority, then oldest first. */
function inOrder(a: StoredMessage, b: StoredMessage): number {
  return b.priority - a.priority || compareIds(a.id, b.id)
}

/** Ids are decimal numbers without leading zeros. */
const compareIds = (a: string, b: string) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0)

const toIdList = (ids: readonly string[]) => JSON.stringify(ids.map(checkId))

const endsOf = (rule: TopicRule): [topic: string, pattern: string | null, queue: string | null] =>
  'pattern' in rule ? [rule.topic, rule.pattern, null] : [rule.topic, null, rule.queue]
