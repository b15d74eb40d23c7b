// What a claim costs the server on PostgreSQL where it has more to look at than the next message: ordering keys, priorities, groups,
// limits, and 10,000 groups of which nothing may be claimed; one message at a time, and a hundred. CPU time of the server's
// sessions while it claims, which a busy machine changes little; in a second loop plans and pages.
// Then 100,000 messages of one group beside 100 groups with 10 each: after how many messages these are done.
// node bench/lanes.mjs [--only groups,limits], after `npm run build`.
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { connect } from 'tidings'
import { median } from './measure.mjs'
import { startPostgres } from './servers.mjs'

const { values } = parseArgs({ options: { only: { type: 'string' }, rounds: { type: 'string', default: '5' } } })
const rounds = Number(values.rounds)

const server = await startPostgres({
  shared_preload_libraries: 'pg_stat_statements',
  'pg_stat_statements.track': 'none',
})
const client = new pg.Client({ connectionString: server.adminUrl })
await client.connect()
await client.query('CREATE EXTENSION pg_stat_statements')
const bus = await connect(server.url)
const plain = () => ({})
const kinds = {
  plain: [async () => {}, plain],
  keys: [async () => {}, (n) => ({ orderingKey: `key ${n % 200}` })],
  'a key': [async () => {}, () => ({ orderingKey: 'mine' })],
  priorities: [async () => {}, (n) => ({ priority: n % 3 })],
  'a group': [async () => {}, () => ({ group: 'mine' })],
  groups: [async () => {}, (n) => ({ group: `group ${n % 10}` })],
  'limit of the queue': [(queue) => queue.configure({ limits: [{ per: 'queue', concurrency: 1_000 }] }), plain],
  limits: [(queue) => limit(queue, 100), (n) => ({ group: `mine ${n % 10}` })],
  'behind blocked groups': [block, (n) => ({ group: `mine ${n % 100}` })],
}
try {
  const rows = {}
  const queues = []
  for (const [name, [prepare, optionsOf]] of Object.entries(kinds)) {
    if (values.only !== undefined && !['plain', ...values.only.split(',')].includes(name)) continue
    const queue = bus.queue(`lanes_${name.replaceAll(/\W/g, '_')}`)
    await queue.create()
    await prepare(queue)
    queues.push({ name, queue, optionsOf })
  }
  for (const size of [1, 100]) {
    const figures = new Map(queues.map(({ name }) => [name, []]))
    // In turns; the first round warms up.
    for (let round = 0; round <= rounds; round++)
      for (const { name, queue, optionsOf } of queues) {
        if (name === 'a key' && size > 1) continue
        const used = await loop(queue, size, optionsOf)
        if (round > 0) figures.get(name).push(used)
      }
    await track('all')
    const base = median(figures.get('plain'))
    for (const { name, queue, optionsOf } of queues) {
      if (figures.get(name).length === 0) continue
      await client.query('SELECT pg_stat_statements_reset()')
      const used = median(figures.get(name))
      await loop(queue, size, optionsOf)
      rows[`${size}, ${name}`] = {
        'µs a claim': Math.round(used),
        'beside plain': Number((used / base).toFixed(2)),
        ...(await counts(size)),
      }
    }
    await track('none')
  }
  console.table(rows)
  if (values.only === undefined) console.log(`100 groups with 10 each are done after ${await fairness()} messages`)
} finally {
  await bus.close()
  await client.end()
  await server.stop()
}

function limit(queue, concurrency) {
  return queue.configure({ limits: [{ per: 'group', concurrency }] })
}

async function block(queue) {
  await limit(queue, 1)
  for (let n = 0; n < 10_000; n += 1_000)
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => queue.send({ n }, { group: `group ${n + (i % 1_000)}` })))
  let blocked = 0
  while (blocked < 10_000) blocked += (await queue.read({ limit: 500, lease: '10m' })).length
}

/** Sends, reads and deletes so many messages at a time. Resolves to the CPU time of the server for a claim, in µs. */
async function loop(queue, size, optionsOf) {
  const times = size === 1 ? 150 : 15
  let used = 0
  for (let n = 0; n < times; n++) {
    await queue.sendBatch(Array.from({ length: size }, (_, i) => ({ data: i, ...optionsOf(n * size + i) })))
    const pids = await sessions()
    const before = cpuOf(pids)
    const messages = await queue.read({ limit: size, lease: '1m' })
    used += cpuOf(pids) - before
    await Promise.all(messages.map((message) => message.delete()))
  }
  return used / times
}

async function sessions() {
  const { rows } = await client.query(
    `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = 'tidings'`,
  )
  return rows.map(({ pid }) => pid)
}

function cpuOf(pids) {
  return pids.reduce(
    (sum, pid) => sum + Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1_000,
    0,
  )
}

async function track(what) {
  for (const [name, value] of [
    ['track', what],
    ['track_planning', what === 'all'],
  ])
    await client.query(`ALTER SYSTEM SET pg_stat_statements.${name} = '${value}'`)
  await client.query('SELECT pg_reload_conf()')
  // Sessions take it in before their next statement.
}

/** Of all statements, since the claim's inner ones are not known by name. */
async function counts(size) {
  const { rows } = await client.query(
    `SELECT sum(plans) AS plans, sum(shared_blks_hit + shared_blks_read) FILTER (WHERE toplevel) AS pages,
      sum(calls) AS statements
    FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid WHERE r.rolname = 'tidings'`,
  )
  const times = size === 1 ? 150 : 15
  return Object.fromEntries(
    Object.entries(rows[0]).map(([name, value]) => [`${name} a loop`, Number((Number(value) / times).toFixed(1))]),
  )
}

async function fairness() {
  const queue = bus.queue('lanes_fair')
  await queue.create()
  for (let n = 0; n < 100_000; n += 5_000)
    await Promise.all(Array.from({ length: 5_000 }, () => queue.send({ big: true }, { group: 'big' })))
  await Promise.all(Array.from({ length: 1_000 }, (_, n) => queue.send({ big: false }, { group: `small ${n % 100}` })))
  let [handled, small] = [0, 0]
  while (small < 1_000) {
    const messages = await queue.read({ limit: 50, lease: '1m' })
    handled += messages.length
    small += messages.filter(({ data }) => !data.big).length
    await Promise.all(messages.map((message) => message.delete()))
  }
  return handled
}
