import pg from 'pg'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, migratedDatabase, newName, openEngine, query } from './support.ts'

const limits = (...all: Record<string, string | number>[]) => ({ limits: all })
const inGroup = (group: string, orderingKey: string | null = null) => message({ group, orderingKey })

describe.each(['postgres15', 'postgres18'] as const)('lanes on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  let queue: string

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })
  beforeEach(async () => {
    queue = newName('turns')
    await engine.createQueue(queue)
  })

  const groupsOf = async (limit = 10) =>
    (await engine.claim(queue, { limit, leaseMs: 60_000, ids: null })).messages.map(({ group }) => group).sort()
  const textOf = async (verb: string) =>
    (await query(url, 'SELECT prosrc FROM pg_proc WHERE proname = $1', [`${verb}:${queue}`]))[0]?.prosrc as string

  test('a queue without groups and limits knows nothing of them', async () => {
    for (const verb of ['send', 'claim', 'settle']) expect(await textOf(verb)).not.toMatch(/lane/)
    const triggers = await query(url, 'SELECT FROM pg_trigger WHERE tgrelid = $1::regclass', [`pgmq.q_${queue}`])
    expect(triggers).toEqual([])
    await engine.configure(queue, { weights: { a: 2 } })
    for (const verb of ['claim', 'settle']) expect(await textOf(verb)).toMatch(/lane|note_ends/)
  })

  test('a claim reads as much behind groups of which nothing can be claimed', async () => {
    const rowsRead = async () => {
      const session = new pg.Client({ connectionString: url })
      await session.connect()
      await session.query('BEGIN')
      const { rows } = await session.query(`SELECT * FROM tidings.claim('${queue}', 1, 1000, 0, NULL, false)`)
      const counted = await session.query(
        `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer AS count FROM pg_stat_xact_user_tables
        WHERE schemaname IN ('pgmq', 'tidings')`,
      )
      await session.end()
      expect(rows.filter(({ id }) => id !== null)).toHaveLength(1)
      return counted.rows[0].count as number
    }
    await engine.configure(queue, limits({ per: 'group', concurrency: 1 }))
    await query(url, `UPDATE tidings.lane_clock SET counting_until = NULL WHERE queue_name = '${queue}'`)
    await engine.send(queue, [inGroup('mine')], null)
    const clean = await rowsRead()
    for (let at = 0; at < 2; at++)
      await engine.send(
        queue,
        Array.from({ length: 2_000 }, (_, n) => inGroup(`group ${n}`)),
        null,
      )
    let leased = 0
    while (leased < 2_001) leased += (await claimAll(engine, queue, 500)).length
    expect((await engine.claim(queue, { limit: 1, leaseMs: 1_000, ids: null })).heldBack).toBe(true)
    await engine.send(queue, [inGroup('other')], null)
    await query(url, 'ANALYZE tidings.lane, tidings.slot')
    expect(await rowsRead()).toBeLessThan(2 * clean + 20)
  })

  test('no claim waits for a transaction of an application, and no slot is free before it ends', async () => {
    await engine.configure(queue, limits({ per: 'queue', concurrency: 2 }, { per: 'group', concurrency: 1 }))
    await engine.send(queue, [inGroup('a'), inGroup('a'), inGroup('b'), inGroup('b')], null)
    const leased = (await claimAll(engine, queue)).sort((one, two) => Number(one.id) - Number(two.id))
    expect(leased.map(({ group }) => group)).toEqual(['a', 'b'])
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query('BEGIN')
    const transaction = { query: (text: string, values: readonly unknown[]) => client.query(text, [...values]) }
    const [a, b] = leased.map(({ id, receipt }) => ({ id, receipt: receipt! }))
    await engine.send(queue, [inGroup('a'), inGroup('d')], transaction)
    await engine.settle(queue, [{ kind: 'delete', ...a! }], transaction)
    await engine.settle(
      queue,
      [{ kind: 'release', ...b!, delayMs: 60_000, meta: {}, uncount: true, hold: 'group' }],
      transaction,
    )
    expect(await groupsOf()).toEqual([])
    await client.query('COMMIT')
    await client.end()
    // The other one of 'b' is held back.
    expect(await groupsOf()).toEqual(['a', 'd'])
  })

  test('what other clients delete frees its slot, what they read takes none, and doctor says so', async () => {
    await engine.configure(queue, limits({ per: 'queue', concurrency: 1 }))
    await query(url, `UPDATE tidings.lane_clock SET counting_until = NULL WHERE queue_name = '${queue}'`)
    await engine.send(queue, [inGroup('a'), inGroup('a'), inGroup('a')], null)
    const [first] = await claimAll(engine, queue)
    await query(url, `SELECT pgmq.delete('${queue}', $1::bigint)`, [first!.id])
    await query(url, `SELECT * FROM pgmq.read('${queue}', 60, 1)`)
    const findings = (await engine.diagnose()).filter(({ check }) => check === 'limits')
    expect(findings.map((one) => one.message).join()).toContain(queue)
    await engine.maintain({ kind: 'due' })
    expect(await groupsOf()).toEqual(['a'])
    expect(await groupsOf()).toEqual([])
  })

  test('keys and priorities of other clients count, though they come after the limits', async () => {
    await engine.configure(queue, limits({ per: 'group', concurrency: 5 }))
    await query(
      url,
      `INSERT INTO pgmq.q_${queue} (vt, message, headers) SELECT now(), '1', h FROM unnest($1::jsonb[]) h`,
      [
        [
          { 'x-pgmq-group': 'k' },
          { 'x-pgmq-group': 'k', 'x-tidings-group': 'a' },
          { 'x-tidings-group': 'a' },
          { 'x-tidings-group': 'a', 'x-tidings-priority': 5 },
        ].map((headers) => JSON.stringify(headers)),
      ],
    )
    const found = (await engine.claim(queue, { limit: 10, leaseMs: 60_000, ids: null })).messages
    expect(found.map(({ id }) => id).sort()).toEqual(['1', '3', '4'])
  })

  test('a lane of which nobody told is found by upkeep', async () => {
    await engine.send(queue, [inGroup('a'), inGroup('b')], null)
    await query(url, `DELETE FROM tidings.lane_news WHERE queue_name = '${queue}'`)
    expect(await groupsOf()).toEqual([])
    await engine.maintain({ kind: 'due' })
    expect(await groupsOf()).toEqual(['a', 'b'])
  })

  test('claims, extensions and settlements at once wait for nobody in a circle, and keep to the limit', async () => {
    await engine.configure(queue, limits({ per: 'queue', concurrency: 6 }, { per: 'group', concurrency: 2 }))
    await engine.send(
      queue,
      Array.from({ length: 120 }, (_, n) => inGroup(`g${n % 5}`, n % 3 === 0 ? `k${n % 7}` : null)),
      null,
    )
    const others = [engine, await openEngine(url), await openEngine(url)]
    const deadlocks = async () =>
      (await query(url, 'SELECT deadlocks::integer FROM pg_stat_database WHERE datname = current_database()'))[0]
        ?.deadlocks
    const before = await deadlocks()
    let handled = 0
    let most = 0
    let inHand = 0
    await Promise.all(
      [...others, ...others].map(async (one) => {
        while (handled < 120) {
          const { messages } = await one.claim(queue, { limit: 4, leaseMs: 60_000, ids: null })
          inHand += messages.length
          most = Math.max(most, inHand)
          const leases = messages.map(({ id, receipt }) => ({ id, receipt: receipt! }))
          const receipts = await one.extend(queue, leases, 30_000)
          inHand -= messages.length
          handled += messages.length
          await one.settle(
            queue,
            leases.map(({ id }, index) => ({ kind: 'delete', id, receipt: receipts[index]! })),
          )
        }
      }),
    )
    expect(handled).toBe(120)
    expect(most).toBeLessThanOrEqual(6)
    expect(await deadlocks()).toBe(before)
    for (const other of others.slice(1)) await other.close()
  })

  test('what is dropped leaves nothing behind', async () => {
    await engine.configure(queue, { limits: [{ per: 'group', rate: { count: 1, periodMs: 60_000 } }] })
    await engine.send(queue, [inGroup('a')], null)
    expect(await groupsOf()).toEqual(['a'])
    await engine.dropQueue(queue)
    for (const table of ['lane', 'lane_news', 'lane_clock', 'slot', 'rate'])
      expect(await query(url, `SELECT FROM tidings.${table} WHERE queue_name = '${queue}'`), table).toEqual([])
    await engine.createQueue(queue)
    await engine.send(queue, [message()], null)
    expect(await groupsOf()).toEqual([null])
  })
})
