import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, claimWhenDue, message, migratedDatabase, newName, openEngine, query, until } from './support.ts'

const hourMs = 3_600_000

describe.each(['postgres15', 'postgres18'] as const)('much that is hidden behind the mark on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    await query(
      url,
      `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET track_functions = ''all''', current_database()); END $$`,
    )
    engine = await openEngine(url)
  })
  afterAll(() => drop())

  /** A queue in which others have leased very many messages, and where this engine has its mark behind them. */
  async function queueWithLeased(fields: Parameters<typeof message>[0] = {}): Promise<string> {
    const queue = newName('leased')
    await engine.createQueue(queue)
    await query(
      url,
      `INSERT INTO pgmq.q_${queue} (vt, read_ct, message)
      SELECT now() + interval '1 hour', 1, '{"data": 1, "meta": {}}' FROM generate_series(1, 100000)`,
    )
    await engine.send(queue, [message(fields)], null)
    // Two sweeps tell what they cost.
    expect((await claimAll(engine, queue)).map(({ id }) => id)).toEqual(['100001'])
    expect(await claimAll(engine, queue)).toEqual([])
    return queue
  }

  const endLeases = (queue: string, ids: readonly number[]) =>
    query(url, `UPDATE pgmq.q_${queue} SET vt = now() WHERE msg_id = ANY ($1)`, [ids])

  test('what becomes ready there is found beside the claims, each once, and the oldest first', async () => {
    const queue = await queueWithLeased()
    await endLeases(queue, [49_000, 7, 20_000])
    expect((await claimWhenDue(engine, queue, 3)).map(({ id }) => id)).toEqual(['7', '20000', '49000'])
    await engine.send(queue, [message()], null)
    await endLeases(queue, [30_000])
    expect((await claimWhenDue(engine, queue, 2)).map(({ id }) => id)).toEqual(['30000', '100002'])
  })

  test('more than a walk brings at once is found by the next', async () => {
    const queue = await queueWithLeased()
    const ids = Array.from({ length: 3_000 }, (_, index) => index * 10 + 1)
    await endLeases(queue, ids)
    expect((await claimWhenDue(engine, queue, 3_000)).map(({ id }) => Number(id))).toEqual(ids)
  })

  test('what is due is moved in from its place for long waits', async () => {
    const queue = await queueWithLeased()
    await engine.send(queue, [message({ delayMs: hourMs })], null)
    await query(url, `UPDATE tidings.delayed SET due = now() WHERE queue_name = $1`, [queue])
    expect((await claimWhenDue(engine, queue, 1)).map(({ id }) => id)).toEqual(['100002'])
  })

  test('priorities come first, and an ordering key keeps its order', async () => {
    const queue = await queueWithLeased({ priority: 1 })
    await engine.send(
      queue,
      ['a', 'b'].map((data) => message({ data: `"${data}"`, orderingKey: 'k' })),
      null,
    )
    await endLeases(queue, [5])
    await engine.send(queue, [message({ priority: 2 })], null)
    const found = await claimWhenDue(engine, queue, 3)
    expect(found.map(({ id }) => id)).toEqual(['5', '100002', '100004'])
    await engine.settle(queue, [{ kind: 'delete', id: found[1]!.id, receipt: found[1]!.receipt! }])
    expect((await claimWhenDue(engine, queue, 1)).map(({ id }) => id)).toEqual(['100003'])
  })

  test('claims do not walk again over what is hidden in front of the mark', async () => {
    const queue = newName('in_front')
    await engine.createQueue(queue)
    await engine.send(queue, Array(10_000).fill(message({ delayMs: 50_000 })), null)
    await query(url, `UPDATE pgmq.q_${queue} SET vt = now() + interval '1 hour'`)
    for (let looks = 0; looks < 5; looks++) expect(await claimAll(engine, queue)).toEqual([])
    await endLeases(queue, [77])
    expect((await claimWhenDue(engine, queue, 1)).map(({ id }) => id)).toEqual(['77'])
  })

  test('a step says up to where it went', async () => {
    const queue = await queueWithLeased()
    await endLeases(queue, [9_999, 10_001, 100_001])
    const step = async (after: string, upTo: string | null) => {
      const text = 'SELECT ids::text[], reached, ended FROM tidings.sweep_step($1, $2, $3, NULL)'
      return (await query(url, text, [queue, after, upTo]))[0]
    }
    expect(await step('0', null)).toEqual({ ids: ['9999'], reached: '10000', ended: false })
    expect(await step('10000', '15000')).toEqual({ ids: ['10001'], reached: '15000', ended: true })
    expect(await step('100000', null)).toEqual({ ids: ['100001'], reached: '100001', ended: true })
    expect(await step('100001', null)).toEqual({ ids: null, reached: null, ended: true })
  })

  test('all that was by walks beside the claims', async () => {
    // The server counts calls when a session ends.
    await engine.close()
    await until(async () => {
      const [row] = await query(url, `SELECT calls FROM pg_stat_user_functions WHERE funcname = 'sweep_step'`)
      return Number(row?.calls) > 5
    }, 'there are calls of sweep_step')
  })
})
