import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Redis } from 'ioredis'
import { connect } from 'tidings/internal/connect'
import {
  type EnsureLocalOptions,
  ensureLocalRedis,
  type LocalRedis,
  localStatus,
  stopLocal,
} from 'tidings-local/internal/local'
import { PrivateRedis } from 'tidings-local/internal/redis/private'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  bystander,
  connected,
  ensure,
  inAnotherProcess,
  installRedis,
  newDirectory,
  oneSentinel,
  ordinaryUser,
  pidsOf,
  processesOf,
  temporaryDirectory,
  until,
} from './support.ts'

const { PATH } = process.env
let installed: string
beforeAll(async () => {
  installed = await installRedis()
})
beforeEach(() => {
  process.env.PATH = installed
})
afterAll(() => {
  process.env.PATH = PATH
})

const ensureRedis = (directory: string, options: EnsureLocalOptions = {}) =>
  ensureLocalRedis(directory, { idleAfterMs: 60_000, ...options })

async function ask<T>({ path }: Pick<LocalRedis, 'path'>, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = await connectTo(path)
  try {
    return await question(redis)
  } finally {
    redis.disconnect()
  }
}

async function connectTo(path: string): Promise<Redis> {
  const redis = new Redis({ path, lazyConnect: true, retryStrategy: null })
  redis.on('error', () => {})
  await redis.connect()
  return redis
}

test('the first use sets the server up, and the second use finds it', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  expect(server).toEqual({
    path: join(directory, 'run', 'redis.sock'),
    directory: directory,
    dataDirectory: join(directory, 'data'),
    pid: expect.any(Number),
    product: 'Redis',
    version: expect.stringMatching(/^[7-9]\.\d/),
  })
  const wanted = { appendonly: 'yes', appendfsync: 'always', 'maxmemory-policy': 'noeviction', port: '0', save: '' }
  for (const [name, value] of Object.entries(wanted)) {
    expect(await ask(server, (redis) => redis.config('GET', name))).toEqual([name, value])
  }
  for (const path of [join(directory, 'run'), server.dataDirectory]) expect(statSync(path).mode & 0o777).toBe(0o700)
  expect(await ensureRedis(directory)).toEqual(server)
})

test('processes that race for the first use end with one server and one sentinel', async () => {
  const directory = newDirectory()
  const program = `return (await local.ensureLocalRedis('${directory}', { idleAfterMs: 60000 })).pid`
  const pids = await Promise.all(Array.from({ length: 4 }, () => inAnotherProcess<number>(program)))
  expect(new Set(pids).size).toBe(1)
  expect((await oneSentinel(directory)).servers).toEqual([pids[0]])
})

test('a killed server is started again by the sentinel, with every acknowledged write', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  const { sentinel } = await pidsOf(directory)
  const writer = await connectTo(server.path)
  let acknowledged = 0
  const writing = (async () => {
    for (;;) acknowledged = await writer.incr('writes')
  })()
  await until(
    async () => acknowledged,
    (count) => count > 100,
  )
  process.kill(server.pid, 'SIGKILL')
  await expect(writing).rejects.toThrow()
  const status = await until(
    () => localStatus(directory),
    (found) => found.pid !== null && found.pid !== server.pid && found.sentinelPid !== null,
  )
  const again = await ensureRedis(directory)
  expect(status.sentinelPid).toBe(sentinel)
  expect(Number(await ask(again, (redis) => redis.get('writes')))).toBeGreaterThanOrEqual(acknowledged)
  // A second one, which may have been started meanwhile, leaves the first in charge.
  expect(await oneSentinel(directory)).toEqual({ sentinel, servers: [again.pid] })
})

test('a killed sentinel leaves the server running, and one of many next calls replaces it', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  const { sentinel } = await pidsOf(directory)
  process.kill(sentinel, 'SIGKILL')
  await until(
    async () => processesOf(directory).sentinels,
    (found) => found.length === 0,
  )
  expect(await localStatus(directory)).toMatchObject({ state: 'running', pid: server.pid, sentinelPid: null })

  const program = `return (await local.ensureLocalRedis('${directory}', { idleAfterMs: 60000 })).pid`
  const pids = await Promise.all(Array.from({ length: 3 }, () => inAnotherProcess<number>(program)))
  expect(pids).toEqual([server.pid, server.pid, server.pid])
  const { sentinel: next } = await oneSentinel(directory)
  process.kill(server.pid, 'SIGKILL')
  await until(
    () => localStatus(directory),
    (found) => found.pid !== null && found.pid !== server.pid,
  )
  expect((await oneSentinel(directory)).sentinel).toBe(next)
})

test('a server whose starter died before the pid file was written gets no second server beside it', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  await ask(server, (redis) => redis.set('kept', 'yes'))
  const { sentinel } = await pidsOf(directory)
  process.kill(sentinel, 'SIGKILL')
  const other = bystander()
  try {
    writeFileSync(join(server.dataDirectory, 'redis.pid'), String(other.pid))
    expect(await localStatus(directory)).toMatchObject({ state: 'stopped', pid: null })
    const again = await ensureRedis(directory)
    expect(processesOf(directory).servers).toEqual([again.pid])
    expect(again.pid).not.toBe(server.pid)
    expect(await ask(again, (redis) => redis.get('kept'))).toBe('yes')
    expect(process.kill(other.pid, 0)).toBe(true)
  } finally {
    other.end()
  }
})

test('a server whose socket was removed gets a new one', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  rmSync(server.path)
  const again = await ensureRedis(directory)
  expect(await ask(again, (redis) => redis.ping())).toBe('PONG')
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length === 1 && found.servers.length === 1,
  )
})

test('an idle server stops, a server with clients does not, and the next use starts it again', async () => {
  const directory = newDirectory()
  const { server, client } = await connected(
    () => ensureRedis(directory, { idleAfterMs: 300 }),
    ({ path }) => connectTo(path),
  )
  await client.set('kept', 'yes')
  const quiet = performance.now()
  await until(
    async () => performance.now() - quiet,
    (passed) => passed > 900,
  )
  expect(await localStatus(directory)).toMatchObject({ state: 'running', pid: server.pid })

  client.disconnect()
  await until(
    () => localStatus(directory),
    (found) => found.state === 'stopped' && found.sentinelPid === null,
  )
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length + found.servers.length === 0,
  )
  const again = await ensureRedis(directory)
  expect(again.pid).not.toBe(server.pid)
  expect(await ask(again, (redis) => redis.get('kept'))).toBe('yes')
})

test('status in every state; stop twice', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  expect(await localStatus(directory)).toEqual({
    state: 'running',
    directory: directory,
    dataDirectory: server.dataDirectory,
    kind: 'redis',
    product: 'Redis',
    socket: server.path,
    port: null,
    pid: server.pid,
    sentinelPid: processesOf(directory).sentinels[0],
    version: server.version,
    startedAt: expect.any(Date),
    sizeBytes: expect.any(Number),
    log: join(directory, 'redis.log'),
  })
  expect(await stopLocal(directory)).toBe(true)
  expect(processesOf(directory).servers).toEqual([])
  expect(await stopLocal(directory)).toBe(false)
  expect(await localStatus(directory)).toMatchObject({
    state: 'stopped',
    product: 'Redis',
    version: server.version,
    pid: null,
    sentinelPid: null,
    socket: null,
  })
})

test('a directory that is removed takes sentinel and server with it', async () => {
  const directory = newDirectory()
  await ensureRedis(directory, { idleAfterMs: 2000 })
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length + found.servers.length === 0,
  )
})

test('one directory holds one type of server', async () => {
  const directory = newDirectory()
  await ensureRedis(directory)
  await stopLocal(directory)
  await expect(ensure(directory)).rejects.toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: `${directory} holds the data of a local Redis, not of PostgreSQL`,
    hint: 'Give PostgreSQL a directory of its own.',
  })
  expect(await localStatus(directory)).toMatchObject({ state: 'stopped', product: 'Redis' })
})

test('data that cannot be read are named, and left alone', async () => {
  const directory = newDirectory()
  const server = await ensureRedis(directory)
  await stopLocal(directory)
  writeFileSync(join(server.dataDirectory, 'appendonlydir', 'appendonly.aof.1.base.rdb'), 'no Redis wrote this')
  await expect(ensureRedis(directory)).rejects.toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: expect.stringMatching(
      /^Redis does not start in .*\/data: .*(Wrong signature|reading the RDB|AOF).*redis\.log$/is,
    ),
  })
})

test('a folder of somebody else is left alone', async () => {
  const directory = newDirectory()
  mkdirSync(join(directory, 'data'), { recursive: true, mode: 0o755 })
  if (ordinaryUser.uid !== undefined) chownSync(join(directory, 'data'), ordinaryUser.uid, ordinaryUser.gid)
  writeFileSync(join(directory, 'data', 'diary'), 'mine')
  await expect(ensureRedis(directory)).rejects.toMatchObject({ code: 'LOCAL_UNAVAILABLE' })
  expect(readdirSync(join(directory, 'data'))).toEqual(['diary'])
})

test('a path with a space in it', async () => {
  const directory = join(temporaryDirectory(), 'my queues')
  const server = await ensureRedis(directory)
  try {
    expect(await ask(server, (redis) => redis.ping())).toBe('PONG')
    expect(await ensureRedis(directory)).toEqual(server)
  } finally {
    expect(await stopLocal(directory)).toBe(true)
  }
})

test('without an installed server, the error says how to install one', async () => {
  const directory = newDirectory()
  process.env.PATH = temporaryDirectory()
  await expect(ensureRedis(directory)).rejects.toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: 'the local Redis cannot be started: there is neither redis-server nor valkey-server in PATH',
    hint: expect.stringMatching(/apt install redis-server.*brew install redis.*REDIS_URL/),
  })
  expect(await localStatus(directory)).toMatchObject({ state: 'absent' })
})

test('a server that is too old is skipped', async () => {
  const folder = temporaryDirectory()
  const old = join(folder, 'redis-server')
  writeFileSync(old, `#!/bin/sh\necho 'Redis server v=6.2.14 sha=0 malloc=libc bits=64 build=0'\n`)
  chmodSync(old, 0o755)
  const valkey = await installRedis('valkey-server')
  process.env.PATH = folder
  const refusal = await ensureRedis(newDirectory()).catch((error: unknown) => error)
  expect(refusal).toMatchObject({ message: expect.stringContaining('is Redis 6.2.14, and Redis 7 is the oldest') })
  process.env.PATH = `${folder}:${valkey.split(':')[0]}`
  expect(await ensureRedis(newDirectory())).toMatchObject({ product: 'Valkey' })
})

test('a private server is in memory, and ends with its process, even after a kill', async () => {
  const server = new PrivateRedis()
  const [{ path }, same] = await Promise.all([server.locate(), server.locate()])
  expect(same.path).toBe(path)
  const other = new PrivateRedis()
  expect((await other.locate()).path).not.toBe(path)
  await other.release()
  expect(await ask({ path }, (redis) => redis.config('GET', 'appendonly'))).toEqual(['appendonly', 'no'])
  await server.release()
  await server.release()
  expect(existsSync(dirname(path))).toBe(false)

  const module = new URL('../../packages/local/dist/redis/private.js', import.meta.url)
  for (const ending of ['process.kill(process.pid, "SIGKILL")', '']) {
    const program = `
      const { PrivateRedis } = await import('${module}')
      console.log((await new PrivateRedis().locate()).path)
      ${ending}`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program])
    const ended = once(child, 'exit')
    const [line] = await once(child.stdout, 'data')
    const socket = String(line).trim()
    expect(socket).toMatch(/redis\.sock$/)
    // By itself where nothing else is to be done.
    await ended
    await until(
      async () => processesOf(dirname(socket)).servers,
      (servers) => servers.length === 0,
    )
    await until(
      async () => existsSync(dirname(socket)),
      (exists) => !exists,
    )
  }
})

test('a killed private server is replaced by an empty one', async () => {
  const server = new PrivateRedis()
  const { path } = await server.locate()
  const [pid] = processesOf(dirname(path)).servers
  process.kill(pid!, 'SIGKILL')
  const next = await until(
    () => server.locate(),
    (found) => found.path !== path,
  )
  expect(await ask(next, (redis) => redis.dbsize())).toBe(0)
  await server.release()
})

test('a bus on a directory starts its server again, and shares it with other processes', async () => {
  const directory = newDirectory()
  await using bus = await connect(`redis+local:${directory}`)
  const queue = bus.queue('hires')
  await queue.send({ name: 'Ada' })
  await stopLocal(directory)
  await queue.send({ name: 'Grace' })
  const module = new URL('../../packages/tidings/dist/index.js', import.meta.url)
  const names = await inAnotherProcess<string[]>(`
    const { connect } = await import('${module}')
    const bus = await connect('redis+local:${directory}')
    const messages = await bus.queue('hires').pop({ limit: 10 })
    await bus.close()
    return messages.map((message) => message.data.name)`)
  expect(names).toEqual(['Ada', 'Grace'])
})

test('a bus in memory is alone, and its server ends with it', async () => {
  const said: unknown[] = []
  const note = (...what: unknown[]) => void said.push(what)
  const bus = await connect('redis+local:', { logger: { debug() {}, info() {}, warn: note, error: note } })
  expect(said).toEqual([])
  await using other = await connect('redis+local:')
  await bus.queue('hires').send({ name: 'Ada' })
  expect(await other.queues()).toEqual([])
  await bus.close()
})
