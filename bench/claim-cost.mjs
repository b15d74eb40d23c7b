// What a claim costs must not depend on what else is in the queue: 4 readers in a loop of send 10, claim 10, delete 10
// on a clean queue and behind 100,000 delayed messages. On PostgreSQL also behind those of another client, which lie in
// the queue's own table, and while an old snapshot keeps every dead row; beside it PGMQ's way: ORDER BY msg_id from the
// start, index on vt.
import pg from 'pg'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'

const loopMs = 6_000
const readers = 4
const message = {
  data: '{"name":"Ada Lovelace"}',
  meta: { queue_name: 'bench' },
  headers: {},
  delayMs: 0,
  notBefore: null,
  priority: 0,
  orderingKey: null,
  dedup: null,
  uniqueTarget: null,
  bare: false,
}

const clean = async () => undefined

/** @param open opens an engine of its own */
export function claimCost(open) {
  return [
    { name: 'claim loop, clean queue', unit: 'loops/s', run: () => tidingsLoop(open, clean) },
    { name: 'claim loop, 100,000 delayed', unit: 'loops/s', run: () => tidingsLoop(open, delay) },
  ]
}

export function claimCostOnPostgres(url) {
  const open = async () => openPostgres(url)
  const surroundings = {
    'clean queue': clean,
    '100,000 delayed': delay,
    '100,000 delayed by another client': (queue) => delayInline(url, queue),
    'old snapshot held': () => holdSnapshot(url),
  }
  return Object.entries(surroundings).flatMap(([name, prepare]) => [
    { name: `claim loop, ${name}`, unit: 'loops/s', run: () => tidingsLoop(open, prepare) },
    { name: `claim loop, ${name}, PGMQ's way`, unit: 'loops/s', run: () => pgmqLoop(url, prepare) },
  ])
}

async function openPostgres(url) {
  const engine = new PostgresEngine({ url })
  await engine.open()
  return engine
}

async function tidingsLoop(open, prepare) {
  const engines = await Promise.all(Array.from({ length: readers }, open))
  const queue = `bench_${Math.random().toString(36).slice(2, 10)}`
  await engines[0].createQueue(queue)
  const release = await prepare(queue, engines[0])
  try {
    return await loops(async (reader) => {
      const engine = engines[reader]
      await engine.send(queue, Array(10).fill(message), null)
      const { messages } = await engine.claim(queue, { limit: 10, leaseMs: 30_000, ids: null })
      await engine.settle(
        queue,
        messages.map(({ id, receipt }) => ({ kind: 'delete', id, receipt })),
      )
    })
  } finally {
    await release?.()
    await engines[0].dropQueue(queue)
    for (const engine of engines) await engine.close()
  }
}

/** The same statements as PGMQ's functions make, on a table laid out like PGMQ's. */
async function pgmqLoop(url, prepare) {
  const pool = new pg.Pool({ connectionString: url, max: readers + 1 })
  const engine = await openPostgres(url)
  const queue = `bench_${Math.random().toString(36).slice(2, 10)}`
  await engine.createQueue(queue)
  const table = `pgmq.q_${queue}`
  await pool.query(`ALTER TABLE ${table} SET (fillfactor = 100); CREATE INDEX ON ${table} (vt)`)
  const release = await prepare(queue, { send: (_queue, batch) => insertDelayed(pool, table, batch.length) })
  const body = JSON.stringify({ data: JSON.parse(message.data), meta: message.meta })
  try {
    return await loops(async () => {
      await pool.query(
        `INSERT INTO ${table} (vt, message) SELECT clock_timestamp(), e FROM jsonb_array_elements($1::jsonb) e`,
        [`[${Array(10).fill(body).join(',')}]`],
      )
      const { rows } = await pool.query(`WITH next AS (
          SELECT msg_id FROM ${table} WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT 10 FOR UPDATE SKIP LOCKED)
        UPDATE ${table} q SET vt = clock_timestamp() + interval '30 s', read_ct = read_ct + 1, last_read_at = clock_timestamp()
        FROM next WHERE q.msg_id = next.msg_id RETURNING q.*`)
      await pool.query(`DELETE FROM ${table} WHERE msg_id = ANY ($1) RETURNING msg_id`, [rows.map((row) => row.msg_id)])
    })
  } finally {
    await release?.()
    await engine.dropQueue(queue)
    await engine.close()
    await pool.end()
  }
}

async function loops(once) {
  let count = 0
  const endAt = performance.now() + loopMs
  await Promise.all(
    Array.from({ length: readers }, async (_, reader) => {
      while (performance.now() < endAt) {
        await once(reader)
        count += 1
      }
    }),
  )
  return (count / loopMs) * 1000
}

async function delay(queue, engine) {
  const batch = Array(1_000).fill({ ...message, delayMs: 3_600_000 })
  for (let sent = 0; sent < 100_000; sent += 1_000) await engine.send(queue, batch, null)
}

async function delayInline(url, queue) {
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  await insertDelayed(pool, `pgmq.q_${queue}`, 100_000)
  await pool.end()
}

const insertDelayed = (pool, table, count) =>
  pool.query(
    `INSERT INTO ${table} (vt, message) SELECT now() + interval '1 h', '{"a": 1}' FROM generate_series(1, ${count})`,
  )

async function holdSnapshot(url) {
  const client = new pg.Client(url)
  await client.connect()
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await client.query('SELECT count(*) FROM pgmq.meta')
  return () => client.end()
}
