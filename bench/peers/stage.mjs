// Where a run takes place: a server, a contender, its processes.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { locate } from '../redis-server.mjs'
import { startDurableRedis, startPostgres } from '../servers.mjs'
import { cpuOfTree } from './cpu.mjs'
import { Process } from './processes.mjs'

/** @param name 'postgres', or the appendfsync of a Redis */
export const startServer = (name) => (name === 'postgres' ? openPostgres() : openRedis(name))

async function openPostgres() {
  const { url, pid, version, stop } = await startPostgres()
  const admin = new pg.Client({ connectionString: url })
  admin.on('error', () => {})
  await admin.connect()
  const urlOf = (database) => url.replace(/\/[^/?]+\?/, `/${database}?`)
  const inDatabase = async (database, use) => {
    const client = new pg.Client({ connectionString: urlOf(database) })
    await client.connect()
    try {
      return await use(client)
    } finally {
      await client.end()
    }
  }
  const number = async (client, text, values) => Number((await client.query(text, values)).rows[0].n)
  return {
    title: `PostgreSQL ${version}`,
    pid,
    cpu: () => cpuOfTree(pid),
    async make(database) {
      await admin.query(`CREATE DATABASE ${database}`)
      return urlOf(database)
    },
    /** So that no run pays for the pages that another one wrote. */
    settle: () => admin.query('CHECKPOINT').catch(() => undefined),
    of: (database) => ({
      pid,
      cpu: () => cpuOfTree(pid),
      query: (text) => inDatabase(database, (client) => client.query(text)),
      /** Of a client that is idle each is a transaction. @returns how many clients send in this time */
      async statementsIn(ms) {
        const look = () =>
          number(admin, 'SELECT xact_commit + xact_rollback AS n FROM pg_stat_database WHERE datname = $1', [database])
        const before = await look()
        await sleep(ms)
        return (await look()) - before
      },
      traces: () =>
        inDatabase(database, async (client) => ({
          wal: await number(client, `SELECT pg_current_wal_insert_lsn() - '0/0' AS n`),
          dead: await number(client, 'SELECT coalesce(sum(n_dead_tup), 0) AS n FROM pg_stat_user_tables'),
          size: await number(client, 'SELECT pg_database_size(current_database()) AS n'),
        })),
      async holdSnapshot() {
        const client = new pg.Client({ connectionString: urlOf(database) })
        // Nobody releases it where a run fails: the end of the server ends it then.
        client.on('error', () => {})
        await client.connect()
        await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
        await client.query('SELECT count(*) FROM pg_class')
        return () => client.end()
      },
    }),
    async stop() {
      await admin.end()
      await stop()
    },
  }
}

async function openRedis(fsync) {
  if (!locate('redis-server')) await unpackRedis()
  const { url, pid, stop, ask } = await startDurableRedis('redis-server', fsync)
  const info = await ask((redis) => redis.info('server'))
  const own = {
    pid,
    cpu: () => cpuOfTree(pid),
    /** Without what scripts do, as it is with functions of PostgreSQL. */
    statementsIn: (ms) =>
      ask(async (redis) => {
        const monitor = await redis.monitor()
        let count = 0
        monitor.on('monitor', (_time, _command, source) => {
          if (source !== 'lua') count++
        })
        await sleep(ms)
        monitor.disconnect()
        return count
      }),
  }
  return {
    title: `Redis ${/redis_version:(\S+)/.exec(info)[1]}, appendfsync ${fsync}`,
    make: async () => url,
    settle: () => ask((redis) => redis.flushall()),
    of: () => own,
    stop,
  }
}

/** A peer may wait for ever, for instance for a connection that it does not get. */
async function withinTime(work, ms) {
  let timer
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms / 1_000} s`)), ms)
  })
  try {
    return await Promise.race([work, tooLong])
  } finally {
    clearTimeout(timer)
  }
}

/** As the tests do. Node 24 reads their TypeScript. */
async function unpackRedis() {
  const { unpackDebian } = await import('../../test/support/debian.ts')
  await unpackDebian(['redis-server', 'redis-tools'], 'usr/bin/redis-server')
}

/** The processes of each peer, which stay for its next run, and what was learned about its contenders. */
export class Stages {
  #servers
  #peers
  #long
  #processes = new Map()
  #databases = new Map()
  #learned = new Map()
  #names = 0

  constructor({ servers, peers, long }) {
    this.#servers = servers
    this.#peers = peers
    this.#long = long
  }

  /** Runs a workload once for a contender. */
  async run(workload, contender, { warming }) {
    const { key, server } = contender
    await this.#servers[server].settle()
    const { database, url } = await this.#databaseOf(key, server)
    const open = []
    const close = async () => {
      await Promise.all(open.splice(0).map((process) => process.call('close')))
    }
    const learned = (name) => this.#learned.get(`${name} ${contender.id}`)
    const stage = {
      server: this.#servers[server].of(database),
      contender,
      peer: this.#peers[key],
      long: this.#long,
      /** A run that warms up is short. */
      warming,
      close,
      open: async (count, options = {}) => {
        const processes = this.#processesOf(key, count)
        open.push(...processes)
        const args = { peer: key, url, options: { ...contender.options, ...options } }
        await Promise.all(processes.map((process) => process.call('open', args)))
        return processes
      },
      newName: () => `bench_${++this.#names}`,
      /** Messages a millisecond, as far as known. */
      perMs: (name) => learned(name) ?? learned('process, best settings') ?? 0,
      isSlow: (name) => learned(name) < 0.05,
      learn: (name, perMs) => this.#learned.set(`${name} ${contender.id}`, Number.isFinite(perMs) ? perMs : 0),
    }
    let failed = true
    try {
      const result = await withinTime(workload.run(stage), this.#long ? 1_800_000 : 180_000)
      await withinTime(close(), 30_000)
      failed = false
      return result
    } finally {
      // More than two are for one workload. After a failure nobody knows what they are at.
      const processes = this.#processes.get(key).splice(failed ? 0 : 2)
      await Promise.all(processes.map((process) => process.stop()))
    }
  }

  async #databaseOf(key, server) {
    const database = `bench_${key.replaceAll('-', '_')}`
    const made = this.#databases.get(`${database} ${server}`)
    if (made) return made
    const url = await this.#servers[server].make(database)
    await this.#processesOf(key, 1)[0].call('setUp', { peer: key, url })
    this.#databases.set(`${database} ${server}`, { database, url })
    return { database, url }
  }

  #processesOf(key, count) {
    if (!this.#processes.has(key)) this.#processes.set(key, [])
    const processes = this.#processes.get(key)
    while (processes.length < count) processes.push(new Process())
    return processes.slice(0, count)
  }

  async stop() {
    await Promise.all([...this.#processes.values()].flat().map((process) => process.stop()))
  }
}
