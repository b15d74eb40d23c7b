// What a minute's note of the queues costs on PostgreSQL and Redis, and a process's addition, and a read: in CPU of the server and in time.
// One queue of 1,000,000 messages; 1,000 queues with 20 messages each, of which none, and then all, have changed.
import { readFileSync } from 'node:fs'
import pg from 'pg'
import { connect } from 'tidings'
import { startDurableRedis, startPostgres } from './servers.mjs'

const minute = Math.floor(Date.now() / 60_000)
const names = Array.from({ length: 1_000 }, (_, index) => `many_${index}`)
const rounds = 5

for (const measure of [measurePostgres, measureRedis]) console.table(await measure())

async function measurePostgres() {
  const server = await startPostgres()
  const client = new pg.Client({ connectionString: server.adminUrl })
  await client.connect()
  const bus = await connect(server.url)
  try {
    await createAll(bus)
    const fill = (queue, count) =>
      client.query(`INSERT INTO pgmq.q_${queue} (read_ct, enqueued_at, vt, message)
        SELECT 0, now(), now(), '{"data":1,"meta":{}}' FROM generate_series(1, ${count})`)
    await fill('big', 1_000_000)
    await client.query('VACUUM ANALYZE pgmq.q_big')
    for (const name of names) await fill(name, 20)
    // Each connection is a process; statements go to one of the few.
    const cpuMs = () =>
      client
        .query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        .then(({ rows }) => rows.reduce((sum, { pid }) => sum + cpuOf(pid), 0))
    const rows = await measureAll(bus, cpuMs, async () => {
      for (const name of names) await fill(name, 1)
    })
    const { rows: sizes } = await client.query(
      "SELECT pg_total_relation_size('tidings.history')::float8 / count(*) AS bytes FROM tidings.history",
    )
    rows['bytes a row'] = { ms: Math.round(sizes[0].bytes) }
    return rows
  } finally {
    await bus.close()
    await client.end()
    await server.stop()
  }
}

async function measureRedis() {
  const server = await startDurableRedis('redis-server', 'everysec')
  const bus = await connect(server.url)
  try {
    await createAll(bus)
    const send = async (queue, count) => {
      for (let left = count; left > 0; left -= 10_000)
        await bus.queue(queue).sendBatch(Array.from({ length: Math.min(left, 10_000) }, () => ({ data: 1 })))
    }
    await send('big', 1_000_000)
    for (const name of names) await send(name, 20)
    const info = async (section, field) =>
      Number(new RegExp(`${field}:([\\d.]+)`).exec(await server.ask((redis) => redis.info(section)))[1])
    const rows = await measureAll(
      bus,
      async () => 1_000 * (await info('cpu', 'used_cpu_user')),
      async () => {
        for (const name of names) await send(name, 1)
      },
    )
    const { writer } = bus.engine.history
    const before = await info('memory', 'used_memory')
    const own = ['big']
    for (let at = 0; at < 1_440; at++) {
      await bus.queue('big').send(at)
      await writer.note({ minute: minute + 100 + at, before: minute }, own)
      await writer.add([
        { queue: 'big', minutesAgo: -100 - at, done: 10, failed: 1, dead: 0, latency: [9, 8, 7, 6, 5] },
      ])
    }
    rows['bytes a busy queue and day'] = { ms: (await info('memory', 'used_memory')) - before }
    return rows
  } finally {
    await bus.close()
    await server.stop()
  }
}

async function createAll(bus) {
  await bus.queue('big').create()
  for (const name of names) await bus.queue(name).create()
}

async function measureAll(bus, cpuMs, change) {
  const { writer } = bus.engine.history
  let next = minute
  const note = async (queues) => {
    const turn = { minute: next++, before: minute - 1 }
    for (let from = 0; from < queues.length; from += 100) await writer.note(turn, queues.slice(from, from + 100))
  }
  const tallies = names.map((queue) => ({ queue, minutesAgo: 0, done: 10, failed: 1, dead: 0, latency: [1, 2, 3, 4] }))
  const rows = {}
  const measure = async (what, work, before = async () => {}) => {
    const times = []
    for (let round = 0; round < rounds; round++) {
      await before()
      const [cpu, start] = [await cpuMs(), performance.now()]
      await work()
      times.push({ ms: performance.now() - start, cpuMs: (await cpuMs()) - cpu })
    }
    times.sort((a, b) => a.ms - b.ms)
    const median = times[Math.floor(rounds / 2)]
    rows[what] = { ms: Math.round(median.ms), cpuMs: Math.round(median.cpuMs) }
  }
  await measure('note: one queue of 1,000,000', () => note(['big']))
  await measure('note: 1,000 queues, unchanged', () => note(names))
  await measure('note: 1,000 queues, all changed', () => note(names), change)
  await measure('add: 1,000 queues', () => writer.add(tallies))
  await measure('read: a queue, 24 h', () => bus.queue('big').history({ since: new Date(Date.now() - 86_400_000) }))
  return rows
}

/** In ticks of 10 ms. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return 10 * (Number(fields[11]) + Number(fields[12]))
}
