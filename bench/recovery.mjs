// node bench/recovery.mjs [--kills 100] [--only postgres,redis,cluster,http] [--idle 30] [--json], after `npm run build`.
//
// How soon the message of a process that is killed is in a handler of another: one message goes from process to process,
// while the one that has it in hand is killed, and others with a worker on the same queue stand by. Then what an idle
// process asks of the storage, for so many seconds; 0 leaves that out.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import pg from 'pg'
import { connect } from 'tidings'
import { percentile } from './measure.mjs'
import { startCluster } from './redis-server.mjs'
import { storages } from './storages.mjs'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    only: { type: 'string', default: 'postgres,redis,cluster,http' },
    idle: { type: 'string', default: '30' },
    json: { type: 'boolean', default: false },
  },
})

const standbys = 3
/** Who stands by must have been there for a while before it judges others. */
const settledMs = 5_000
/** Between two looks after other processes. */
const longestLookMs = 1_500

const servers = {
  postgres: storages.postgres.start,
  redis: () => storages.redis.start({ fsync: 'always' }),
  cluster: startCluster,
  http: startHttp,
}

async function startHttp() {
  const storage = await storages.postgres.start()
  const cli = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
  const args = ['serve', '--url', storage.url, '--port', '0', '--json']
  const server = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  const [line] = await once(server.stdout, 'data')
  return {
    url: /http:\/\/[^"\s]+/.exec(String(line))[0],
    async stop() {
      server.kill()
      await once(server, 'exit')
      await storage.stop()
    },
  }
}

/** A process of the tests, all of whose handlers hang: `begun` resolves with the time of the first call. */
function startProcess(url, queues, options = {}) {
  const script = fileURLToPath(new URL('../test/storages/consumer-process.mjs', import.meta.url))
  const orders = { url, consumers: queues.map((queue) => ({ queue, options })), hangsAfter: 0 }
  const child = spawn(process.execPath, [script, JSON.stringify(orders)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const told = new Map()
  const first = (type) => {
    if (!told.has(type)) told.set(type, Promise.withResolvers?.() ?? withResolvers())
    return told.get(type)
  }
  createInterface(child.stdout).on('line', (line) => {
    const { type, at } = JSON.parse(line)
    first(type).resolve(at)
  })
  const ended = once(child, 'exit')
  return {
    startedAt: performance.now(),
    running: first('running').promise,
    begun: first('begun').promise,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

function withResolvers() {
  let resolve
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

async function recoveries(url, kills) {
  const bus = await connect(url)
  const queue = `recovery_${Math.random().toString(36).slice(2, 10)}`
  const options = { maxAttempts: 10_000 }
  const processes = []
  const times = []
  try {
    await bus.queue(queue).create()
    const start = () => processes.push(startProcess(url, [queue], options))
    for (let more = 0; more <= standbys; more++) start()
    await Promise.all(processes.map(({ running }) => running))
    await bus.queue(queue).send({ number: 0 })
    while (times.length < kills) {
      const holder = await Promise.race(processes.map((one) => one.begun.then(() => one)))
      processes.splice(processes.indexOf(holder), 1)
      await delay(Math.max(0, processes[0].startedAt + settledMs - performance.now()))
      await delay(Math.random() * longestLookMs)
      const killedAt = Date.now()
      const next = Promise.race(processes.map(({ begun }) => begun))
      await holder.kill()
      times.push((await next) - killedAt)
      start()
      if (!values.json) process.stderr.write(`\r${times.length} of ${kills}: ${times.at(-1)} ms   `)
    }
  } finally {
    for (const one of processes) await one.kill()
    await bus.queue(queue).drop()
    await bus.close()
    process.stderr.write('\n')
  }
  return times
}

/** How many statements or commands the server has carried out. */
const counts = {
  async postgres(url) {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const text = 'SELECT sum(xact_commit + xact_rollback)::int AS count FROM pg_stat_database'
    const { rows } = await client.query(text)
    await client.end()
    return rows[0].count
  },
  async redis(url) {
    const redis = new Redis(url)
    const stats = await redis.info('stats')
    redis.disconnect()
    return Number(/total_commands_processed:(\d+)/.exec(stats)[1])
  },
}

/** Statements or commands a second of a process that has nothing to do. */
async function idle(url, count, workers, seconds) {
  const bus = await connect(url)
  const queues = Array.from({ length: workers }, (_, index) => `idle_${index}`)
  for (const queue of queues) await bus.queue(queue).create()
  await bus.close()
  const measured = async () => {
    const before = await count(url)
    await delay(seconds * 1_000)
    return (await count(url)) - before
  }
  const alone = await measured()
  const worker = startProcess(url, queues)
  await worker.running
  await delay(settledMs)
  const all = await measured()
  await worker.kill()
  return (all - alone) / seconds
}

const results = []
for (const name of values.only.split(',')) {
  const server = await servers[name]()
  try {
    const times = await recoveries(server.url, Number(values.kills))
    const [p50, p99, max] = [0.5, 0.99, 1].map((share) => percentile(times, share))
    const result = { storage: name, kills: times.length, p50, p99, max }
    if (Number(values.idle) > 0 && counts[name])
      for (const workers of [1, 100])
        result[`idle${workers}`] = await idle(server.url, counts[name], workers, Number(values.idle))
    results.push(result)
  } finally {
    await server.stop()
  }
}
if (values.json) console.log(JSON.stringify(results, null, 2))
else {
  console.log('storage    kills  p50 ms  p99 ms  max ms  idle, calls/s: 1 worker  100 workers')
  for (const { storage, kills, p50, p99, max, idle1, idle100 } of results) {
    const cells = [storage.padEnd(9), ...[kills, p50, p99, max].map((cell) => String(cell).padStart(7))]
    const calls = [idle1, idle100].map((cell, at) =>
      (cell === undefined ? '–' : cell.toFixed(2)).padStart(at ? 13 : 25),
    )
    console.log([cells.join(' '), ...calls].join(''))
  }
}
