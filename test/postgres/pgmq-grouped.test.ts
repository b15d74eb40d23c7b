import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqClient, type PgmqDatabase, pgmqDatabase } from './pgmq-support.ts'
import { message, newName } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)("grouped reads by PGMQ's functions on %s", (server) => {
  let db: PgmqDatabase
  let client: PgmqClient
  let queue: string

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer(server))
    client = db.client
  })
  afterAll(() => db.close())
  beforeEach(async () => {
    queue = newName('grouped')
    await client.call('create($1)', [queue])
  })

  /** Sends a message a group; undefined: without headers. */
  const send = async (...groups: unknown[]) => {
    for (const group of groups)
      await client.call("send($1, '1', $2::jsonb)", [
        queue,
        group === undefined ? null : JSON.stringify({ 'x-pgmq-group': group }),
      ])
  }
  const read = (kind: string, quantity: number | null, vt = 0, session = client) =>
    session.ids(`read_grouped${kind}($1, $2, $3)`, [queue, vt, quantity])
  const hide = (id: number) => client.ids('set_vt($1, $2::bigint, 60)', [queue, id])

  test('a group is emptied before the next one, by their first messages', async () => {
    await send('a', 'b', 'a', undefined, 'a', 'b')
    expect(await read('', 4)).toEqual([1, 3, 5, 2])
    expect(await read('', 2)).toEqual([1, 3])
    expect(await read('', 100)).toEqual([1, 3, 5, 2, 6, 4])
    await hide(1)
    expect(await read('', 100)).toEqual([2, 6, 4])
  })

  test('the first of each group, then the second of each', async () => {
    await send('a', 'b', 'a', undefined, 'a', 'b')
    expect(await read('_rr', 5)).toEqual([1, 2, 4, 3, 6])
    expect(await read('_rr', 2)).toEqual([1, 2])
    expect(await read('_rr', 100)).toEqual([1, 2, 4, 3, 6, 5])
    await hide(1)
    expect(await read('_rr', 100)).toEqual([2, 4, 6])
  })

  test('the first of each group', async () => {
    await send('a', 'b', 'a', undefined, 'a', 'b')
    expect(await read('_head', 5)).toEqual([1, 2, 4])
    expect(await read('_head', 2)).toEqual([1, 2])
    expect(await read('_head', null)).toEqual([1, 2, 4])
    await hide(1)
    expect(await read('_head', 5)).toEqual([2, 4])
  })

  test('groups behind more than it looks at first are found, too', async () => {
    await client.call(
      `send_batch($1, array_fill('1'::jsonb, ARRAY[1100]), array_fill('{"x-pgmq-group": "long"}'::jsonb, ARRAY[1100]))`,
      [queue],
    )
    await send('b', undefined, 'b', undefined)
    await hide(1)
    expect(await read('', 9)).toEqual([1101, 1103, 1102, 1104])
    expect(await read('_rr', 9)).toEqual([1101, 1102, 1103, 1104])
    expect(await read('_head', 9)).toEqual([1101, 1102])
    await hide(1102)
    expect(await read('_head', null)).toEqual([1101])
    await client.call('set_vt($1, 1::bigint, 0)', [queue])
    expect(await read('', 1101)).toEqual([...Array.from({ length: 1100 }, (_, index) => index + 1), 1101])
  })

  test('a group stops at its first message in flight', async () => {
    await send('a', 'b', 'a', undefined, 'a', 'b')
    await hide(3)
    expect(await read('', 100)).toEqual([1, 2, 6, 4])
    expect(await read('_rr', 100)).toEqual([1, 2, 4, 6])
  })

  test('how many: none, and a number below that', async () => {
    await send('a', 'b')
    const negative = '2201W LIMIT must not be negative'
    expect(await read('', 0)).toEqual([])
    expect(await read('', null)).toEqual([])
    expect(await client.failure('read_grouped($1, 0, -1)', [queue])).toBe(negative)
    expect(await read('_rr', 0)).toEqual([])
    expect(await read('_rr', null)).toEqual([])
    expect(await read('_rr', -1)).toEqual([])
    expect(await read('_head', 0)).toEqual([])
    expect(await client.failure('read_grouped_head($1, 0, -1)', [queue])).toBe(negative)
  })

  test.each([false, true])('what is a group, with its index: %s', async (indexed) => {
    if (indexed) await client.call('create_fifo_index($1)', [queue])
    // No headers, null, and the name that stands for them; empty; a number and its text; an object.
    await send(undefined, null, '_default_fifo_group', '', 5, '5', { a: 1 }, '{"a": 1}', undefined)
    await client.call(`send($1, '1', '"no object"'::jsonb)`, [queue])
    expect(await read('_head', 100)).toEqual([1, 4, 5, 7])
    expect(await read('', 100)).toEqual([1, 2, 3, 9, 10, 4, 5, 6, 7, 8])
    await hide(1)
    expect(await read('', 100)).toEqual([4, 5, 6, 7, 8])
  })

  test('what is read is leased and counted, in each of them', async () => {
    await send('a', 'a')
    for (const [index, kind] of ['', '_rr', '_head'].entries()) {
      const first = (await client.rows(`SELECT * FROM pgmq.read_grouped${kind}($1, 60, 1)`, [queue]))[0]!
      expect(first).toMatchObject({ msg_id: 1, read_ct: index + 1 })
      expect((first.vt as Date).getTime() - (first.last_read_at as Date).getTime()).toBeCloseTo(60_000, -2)
      expect(await read(kind, 9)).toEqual([])
      await client.call('set_vt($1, 1::bigint, 0)', [queue])
    }
  })

  test('a message that Tidings keeps elsewhere until it is due holds its group up', async () => {
    const headers = { 'x-pgmq-group': 'a' }
    await db.engine.send(
      queue,
      [message({ data: '1', headers, delayMs: 3_600_000 }), message({ data: '2', headers })],
      null,
    )
    await send('b')
    expect(await read('', 9)).toEqual([3])
    expect(await client.ids('set_vt($1, 1::bigint, 0)', [queue])).toEqual([1])
    expect(await read('', 9)).toEqual([1, 2, 3])
  })

  test.each(['', '_rr', '_head'])(
    'read_grouped%s: no group is read by two sessions, and none is waited for',
    async (kind) => {
      await send('a', 'a', 'b', 'c', undefined, 'b')
      const other = await db.session()
      await client.rows('BEGIN')
      const mine = await read(kind, 1, 60)
      expect(mine).toEqual([1])
      expect(await read(kind, 100, 60, other)).toEqual({ '': [3, 6, 4, 5], _rr: [3, 4, 5, 6], _head: [3, 4, 5] }[kind])
      // Of the same group in another queue, too.
      const second = newName('second')
      await client.rows('COMMIT')
      await other.call('create($1)', [second])
      await other.call(`send($1, '1', '{"x-pgmq-group": "a"}'::jsonb)`, [second])
      await client.rows('BEGIN')
      await client.call('set_vt($1, 1::bigint, 0)', [queue])
      expect(await read(kind, 1, 60)).toEqual([1])
      expect(await other.ids(`read_grouped${kind}($1, 60, 1)`, [second])).toEqual([1])
      await client.rows('ROLLBACK')
    },
  )

  test('a group whose first message is taken by an ordinary read meanwhile is left out', async () => {
    await send('a', 'a', 'b')
    const other = await db.session()
    await other.rows('BEGIN')
    expect(await other.ids('read($1, 60, 1)', [queue])).toEqual([1])
    expect(await read('', 9)).toEqual([3])
    await other.rows('COMMIT')
    expect(await read('', 9)).toEqual([3])
  })

  // What PostgreSQL knows of a table decides how it reads, and it looks when it likes.
  test.each([
    ['knows nothing', [], []],
    ['remembers it empty', ['ANALYZE'], []],
    ['has looked', [], ['ANALYZE']],
    ['has tidied up', [], ['VACUUM ANALYZE']],
  ])('60,000 messages in 300 groups, where PostgreSQL %s: the cost is that of the groups', async (_, first, then) => {
    const look = async (whats: readonly string[]) => {
      for (const what of whats) await client.rows(`${what} pgmq."q_${queue}"`)
    }
    await client.rows(`ALTER TABLE pgmq."q_${queue}" SET (autovacuum_enabled = false)`)
    await look(first)
    await client.call(
      `send_batch($1, (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 60000) i),
        (SELECT array_agg(jsonb_build_object('x-pgmq-group', 'g' || i % 300)) FROM generate_series(1, 60000) i))`,
      [queue],
    )
    await look(then)
    // The pages that were looked at, which nothing else on this machine changes: below a tenth of the table and its indexes.
    for (const kind of ['', '_rr', '_head']) {
      await read(kind, 204)
      const before = await pages()
      expect(await read(kind, 204)).toHaveLength(204)
      expect((await pages()) - before, kind).toBeLessThan(6_000)
    }
  })

  /** Pages of the queue and its indexes that this session has looked at. */
  async function pages(): Promise<number> {
    // Its end brings the counts so far.
    await client.rows('SELECT pg_stat_force_next_flush()')
    const [row] = await client.rows(
      `SELECT heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read AS n
      FROM pg_statio_user_tables WHERE relname = $1`,
      [`q_${queue}`],
    )
    return row?.n as number
  }

  test('indexes for it are made once', async () => {
    expect(await client.notices('create_fifo_index($1)', [queue])).toEqual([])
    expect(await client.notices('create_fifo_index($1)', [queue])).toEqual([
      `NOTICE 42P07 relation "q_${queue}_fifo_idx" already exists, skipping`,
    ])
    expect(await client.notices('_create_fifo_index_if_not_exists($1)', [queue])).toHaveLength(1)
    const another = newName('another')
    await client.call('create($1)', [another])
    await client.call('create_fifo_indexes_all()')
    expect(await client.rows('SELECT FROM pg_class WHERE relname = $1', [`q_${another}_fifo_idx`])).toHaveLength(1)
  })
})
