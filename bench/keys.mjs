// What the backlog of ordering keys costs: a worker on one key with many messages, on many keys with few, and a claim where all
// keys wait for leased heads. Statements are counted with the pages that they touched: a machine that is busy changes neither.
import pg from 'pg'
import { connect } from 'tidings'
import { startPostgres } from './servers.mjs'

const count = 20_000
const shortest = 2_000

const server = await startPostgres({ shared_preload_libraries: 'pg_stat_statements' })
const client = new pg.Client({ connectionString: server.adminUrl })
await client.connect()
await client.query('CREATE EXTENSION pg_stat_statements')
try {
  const rows = {}
  for (const [name, keys, plain] of [
    ['no keys', 0, count],
    ['1 key', 1, 0],
    ['1,000 keys', 1_000, 0],
    ['1 key, as many plain ones', 1, count],
  ])
    rows[name] = await work(keys, plain)
  rows['10,000 keys, all in hand'] = await blocked(10_000)
  console.table(rows)
} finally {
  await client.end()
  await server.stop()
}

async function filled(keys, plain) {
  const bus = await connect(server.url)
  const name = `keys_${Math.random().toString(36).slice(2, 8)}`
  const queue = bus.queue(name)
  await queue.create()
  const total = keys > 0 ? count : 0
  for (let sent = 0; sent < Math.max(total, plain); sent += 1_000)
    await Promise.all(
      Array.from({ length: 1_000 }, async (_, i) => {
        if (sent < total) await queue.send({ n: sent + i }, { orderingKey: `key-${(sent + i) % keys}` })
        if (sent < plain) await queue.send({ n: sent + i })
      }),
    )
  return { bus, queue, name }
}

async function work(keys, plain) {
  const { bus, queue } = await filled(keys, plain)
  await client.query('SELECT pg_stat_statements_reset()')
  let handled = 0
  const worker = queue.work(
    async () => {
      handled += 1
    },
    { concurrency: 16 },
  )
  const startedAt = performance.now()
  await new Promise((resolve) => setTimeout(resolve, shortest))
  const seconds = (performance.now() - startedAt) / 1_000
  const figures = await statements(handled)
  await worker.stop()
  await bus.close()
  return { 'messages/s': Math.round(handled / seconds), ...figures }
}

async function blocked(keys) {
  const { bus, queue, name } = await filled(keys, 0)
  await client.query(`UPDATE pgmq.q_${name} SET vt = clock_timestamp() + interval '1 hour', read_ct = 1`)
  await client.query('SELECT pg_stat_statements_reset()')
  for (let i = 0; i < 100; i++) {
    await queue.send({ plain: i })
    const [message] = await queue.read({ limit: 1, lease: '1m' })
    await message.delete()
  }
  const figures = await statements(100)
  await bus.close()
  return { 'messages/s': null, ...figures }
}

async function statements(handled) {
  const { rows } = await client.query(
    `SELECT sum(total_exec_time) AS ms, sum(shared_blks_hit + shared_blks_read) AS pages, sum(calls) AS calls FROM pg_stat_statements`,
  )
  const [{ ms, pages, calls }] = rows
  const each = (value, digits) => Number((Number(value) / handled).toFixed(digits))
  return { 'server ms each': each(ms, 2), 'pages each': each(pages, 0), 'statements each': each(calls, 2) }
}
