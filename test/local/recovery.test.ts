import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ensureLocal, localStatus, stopLocal } from 'tidings-local/internal/local'
import { expect, test } from 'vitest'
import {
  bystander,
  connected,
  connectTo,
  ensure,
  inAnotherProcess,
  newDirectory,
  oneSentinel,
  pidsOf,
  processesOf,
  query,
  until,
} from './support.ts'

test('a killed server is started again by the sentinel, with its data', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  await query(server, `create table kept as select 'acknowledged' as what`)
  // A query that computes does not notice that its server is gone.
  const client = await connectTo(server)
  await client.query(`set statement_timeout = '40s'`)
  const busy = client
    .query('select count(*) from generate_series(1, 10000) a, generate_series(1, 1000000) b')
    .catch(() => {})
  const { sentinel } = await pidsOf(directory)

  process.kill(server.pid, 'SIGKILL')
  const killed = performance.now()
  const status = await until(
    () => localStatus(directory),
    (found) => found.pid !== null && found.pid !== server.pid && found.sentinelPid !== null,
  )
  const again = await ensure(directory)
  expect(performance.now() - killed).toBeLessThan(30_000)
  expect(status.sentinelPid).toBe(sentinel)
  expect(await query(again, 'select what from kept')).toEqual([{ what: 'acknowledged' }])
  expect(await oneSentinel(directory)).toEqual({ sentinel, servers: [again.pid] })
  await busy
})

test('a killed sentinel leaves the server running, and one of many next calls replaces it', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  const { sentinel } = await pidsOf(directory)

  process.kill(sentinel, 'SIGKILL')
  await until(
    async () => processesOf(directory).sentinels,
    (found) => found.length === 0,
  )
  expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }])
  expect(await localStatus(directory)).toMatchObject({ state: 'running', pid: server.pid, sentinelPid: null })

  const program = `return (await local.ensureLocal('${directory}', { idleAfterMs: 60000 })).pid`
  const pids = await Promise.all(Array.from({ length: 3 }, () => inAnotherProcess<number>(program)))
  expect(pids).toEqual([server.pid, server.pid, server.pid])
  const { sentinel: next } = await oneSentinel(directory)

  // The new one does its work on a server that it did not start itself.
  process.kill(server.pid, 'SIGKILL')
  await until(
    () => localStatus(directory),
    (found) => found.pid !== null && found.pid !== server.pid,
  )
  expect((await oneSentinel(directory)).sentinel).toBe(next)
})

test('sentinel and server killed: the next call starts both, with the data', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  await query(server, `create table kept as select 'acknowledged' as what`)
  const { sentinel } = await pidsOf(directory)
  for (const pid of [sentinel, server.pid]) process.kill(pid, 'SIGKILL')
  const again = await ensure(directory)
  expect(again.pid).not.toBe(server.pid)
  expect(await query(again, 'select what from kept')).toEqual([{ what: 'acknowledged' }])
})

test('a stale lock is recognised, even if its pids went to other programs', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  const { sentinel } = await pidsOf(directory)
  for (const pid of [sentinel, server.pid]) process.kill(pid, 'SIGKILL')
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length + found.servers.length === 0,
  )

  const other = bystander()
  try {
    for (const file of [join(server.dataDirectory, 'postmaster.pid'), join(server.host, '.s.PGSQL.5432.lock')]) {
      writeFileSync(file, readFileSync(file, 'utf8').replace(/^\d+/, String(other.pid)))
    }
    writeFileSync(join(directory, 'sentinel.json'), JSON.stringify({ pid: other.pid }))
    expect(await localStatus(directory)).toMatchObject({ state: 'stopped', pid: null, sentinelPid: null })
    expect(await stopLocal(directory)).toBe(false)
    const again = await ensure(directory)
    expect(again.pid).not.toBe(other.pid)
    expect(process.kill(other.pid, 0)).toBe(true)
  } finally {
    other.end()
  }
})

test('a server whose socket was removed gets a new one', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  await rm(join(server.host, '.s.PGSQL.5432'))
  const again = await ensure(directory)
  expect(await query(again, 'select 1 as one')).toEqual([{ one: 1 }])
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length === 1 && found.servers.length === 1,
  )
})

test('a server that was told to stop and waits for its clients is started again', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  const client = await connectTo(server)
  process.kill(server.pid, 'SIGTERM')
  await until(
    () => query(server, 'select 1').catch((error: unknown) => error),
    (answer) => answer instanceof Error,
  )
  const again = await ensure(directory)
  expect(again.pid).not.toBe(server.pid)
  expect(await query(again, 'select 1 as one')).toEqual([{ one: 1 }])
  await client.end().catch(() => {})
})

test('an idle server stops, a server with clients does not, and the next use starts it again', async () => {
  const directory = newDirectory()
  const { server, client } = await connected(() => ensureLocal(directory, { idleAfterMs: 300 }), connectTo)
  const quiet = performance.now()
  await until(
    async () => performance.now() - quiet,
    (passed) => passed > 900,
  )
  expect(await localStatus(directory)).toMatchObject({ state: 'running', pid: server.pid })

  await client.end()
  await until(
    () => localStatus(directory),
    (found) => found.state === 'stopped' && found.sentinelPid === null,
  )
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length + found.servers.length === 0,
  )
  expect(readFileSync(join(directory, 'sentinel.log'), 'utf8')).toContain('ends: idle')

  const again = await ensure(directory)
  expect(again.pid).not.toBe(server.pid)
})

test('a directory that is removed takes sentinel and server with it, and can be made anew', async () => {
  const directory = newDirectory()
  await ensureLocal(directory, { idleAfterMs: 2000 })
  const before = processesOf(directory)
  await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  const server = await ensure(directory)
  const now = await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length === 1 && found.servers.length === 1,
  )
  expect(now.servers).toEqual([server.pid])
  expect(before.servers).not.toEqual(now.servers)
})
