import pg from 'pg'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, query } from './support.ts'

// What a statement reads does not depend on what else is there: counted in rows, not in time.
describe.each(['postgres15', 'postgres18'] as const)('rows that are read on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  const [full, delayed, empty, last] = [newName('full'), newName('delayed'), newName('empty'), newName('last')]
  const [lined, blocked] = [newName('lined'), newName('blocked')]

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
    await engine.createQueue(full)
    await engine.createQueue(delayed)
    await engine.createQueue(empty)
    for (const queue of [lined, blocked]) {
      await engine.createQueue(queue)
      await engine.send(queue, [message({ orderingKey: 'key 0' })], null)
    }
    await query(
      url,
      `INSERT INTO pgmq.q_${full} (vt, message) SELECT now(), '1' FROM generate_series(1, 20000);
      INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message)
      SELECT '${full}', 50000 + n, now() + interval '1 hour', 0, now(), '1' FROM generate_series(1, 20000) n;
      SELECT pgmq.send_batch('${delayed}', array_agg(to_jsonb(n)), 3600) FROM generate_series(1, 20000) n;
      SELECT pgmq.send('${delayed}', '1');
      INSERT INTO pgmq.q_${lined} (vt, message, headers)
      SELECT now(), '1', '{"x-pgmq-group": "key 0"}' FROM generate_series(1, 20000) n;
      SELECT pgmq.send('${lined}', '1');
      INSERT INTO pgmq.q_${blocked} (vt, read_ct, message, headers)
      SELECT now() + interval '1 hour', 1, '1', jsonb_build_object('x-pgmq-group', 'key ' || n) FROM generate_series(1, 10000) n;
      INSERT INTO tidings.dedup (queue_name, key, msg_id, expires_at)
      SELECT '${empty}', 'id:' || n, n, now() + interval '1 hour' FROM generate_series(1, 20000) n;
      INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) SELECT 'other_' || n, false, false
      FROM generate_series(1, 5000) n;
      ANALYZE`,
    )
    await engine.createQueue(last)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })

  const rowsReadBy = async (text: string) => {
    const session = new pg.Client({ connectionString: url })
    await session.connect()
    await session.query('BEGIN')
    const { rowCount } = await session.query(text)
    const { rows } = await session.query(
      `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer AS count FROM pg_stat_xact_user_tables
      WHERE schemaname IN ('pgmq', 'tidings')`,
    )
    await session.end()
    return { answered: rowCount, read: rows[0].count as number }
  }

  test.each([
    ['the first page of a peek', `SELECT * FROM tidings.peek('${full}', NULL, 10, NULL, NULL, NULL)`, 10],
    ['a page in the middle', `SELECT * FROM tidings.peek('${full}', NULL, 10, 10000, NULL, NULL)`, 10],
    ['a page of one state', `SELECT * FROM tidings.peek('${full}', 'ready', 10, 10000, NULL, NULL)`, 10],
    ['a page of delayed ones', `SELECT * FROM tidings.peek('${full}', NULL, 10, 60000, NULL, NULL)`, 10],
    ['moving in what has come due', `SELECT tidings.promote('${full}', 1000)`, 1],
    ['a claim', `SELECT * FROM tidings.claim('${full}', 10, 1000, 0, NULL, false)`, 10],
    ['a claim behind many messages of one key', `SELECT * FROM tidings.claim('${lined}', 10, 0, 0, NULL, false)`, 2],
    ['a sweep behind many messages of one key', `SELECT * FROM tidings.claim('${lined}', 10, 0, 0, NULL, true)`, 3],
    ['a claim where many keys wait', `SELECT * FROM tidings.claim('${blocked}', 1, 0, 0, 'key 5', false)`, 1],
    [
      'a claim after the end of a message',
      `SELECT * FROM tidings."claim:${blocked}"(
      5, 0, 0, 'key 5', false, NULL, NULL, false, NULL, NULL, ARRAY['key 0'])`,
      1,
    ],
    ['the next due time', `SELECT tidings.next_due_ms('${empty}', now())`, 1],
    ["a read behind what PGMQ's clients have delayed", `SELECT * FROM pgmq.read('${delayed}', 0, 10)`, 1],
    ["a pop behind what PGMQ's clients have delayed", `SELECT * FROM pgmq.pop('${delayed}', 10)`, 1],
    ['looking for a queue', `SELECT tidings.create_queue('${last}')`, 1],
    ['the figures of an empty queue', `SELECT * FROM tidings.stats('${last}')`, 1],
    ['forgetting what has expired', 'SELECT tidings.maintain()', 1],
    ['finding the queues that need upkeep', 'SELECT * FROM tidings.queues_to_maintain()', 0],
  ])('%s', async (_what, text, answered) => {
    const cost = await rowsReadBy(text)
    expect(cost.answered).toBe(answered)
    expect(cost.read).toBeLessThan(100)
  })
})
