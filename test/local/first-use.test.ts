import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type pg from 'pg'
import { ensureLocal, localStatus, stopLocal } from 'tidings-local/internal/local'
import { expect, test } from 'vitest'
import {
  connectTo,
  ensure,
  inAnotherProcess,
  isRoot,
  newDirectory,
  oneSentinel,
  ordinaryUser,
  processesOf,
  query,
  temporaryDirectory,
} from './support.ts'

test('the first use sets the server up, and the second use finds it', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  expect(server).toMatchObject({
    directory: directory,
    dataDirectory: join(directory, 'data'),
    version: expect.stringMatching(/^18\./),
  })
  expect(await query(server, 'select current_user as user, current_database() as database')).toEqual([
    { user: 'tidings', database: 'tidings' },
  ])
  const wanted = {
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    listen_addresses: '',
    max_connections: '200',
    server_encoding: 'UTF8',
  }
  for (const [name, value] of Object.entries(wanted)) {
    expect(await query(server, `select current_setting('${name}', true) as ${name}`)).toEqual([{ [name]: value }])
  }
  expect(readFileSync(join(directory, '.gitignore'), 'utf8')).toBe('*\n')
  expect(await ensure(directory)).toEqual(server)
})

test('other users of the machine can neither connect nor read the data', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  expect(statSync(server.host).mode & 0o777).toBe(0o700)
  expect(statSync(server.dataDirectory).mode & 0o777).toBe(0o700)
  expect(statSync(join(directory, 'postgres.log')).mode & 0o777).toBe(0o600)
  if (!isRoot) return
  const stranger = { uid: 12345, gid: 12345 }
  const error = await inAnotherProcess<{ code: string; message: string }>(
    `return local.ensureLocal('${directory}').catch((error) => ({ code: error.code, message: error.message }))`,
    stranger,
  )
  expect(error.code).toBe('LOCAL_UNAVAILABLE')
  expect(error.message).toMatch(/runs as user 12345: .* belongs to user/)
})

test('processes that race for the first use end with one server and one sentinel', async () => {
  const directory = newDirectory()
  const program = `return (await local.ensureLocal('${directory}', { idleAfterMs: 60000 })).pid`
  const pids = await Promise.all(Array.from({ length: 4 }, () => inAnotherProcess<number>(program)))
  expect(new Set(pids).size).toBe(1)
  expect((await oneSentinel(directory)).servers).toEqual([pids[0]])
})

test('calls of one process at the same time share one start', async () => {
  const directory = newDirectory()
  const servers = await Promise.all([ensure(directory), ensure(directory), ensure(directory)])
  expect(new Set(servers.map((server) => server.pid)).size).toBe(1)
})

test('an ordinary user gets a server of their own', async () => {
  const home = temporaryDirectory()
  const asUser = { ...ordinaryUser, cwd: home, env: { PATH: process.env.PATH, HOME: home } }
  const server = await inAnotherProcess<{ dataDirectory: string; pid: number }>(
    `return local.ensureLocal(undefined, { idleAfterMs: 60000 })`,
    asUser,
  )
  expect(server.dataDirectory).toBe(join(home, '.tidings', 'data'))
  const { uid, mode } = statSync(join(home, '.tidings'))
  expect(uid).toBe(ordinaryUser.uid ?? process.getuid?.())
  expect(mode & 0o777).toBe(0o700)
  expect(processesOf(join(home, '.tidings')).servers).toEqual([server.pid])
  if (isRoot) await expect(ensure(join(home, '.tidings'))).rejects.toMatchObject({ code: 'LOCAL_UNAVAILABLE' })

  expect(await inAnotherProcess(`return local.stopLocal()`, asUser)).toBe(true)
  rmSync(join(home, '.tidings'), { recursive: true })
})

test('the server keeps neither its starting process nor the output of that process open', async () => {
  const directory = newDirectory()
  // It ends by itself, and execFile returns when its output is closed: by everybody who holds it.
  const pid = await inAnotherProcess<number>(
    `return (await local.ensureLocal('${directory}', { idleAfterMs: 60000 })).pid`,
  )
  expect(processesOf(directory).servers).toEqual([pid])
})

test('a directory whose path is too long for a socket', async () => {
  const directory = join(temporaryDirectory(), 'x'.repeat(120), '.tidings')
  const server = await ensure(directory)
  try {
    expect(server.dataDirectory).toBe(join(directory, 'data'))
    expect(server.host).toMatch(/^\/tmp\/tidings-\d+-[0-9a-f]{12}$/)
    expect(statSync(server.host).mode & 0o777).toBe(0o700)
    expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }])
  } finally {
    await stopLocal(directory)
    rmSync(server.host, { recursive: true })
  }
})

test.runIf(isRoot)('a directory that the server cannot reach keeps its data elsewhere', async () => {
  const closed = temporaryDirectory()
  const directory = join(closed, '.tidings')
  chmodSync(closed, 0o700)
  const program = `return (await local.ensureLocal('${directory}', { idleAfterMs: 60000 })).pid`
  const [server, pid] = await Promise.all([ensure(directory), inAnotherProcess<number>(program)])
  expect(server.pid).toBe(pid)
  expect(server.dataDirectory).toMatch(/^\/var\/lib\/tidings\/[0-9a-f-]{36}\/data$/)
  await query(server, 'create table kept (id int)')
  await stopLocal(directory)

  // Once decided it stays, even if the directory can be reached later.
  chmodSync(closed, 0o755)
  const again = await ensure(directory)
  expect(again.dataDirectory).toBe(server.dataDirectory)
  expect(await query(again, 'select count(*)::int from kept')).toEqual([{ count: 0 }])
  expect(await localStatus(directory)).toMatchObject({ directory: directory, dataDirectory: server.dataDirectory })
  await stopLocal(directory)

  // Lost data are not replaced by an empty database.
  const home = dirname(server.dataDirectory)
  rmSync(home, { recursive: true })
  const error = await ensure(directory).catch((reason: unknown) => reason)
  expect(error).toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: `the data of ${directory} were in ${home}, which is gone`,
  })
})

test('a directory that cannot be made is named', async () => {
  const parent = temporaryDirectory()
  chmodSync(parent, 0o555)
  const directory = join(parent, '.tidings')
  const error = await inAnotherProcess<{ code: string; message: string }>(
    `return local.ensureLocal('${directory}').catch((error) => ({ code: error.code, message: error.message }))`,
    ordinaryUser,
  )
  expect(error.code).toBe('LOCAL_UNAVAILABLE')
  expect(error.message).toContain(directory)
  expect(existsSync(directory)).toBe(false)
})

test('a server without free connections is waited for, not replaced', async () => {
  const server = await ensure(newDirectory())
  const clients: pg.Client[] = []
  const fill = async () => {
    for (;;) clients.push(await connectTo(server))
  }
  await expect(fill()).rejects.toMatchObject({ code: '53300' })
  expect(clients.length).toBeGreaterThan(190)
  expect(await ensure(server.directory)).toEqual(server)
  await Promise.all(clients.map((client) => client.end()))
})

test.runIf(isRoot)('a directory of another user is refused', async () => {
  const directory = newDirectory()
  mkdirSync(directory)
  chownSync(directory, 12345, 12345)
  for (const call of [ensure, stopLocal, localStatus]) {
    const error = await call(directory).catch((reason: unknown) => reason)
    expect(error).toMatchObject({
      code: 'LOCAL_UNAVAILABLE',
      message: expect.stringContaining('belongs to user 12345'),
    })
  }
  chownSync(directory, 0, 0)
})

test.runIf(isRoot)('a user without an entry in /etc/passwd gets an error that says so', async () => {
  const home = temporaryDirectory()
  const error = await inAnotherProcess<{ code: string; message: string; hint: string }>(
    `return local.ensureLocal('${home}/.tidings').catch((error) => error)`,
    { uid: 12345, gid: 12345 },
  )
  expect(error.message).toContain('could not look up effective user ID 12345')
  expect(error.hint).toContain('/etc/passwd')
  rmSync(join(home, '.tidings'), { recursive: true })
})

test('idleAfterMs must be more than 0', async () => {
  await expect(ensureLocal(newDirectory(), { idleAfterMs: 0 })).rejects.toMatchObject({ code: 'RANGE' })
})
