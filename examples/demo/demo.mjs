// npm run demo [-- --lose-one]
//
// Loads 3,000 messages into the PostgreSQL that comes with the package, handles them in two worker processes, kills one
// of them with SIGKILL on the way, and proves from the tables that none was lost and none is in two places.
// With --lose-one it deletes a row of an archive before the proof, which must fail then.
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { connect } from 'tidings'
import { bold, green, number, printTable, red, say } from './narrator.mjs'
import { cutOff, prove } from './proof.mjs'

const queues = ['orders', 'invoices', 'hires']
/** The queues whose messages are deleted when they were handled; the others archive them. */
const deleting = ['hires']
/** Worker A is killed when this share of the messages is done. */
const killAfter = 0.35
const patienceMs = 120_000

const path = (name) => fileURLToPath(new URL(name, import.meta.url))
const directory = path('.tidings')
const url = `local:${directory}`
const shownDirectory = 'examples/demo/.tidings'

/** The command line of Tidings; it also tells where the local PostgreSQL listens. */
function tidings(...args) {
  const main = path('../../packages/cli/dist/main.js')
  return JSON.parse(execFileSync(process.execPath, [main, ...args, '--json'], { encoding: 'utf8' }))
}

/** Nothing of an earlier run remains. */
async function prepare(client) {
  await client.query('DROP SCHEMA IF EXISTS demo, tidings, pgmq CASCADE')
  await client.query(`
    CREATE SCHEMA demo;
    -- What was acknowledged when it was sent.
    CREATE TABLE demo.sent (
      queue text, msg_id bigint, line integer, ordering_key text, fate text, PRIMARY KEY (queue, msg_id));
    -- What the handlers did. A message may be in it twice: that is what "at least once" means.
    CREATE TABLE demo.handled (
      number bigint GENERATED ALWAYS AS IDENTITY, queue text, msg_id bigint, worker text, attempt integer,
      started_at timestamptz);
    -- What the handlers threw.
    CREATE TABLE demo.failed (
      queue text, msg_id bigint, worker text, attempt integer, started_at timestamptz, error text)`)
}

/** Sends the file. @returns how many lines were stored, and how many were duplicates */
async function load(client, bus) {
  const lines = readFileSync(path('orders.jsonl'), 'utf8').trimEnd().split('\n')
  const entries = lines.map((text, index) => ({ line: index + 1, ...JSON.parse(text) }))
  const acknowledged = []
  for (let start = 0; start < entries.length; start += 500)
    for (const queue of queues) {
      const page = entries.slice(start, start + 500).filter((entry) => entry.queue === queue)
      if (page.length > 0) acknowledged.push(...(await sendPage(bus.queue(queue), page)))
    }
  await client.query('INSERT INTO demo.sent SELECT * FROM json_populate_recordset(NULL::demo.sent, $1)', [
    JSON.stringify(acknowledged),
  ])
  return { stored: acknowledged.length, duplicates: lines.length - acknowledged.length }
}

/** All or none. @returns a row of demo.sent for each message that is not a duplicate */
async function sendPage(queue, page) {
  const results = await queue.sendBatch(page.map(({ queue, line, fate, ...entry }) => entry))
  return results.flatMap(({ id, duplicate }, index) => {
    const { line, orderingKey, fate } = page[index]
    return duplicate ? [] : [{ queue: queue.name, msg_id: id, line, ordering_key: orderingKey, fate }]
  })
}

const children = []

async function startWorker(name, { host, port, user, database }) {
  const env = { ...process.env, PGHOST: host, PGPORT: String(port), PGUSER: user, PGDATABASE: database }
  const child = fork(path('worker.mjs'), [name, url], { env })
  children.push(child)
  const ended = once(child, 'exit').then(() => {
    throw new Error(`worker ${name} ended before it was ready`)
  })
  await Promise.race([once(child, 'message'), ended])
  return child
}

/** How far it is, as Tidings tells it. The proof does not ask Tidings. */
async function look(client, bus) {
  const stats = await bus.stats()
  const countIn = (names) =>
    stats
      .filter(({ queue }) => names.includes(queue))
      .reduce((sum, { ready, delayed, leased }) => sum + ready + delayed + leased, 0)
  const { rows } = await client.query('SELECT count(*)::int AS failed FROM demo.failed')
  return { waiting: countIn(queues), dead: countIn(queues.map((queue) => `${queue}_dlq`)), failed: rows[0].failed }
}

/** Waits until at most so many messages are waiting, and says once a second how it goes. */
async function untilWaiting(most, client, bus, stored) {
  const deadline = performance.now() + patienceMs
  for (let saidAt = performance.now(); ; await sleep(100)) {
    const { waiting, dead, failed } = await look(client, bus)
    const reached = waiting <= most
    if (reached || performance.now() - saidAt >= 1_000) {
      const figures = { done: stored - waiting, waiting, 'failed attempts': failed, 'dead letters': dead }
      const texts = Object.entries(figures).map(([name, n]) => `${name} ${number(n).padStart(5)}`)
      say(texts.join('   '))
      saidAt = performance.now()
    }
    if (reached) return
    if (performance.now() > deadline) throw new Error(`${number(waiting)} messages still wait; that is too slow`)
  }
}

async function work(client, server, bus) {
  say(`loading examples/demo/orders.jsonl into the queues ${queues.join(', ')}`)
  const { stored, duplicates } = await load(client, bus)
  say(`stored ${number(stored)} messages; ${duplicates} more were refused as duplicates, by their dedup ids`)

  const [a, b] = await Promise.all([startWorker('A', server), startWorker('B', server)])
  say(`two workers handle them: A is process ${a.pid}, B is process ${b.pid}`)
  await untilWaiting(Math.round(stored * (1 - killAfter)), client, bus, stored)

  a.kill('SIGKILL')
  const killedAt = new Date()
  say(bold(`kill -9 ${a.pid}: worker A is gone in the middle of its work, and nobody takes its place`))
  await untilWaiting(0, client, bus, stored)
  b.kill('SIGTERM')
  await once(b, 'exit')

  const { count, first, last } = await cutOff(client, killedAt)
  say(`A had ${count} messages in its hands. They were given back, and B had them again`)
  if (count > 0)
    say(`${first.toFixed(1)} to ${last.toFixed(1)} s after the kill, between all the others that were waiting`)
}

/** @returns whether everything holds */
async function judge(client) {
  if (process.argv.includes('--lose-one')) {
    await client.query('DELETE FROM pgmq.a_orders WHERE msg_id = (SELECT min(msg_id) FROM pgmq.a_orders)')
    say(bold("--lose-one: deleted a row of pgmq.a_orders behind everybody's back"))
  }
  say('asking the tables what became of every message, by SQL that does not go through Tidings')
  const { checks, counts } = await prove(client, { queues, deleting, killed: 'A' })
  printTable(counts, {
    queue: 'queue',
    sent: 'sent',
    archived: 'archived',
    deleted: 'deleted',
    dead: 'dead letters',
    left_over: 'left over',
    lost: 'lost',
    twice_there: 'in two places',
    handled_twice: 'handled twice',
  })
  for (const { claim, broken } of checks) {
    const examples = broken.slice(0, 3).map(({ queue, msg_id }) => `${queue} ${msg_id}`)
    const more = broken.length > 3 ? ', …' : ''
    if (broken.length === 0) console.log(`${green('ok')}      ${claim}`)
    else console.log(`${red('FAILED')}  ${claim}: ${broken.length} (${examples.join(', ')}${more})`)
  }
  const total = counts.at(-1)
  if (total.handled_twice > 0)
    console.log(`
${total.handled_twice} of ${number(total.sent)} were handled twice: A was killed after it had done the work and before that was
recorded in the queue. This is what "at least once" means; handlers have to bear it.`)
  return checks.every(({ broken }) => broken.length === 0)
}

async function main() {
  say(`starting the PostgreSQL that comes with the package, in ${shownDirectory}`)
  const server = tidings('local', 'start', '--dir', directory)
  const client = new pg.Client(server)
  try {
    await client.connect()
    say(`PostgreSQL ${server.version} runs as process ${server.pid}`)
    await prepare(client)
    const bus = await connect(url)
    await work(client, server, bus).finally(() => bus.close())
    return await judge(client)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await client.end()
    tidings('local', 'stop', '--dir', directory)
  }
}

const passed = await main().catch((error) => {
  console.error(red(`\nthe demo failed: ${error.message}`))
  return false
})
if (passed)
  console.log(`
${bold(green('Proved: no message was lost, and none is in two places.'))}
Look around: npx tidings status --url local:${shownDirectory}
             npx tidings dead-letters list invoices --url local:${shownDirectory}`)
else console.log(`\n${bold(red('Not proved.'))}`)
process.exitCode = passed ? 0 : 1
