// npm run bench:guard -- [--update]
// What a call costs in things that can be counted, beside what it cost before (guard.json): statements that PostgreSQL
// executes, also inside of functions, and bytes of its write-ahead log; commands that Redis executes, also inside of
// scripts; writes to a socket; bytes that are allocated. A busy machine hardly changes them. Fails where one has risen
// above its bound; --update stores what was counted.
import { readFileSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { connect } from 'tidings'
import { median, printTable } from './measure.mjs'
import { startDurableRedis, startPostgres } from './servers.mjs'

const { values } = parseArgs({ options: { update: { type: 'boolean', default: false } } })
const stored = new URL('guard.json', import.meta.url)

/**
 * How far a count may rise: by a share, and by so much. What a timer does meanwhile is spread over many calls, so one
 * statement more in every call does not hide in it.
 */
const bounds = {
  statements: { share: 0, more: 0.7, digits: 1 },
  'WAL bytes': { share: 0.15, more: 60, digits: 0 },
  commands: { share: 0, more: 0.7, digits: 1 },
  'socket writes': { share: 0, more: 0.7, digits: 1 },
  'allocated bytes': { share: 0.6, more: 3_000, digits: 0 },
}

const data = { name: 'Ada Lovelace', email: 'ada@example.org', department: 'Engineering', starts: '2026-12-01' }
const batch = Array.from({ length: 100 }, () => ({ data }))

/** What is counted: a call, how often, and what has to be there before. */
async function callsOf(bus) {
  const queue = bus.queue('guard')
  const many = bus.queue('guard_many')
  const topic = bus.topic('guard')
  for (const place of [queue, many, topic]) await place.create()
  for (let number = 1; number <= 20; number++) {
    const name = `guard_${number}`
    await bus.queue(name).create()
    await bus.bind('Guard.*', name)
  }
  const process = (from, limit) => async () => {
    const { messages } = await bus.engine.claim(from.name, { limit, leaseMs: 30_000, ids: null })
    if (messages.length !== limit) throw new Error(`${messages.length} messages instead of ${limit}`)
    await bus.engine.settle(
      from.name,
      messages.map(({ id, receipt }) => ({ kind: 'delete', id, receipt })),
    )
  }
  return [
    { name: 'send 1', times: 60, call: () => queue.send(data) },
    { name: 'claim and settle 1', times: 60, call: process(queue, 1) },
    { name: 'send 100', times: 15, call: () => many.sendBatch(batch) },
    { name: 'claim and settle 100', times: 15, call: process(many, 100) },
    { name: 'publish to 20 queues', times: 20, call: () => bus.publish('Guard.Paid', data) },
    { name: 'publish to a topic', times: 60, call: () => topic.publish(data) },
  ]
}

/** In which the counted calls are divided. */
const parts = 5
/** Calls before the counted ones, for plans, scripts and compiled code. Each must find a message, too. */
const warmUps = 20

let socketWrites = 0
for (const name of ['_write', '_writev']) {
  const write = Socket.prototype[name]
  Socket.prototype[name] = function (...args) {
    socketWrites += 1
    return write.apply(this, args)
  }
}

/** @param counters by name: what reads one */
async function count({ name, times, call }, counters) {
  for (let number = 0; number < warmUps; number++) await call()
  globalThis.gc()
  const before = {}
  for (const [counter, read] of Object.entries(counters)) before[counter] = await read()
  const writes = socketWrites
  // A compiler that allocates makes one part too large, a collection of garbage makes one too small.
  const allocated = []
  for (let part = 0; part < parts; part++) {
    const heap = process.memoryUsage().heapUsed
    for (let number = 0; number < times / parts; number++) await call()
    allocated.push(((process.memoryUsage().heapUsed - heap) * parts) / times)
  }
  const written = socketWrites - writes
  const counts = {}
  for (const [counter, read] of Object.entries(counters)) counts[counter] = ((await read()) - before[counter]) / times
  return { name, ...counts, 'socket writes': written / times, 'allocated bytes': median(allocated) }
}

async function onPostgres() {
  // The settings need a restart, and another user than that of applications.
  const server = await startPostgres({
    shared_preload_libraries: 'pg_stat_statements',
    'pg_stat_statements.track': 'all',
    autovacuum: 'off',
  })
  const admin = new pg.Client({ connectionString: server.adminUrl })
  await admin.connect()
  let bus
  try {
    await admin.query('CREATE EXTENSION pg_stat_statements')
    await admin.query('CREATE EXTENSION pg_walinspect')
    // What is counted does not depend on the disk, so nobody has to wait for it.
    await admin.query('ALTER ROLE tidings SET synchronous_commit = off')
    bus = await connect(server.url)
    const number = async (text) => Number((await admin.query(text)).rows[0].n)
    const start = (await admin.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn
    return await countAll(bus, {
      statements: () =>
        number(`SELECT coalesce(sum(calls), 0) AS n FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
          WHERE r.rolname = 'tidings'`),
      async 'WAL bytes'() {
        // Only what is on disk can be read.
        await admin.query(`SELECT pg_logical_emit_message(false, 'guard', '', true)`)
        // Without whole pages, which depend on when there was a checkpoint.
        return number(`SELECT coalesce(sum(record_size), 0) AS n
          FROM pg_get_wal_stats('${start}', pg_current_wal_flush_lsn())
          WHERE "resource_manager/record_type" NOT IN ('XLOG', 'Standby', 'LogicalMessage')`)
      },
    })
  } finally {
    await bus?.close()
    await admin.end()
    await server.stop()
  }
}

async function onRedis() {
  const server = await startDurableRedis('redis-server', 'everysec')
  const bus = await connect(server.url)
  try {
    return await countAll(bus, {
      async commands() {
        const stats = await server.ask((redis) => redis.info('commandstats'))
        return [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)]
          .filter(([, name]) => !/^(info|ping|hello|client|auth|select)/.test(name))
          .reduce((total, [, , calls]) => total + Number(calls), 0)
      },
    })
  } finally {
    await bus.close()
    await server.stop()
  }
}

async function countAll(bus, counters) {
  // Once a minute, whatever is counted; bench/history.mjs measures it.
  bus.engine.history.writer.add = async () => []
  const results = []
  for (const call of await callsOf(bus)) results.push(await count(call, counters))
  return results
}

const counted = { postgres: await onPostgres(), redis: await onRedis() }
const baseline = JSON.parse(readFileSync(stored, 'utf8'))
const rows = [['', 'what', 'stored', 'counted', 'bound', '']]
let risen = 0
for (const [engine, results] of Object.entries(counted))
  for (const { name, ...counts } of results)
    for (const [what, value] of Object.entries(counts)) {
      const { share, more, digits } = bounds[what]
      const before = baseline[engine]?.[name]?.[what]
      const bound = before === undefined ? Number.NEGATIVE_INFINITY : before * (1 + share) + more
      const verdict =
        value > bound
          ? before === undefined
            ? 'not stored'
            : 'RISEN'
          : value < before * (1 - share) - more
            ? 'less'
            : ''
      if (value > bound) risen += 1
      const text = (figure) => (Number.isFinite(figure) ? figure.toFixed(digits) : '')
      rows.push([`${engine}, ${name}`, what, text(before), text(value), text(bound), verdict])
    }
printTable(rows)

if (values.update) {
  const rounded = ([what, value]) => [what, Number(value.toFixed(bounds[what].digits))]
  const byName = (results) =>
    Object.fromEntries(
      results.map(({ name, ...counts }) => [name, Object.fromEntries(Object.entries(counts).map(rounded))]),
    )
  const all = Object.fromEntries(Object.entries(counted).map(([engine, results]) => [engine, byName(results)]))
  writeFileSync(stored, `${JSON.stringify(all, null, 2)}\n`)
  console.log('Stored.')
} else if (risen > 0) {
  console.log(`${risen} of what is counted has risen. If that is meant: npm run bench:guard -- --update, and say why.`)
  process.exitCode = 1
}
