// The same server without Tidings: what the statements themselves cost.
import pg from 'pg'
import { throughput } from './measure.mjs'

const message = JSON.stringify({
  data: { name: 'Ada Lovelace', department: 'Engineering' },
  meta: { queue_name: 'raw' },
})

export function rawStatements(url) {
  return [
    {
      name: 'raw: one insert a commit, 10 connections',
      unit: 'messages/s',
      run: () =>
        withTable(url, (pool) =>
          throughput(5_000, 10, () =>
            pool.query('INSERT INTO bench_raw (vt, message) VALUES (now(), $1::jsonb)', [message]),
          ),
        ),
    },
    {
      name: 'raw: inserts of 100, 4 connections',
      unit: 'messages/s',
      run: () =>
        withTable(url, async (pool) => {
          const batch = `[${Array(100).fill(message).join(',')}]`
          const insert = 'INSERT INTO bench_raw (vt, message) SELECT now(), e FROM jsonb_array_elements($1::jsonb) e'
          return 100 * (await throughput(400, 4, () => pool.query(insert, [batch])))
        }),
    },
    {
      name: 'raw: claim 100 and delete 100, 2 connections',
      unit: 'messages/s',
      run: () =>
        withTable(url, async (pool) => {
          await pool.query(
            'INSERT INTO bench_raw (vt, message) SELECT now(), $1::jsonb FROM generate_series(1, 30000)',
            [message],
          )
          const claim = `UPDATE bench_raw SET vt = clock_timestamp() + interval '30 s', read_ct = read_ct + 1
            WHERE msg_id = ANY (ARRAY(SELECT msg_id FROM bench_raw WHERE vt <= clock_timestamp()
            ORDER BY msg_id LIMIT 100 FOR UPDATE SKIP LOCKED)) RETURNING msg_id, message::text`
          return (
            100 *
            (await throughput(300, 2, async () => {
              const { rows } = await pool.query(claim)
              await pool.query('DELETE FROM bench_raw WHERE msg_id = ANY ($1)', [rows.map((row) => row.msg_id)])
            }))
          )
        }),
    },
  ]
}

async function withTable(url, use) {
  const pool = new pg.Pool({ connectionString: url, max: 10 })
  await pool.query(`DROP TABLE IF EXISTS bench_raw; CREATE TABLE bench_raw (
    msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, read_ct integer NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL DEFAULT now(), vt timestamptz NOT NULL, message jsonb) WITH (fillfactor = 50)`)
  try {
    return await use(pool)
  } finally {
    await pool.query('DROP TABLE bench_raw')
    await pool.end()
  }
}
