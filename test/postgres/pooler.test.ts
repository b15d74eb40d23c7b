import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { Bus } from 'tidings/internal/bus/bus'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { unpackDebian } from '../support/debian.ts'
import { freePort } from '../support/directories.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { newDatabase, newName, openEngine, queryAlone as query, until } from './support.ts'

// PgBouncer in transaction mode: every transaction may get another server connection.
let stop: () => Promise<void>
let url: string

beforeAll(async () => {
  const { root, libraryPath } = await unpackDebian(['pgbouncer', 'libc-ares2', 'libevent-2.1-7'], 'usr/sbin/pgbouncer')
  const directory = await mkdtemp(join(tmpdir(), 'tidings-pgbouncer-'))
  chmodSync(directory, 0o755)
  const server = new URL(await sharedServer('postgres18'))
  const port = await freePort()
  const file = join(directory, 'pgbouncer.ini')
  await writeFile(
    file,
    `[databases]
* = host=${server.hostname} port=${server.port} user=tidings
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
`,
  )
  const asRoot = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  const pooler = spawn(join(root, 'usr/sbin/pgbouncer'), [file], {
    stdio: 'ignore',
    env: { ...process.env, LD_LIBRARY_PATH: libraryPath },
    ...asRoot,
  })
  url = `postgres://tidings@127.0.0.1:${port}/tidings`
  stop = async () => {
    const ended = once(pooler, 'exit')
    if (pooler.exitCode === null && pooler.kill()) await ended
    await rm(directory, { recursive: true, force: true })
  }
  await until(
    () =>
      query(url, 'SELECT 1').then(
        () => true,
        () => false,
      ),
    'the pooler answers',
  )
}, 300_000)
afterAll(() => stop?.())

test('behind a transaction pooler everything works; new messages are found by polling', async () => {
  const bus = new Bus(await openEngine(url))
  const queue = bus.queue(newName('pooled'))
  try {
    expect(await bus.diagnose()).toContainEqual(expect.objectContaining({ check: 'wake-up', level: 'warning' }))
    const handled: unknown[] = []
    const worker = queue.work(({ data }) => {
      handled.push(data)
    })
    await Promise.all(Array.from({ length: 50 }, (_, index) => queue.send(index)))
    await queue.send('delayed', { delay: '100ms' })
    await until(() => handled.length === 51, 'all were handled')
    expect(new Set(handled).size).toBe(51)

    // Everybody sleeps now, and a send is found all the same.
    await queue.send('later')
    await until(() => handled.length === 52, 'the late one was handled')
    await worker.stop()
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0 })
  } finally {
    await queue.drop()
    await bus.close()
  }
})

test('nothing of a session is left on the connections of the pooler', async () => {
  const server = await sharedServer('postgres18')
  const bus = new Bus(await openEngine(url))
  const queue = bus.queue(newName('lockless'))
  await queue.create()
  const workers = Array.from({ length: 5 }, () => queue.work(() => {}))
  await Promise.all(Array.from({ length: 30 }, (_, index) => queue.send(index)))
  const locks = () =>
    query(
      server,
      `SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = (
      SELECT (tidings.waiting_lock('${queue.name}') & 4294967295)::bigint::oid)`,
    )
  expect(await locks()).toEqual([])
  await Promise.all(workers.map((worker) => worker.drain()))
  const heard: unknown[] = []
  const listener = new pg.Client({ connectionString: server })
  await listener.connect()
  listener.on('notification', ({ payload }) => heard.push(payload))
  await listener.query(`LISTEN "tidings.${queue.name}"`)
  await Promise.all(Array.from({ length: 30 }, (_, index) => queue.send(index)))
  await listener.query('SELECT 1')
  await listener.end()
  // Nobody waits any more.
  expect(heard).toEqual([])
  await queue.drop()
  await bus.close()
})

test('settings that end statements are set aside in each transaction', async () => {
  const database = await newDatabase(await sharedServer('postgres18'))
  const name = new URL(database.url).pathname
  await query(database.url, `ALTER DATABASE ${name.slice(1)} SET statement_timeout = '100ms'`)
  const pooled = new URL(url)
  pooled.pathname = name
  const bus = new Bus(await openEngine(pooled.href))
  const queue = bus.queue(newName('slow'))
  try {
    await queue.create()
    await query(
      database.url,
      `CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END';
      CREATE TRIGGER slowly BEFORE INSERT ON pgmq.q_${queue.name} FOR EACH ROW EXECUTE FUNCTION slowly()`,
    )
    await queue.send(1)
    expect(await queue.stats()).toMatchObject({ ready: 1 })
    expect(await query(pooled.href, 'SHOW statement_timeout')).toEqual([{ statement_timeout: '100ms' }])
  } finally {
    await bus.close()
    await database.drop()
  }
})

test('events are refused there, since notifications would go astray', async () => {
  const bus = new Bus(await openEngine(url))
  try {
    const events = bus.events()
    await expect(events.start()).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('pooler'),
    })
    expect(events.stats()).toMatchObject({ connected: false, connectionErrors: 0 })
  } finally {
    await bus.close()
  }
})
