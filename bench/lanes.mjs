// What groups and limits cost a claim on PostgreSQL: on a clean queue, and behind 10,000 groups of which nothing may be claimed.
// Then 100,000 messages of one group beside 100 groups with 10 each: after how many messages these are done.
import pg from 'pg'
import { connect } from 'tidings'
import { startPostgres } from './servers.mjs'

const rounds = 200

const server = await startPostgres({ shared_preload_libraries: 'pg_stat_statements' })
const client = new pg.Client({ connectionString: server.adminUrl })
await client.connect()
await client.query('CREATE EXTENSION pg_stat_statements')
const bus = await connect(server.url)
try {
  const rows = {}
  rows['no groups'] = await loop('plain', async () => {}, null)
  rows['groups, clean'] = await loop('clean', async () => {}, 'mine')
  rows['limits, clean'] = await loop('limited', (queue) => limit(queue), 'mine')
  rows['behind 10,000 blocked groups'] = await loop('blocked', block, 'mine')
  console.table(rows)
  console.log(`100 groups with 10 each are done after ${await fairness()} messages`)
} finally {
  await bus.close()
  await client.end()
  await server.stop()
}

function limit(queue) {
  return queue.configure({ limits: [{ per: 'group', concurrency: 1 }] })
}

async function block(queue) {
  await limit(queue)
  for (let n = 0; n < 10_000; n += 1_000)
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => queue.send({ n }, { group: `group ${n + (i % 1_000)}` })))
  let blocked = 0
  while (blocked < 10_000) blocked += (await queue.read({ limit: 500, lease: '10m' })).length
}

/** Sends, reads and deletes one message of the group after the other. */
async function loop(name, prepare, group) {
  const queue = bus.queue(`lanes_${name}`)
  await queue.create()
  await prepare(queue)
  for (let n = 0; n < 20; n++) await once(queue, group)
  await client.query('SELECT pg_stat_statements_reset()')
  for (let n = 0; n < rounds; n++) await once(queue, group)
  const { rows } = await client.query(
    `SELECT sum(total_exec_time) AS ms, sum(shared_blks_hit + shared_blks_read) AS pages, sum(calls) AS calls
    FROM pg_stat_statements WHERE query LIKE '%"claim:%' OR query LIKE '%claim_ids%'`,
  )
  const [{ ms, pages, calls }] = rows
  return {
    'claims a message': Number((calls / rounds).toFixed(2)),
    'ms a claim': Number((ms / calls).toFixed(3)),
    'pages a claim': Math.round(pages / calls),
  }
}

async function once(queue, group) {
  await queue.send({ mine: true }, group === null ? {} : { group })
  const [message] = await queue.read({ limit: 1, lease: '1m' })
  await message.delete()
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
