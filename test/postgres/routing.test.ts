import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { PostgresEngine } from '../../src/engines/postgres/postgres.ts'
import { matches } from '../../src/pattern.ts'
import { keys, naiveMatches, patterns } from '../unit/pattern-support.ts'
import { claimAll, message, newDatabase, newName, openEngine, query } from './support.ts'

const routed = (routingKey: string, label: unknown, fields = {}) => ({
  ...message({ data: JSON.stringify(label), ...fields }),
  routingKey,
})
const everything = { place: null, limit: 100_000, afterId: null, ids: null }

async function labels(engine: PostgresEngine, queue: string): Promise<unknown[]> {
  return (await engine.peek(queue, everything)).map(({ data }) => JSON.parse(data))
}

describe.each(['postgres15', 'postgres18'] as const)('routing on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(inject(server)))
    engine = await openEngine(url)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })

  async function boundQueues(count: number, pattern: string): Promise<string[]> {
    const queues = Array.from({ length: count }, () => newName('bound'))
    for (const queue of queues) {
      await engine.createQueue(queue)
      await engine.bind(pattern, queue)
    }
    return queues.sort()
  }

  test('matches in SQL as in TypeScript and as the definition says', async () => {
    const pairs = fc.sample(fc.tuple(patterns, keys), 10_000)
    const rows = await query(
      url,
      `SELECT tidings.matches(pair ->> 0, pair ->> 1) AS matches
      FROM jsonb_array_elements($1::text::jsonb) WITH ORDINALITY AS pairs (pair, position) ORDER BY position`,
      [JSON.stringify(pairs)],
    )
    const wrong = pairs.filter(([pattern, key], index) => {
      const expected = naiveMatches(pattern, key)
      return rows[index]?.matches !== expected || matches(pattern, key) !== expected
    })
    expect(wrong).toEqual([])
    expect(rows.filter((row) => row.matches).length).toBeGreaterThan(500)
  })

  test('the worst pattern and the longest key cost milliseconds', async () => {
    const key = `${'a.'.repeat(127)}a`
    for (const pattern of [`${'#.a.'.repeat(63)}b`, `#.${'a.'.repeat(60)}#.${'*.'.repeat(60)}b`]) {
      const startedAt = performance.now()
      const values = [pattern, key]
      const rows = await query(
        url,
        'SELECT bool_or(tidings.matches($1, $2 || n)) AS any FROM generate_series(0, 9) n',
        values,
      )
      expect(rows).toEqual([{ any: false }])
      expect((performance.now() - startedAt) / 10).toBeLessThan(50)
    }
  })

  test('finds its queues without trying patterns that have no wildcard', async () => {
    const [queue] = await boundQueues(1, 'plain.exact')
    await query(
      url,
      `INSERT INTO tidings.binding (pattern, queue_name) SELECT 'plain.' || n, $1 FROM generate_series(1, 20000) n`,
      [queue],
    )
    await query(url, 'ANALYZE tidings.binding')
    const startedAt = performance.now()
    for (let round = 0; round < 20; round++)
      expect((await engine.publish([routed('plain.exact', round)], null))[0]).toHaveLength(1)
    expect((performance.now() - startedAt) / 20).toBeLessThan(50)
    await engine.dropQueue(queue!)
  })

  test('a queue that another client dropped is passed over, and forgotten in time', async () => {
    const [gone, kept] = await boundQueues(2, 'dropped.#')
    await query(url, `DROP TABLE pgmq."q_${gone}", pgmq."a_${gone}"`)
    await query(url, 'DELETE FROM pgmq.meta WHERE queue_name = $1', [gone])
    const [deliveries] = await engine.publish([routed('dropped', 1)], null)
    expect(deliveries).toMatchObject([{ queue: kept }])
    expect((await engine.bindings(null)).map(({ queue }) => queue)).not.toContain(gone)
    await engine.maintain()
    expect(await query(url, 'SELECT FROM tidings.binding WHERE queue_name = $1', [gone])).toEqual([])
  })

  test('a queue of another client takes keys and priorities, also in a transaction that saw it before', async () => {
    const queue = newName('foreign')
    await engine.createQueue(queue)
    await query(url, 'DELETE FROM tidings.queue WHERE queue_name = $1', [queue])
    await engine.bind('foreign', queue)
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await client.query('SELECT count(*) FROM tidings.queue')
    const transaction = { query: (text: string, values: readonly unknown[]) => client.query(text, [...values]) }
    for (const label of ['one', 'two'])
      await engine.publish([routed('foreign', label, { orderingKey: 'k' })], transaction)
    await engine.publish([routed('foreign', 'urgent', { priority: 1 })], transaction)
    await client.query('COMMIT')
    await client.end()
    const claimed = await claimAll(engine, queue)
    expect(claimed.map(({ data }) => JSON.parse(data))).toEqual(['urgent', 'one'])
  })

  test('who has an open transaction that published delays nobody', async () => {
    const queues = await boundQueues(5, 'open.#')
    const other = await openEngine(url)
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query('BEGIN')
    const transaction = { query: (text: string, values: readonly unknown[]) => client.query(text, [...values]) }
    await engine.publish([routed('open.a', 'held'), routed('open.b', 'held', { priority: 1 })], transaction)

    const startedAt = performance.now()
    let slowest = 0
    const timed = async <T>(call: () => Promise<T>): Promise<T> => {
      const begun = performance.now()
      const result = await call()
      slowest = Math.max(slowest, performance.now() - begun)
      return result
    }
    await Promise.all(
      queues.map(async (queue, index) => {
        for (let round = 0; round < 10; round++) {
          await timed(() => other.send(queue, [message({ data: '"sent"' })], null))
          await timed(() => other.publish([routed(`own.${index}`, 'nowhere')], null))
          const [claimed] = await timed(() => claimAll(other, queue, 1))
          expect(claimed?.data).toBe('"sent"')
          const { id, receipt } = claimed!
          const settled = await timed(() => other.settle(queue, [{ kind: 'delete', id, receipt: receipt! }]))
          expect(settled).toEqual([{ settled: true, newId: null }])
        }
      }),
    )
    await timed(() => other.publish([routed('open.c', 'meanwhile')], null))
    await timed(() => other.bind('open.again', queues[0]!))
    await timed(() => other.unbind('open.again', queues[0]!))
    await timed(() => other.maintain())
    expect(slowest).toBeLessThan(2_000)
    expect(performance.now() - startedAt).toBeLessThan(15_000)

    await client.query('COMMIT')
    await client.end()
    for (const queue of queues) expect((await labels(other, queue)).sort()).toEqual(['held', 'held', 'meanwhile'])
    await other.close()
  })
})
