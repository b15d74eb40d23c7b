import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { localStatus, stopLocal } from 'tidings-local/internal/local'
import { expect, test } from 'vitest'
import { ensure, newDirectory, processesOf, until } from './support.ts'

test('status in every state; stop twice', async () => {
  const directory = newDirectory()
  const absent = {
    state: 'absent',
    directory: directory,
    pid: null,
    sentinelPid: null,
    dataDirectory: null,
    sizeBytes: 0,
  }
  expect(await localStatus(directory)).toMatchObject(absent)
  expect(await stopLocal(directory)).toBe(false)

  const before = Date.now()
  const server = await ensure(directory)
  const running = await localStatus(directory)
  expect(running).toEqual({
    state: 'running',
    directory: directory,
    dataDirectory: server.dataDirectory,
    kind: 'postgres',
    product: 'PostgreSQL',
    socket: server.host,
    port: server.port,
    pid: server.pid,
    sentinelPid: processesOf(directory).sentinels[0],
    version: server.version,
    startedAt: expect.any(Date),
    sizeBytes: expect.any(Number),
    log: join(directory, 'postgres.log'),
  })
  // In whole seconds.
  expect(running.startedAt!.getTime()).toBeGreaterThan(before - 1_000)
  expect(running.startedAt!.getTime()).toBeLessThanOrEqual(Date.now())
  expect(running.sizeBytes).toBeGreaterThan(1_000_000)

  expect(await stopLocal(directory)).toBe(true)
  expect(processesOf(directory).servers).toEqual([])
  // The sentinel takes its name off the door a moment before its process ends.
  await until(
    async () => processesOf(directory).sentinels,
    (sentinels) => sentinels.length === 0,
  )
  expect(await stopLocal(directory)).toBe(false)
  const stopped = await localStatus(directory)
  expect(stopped).toMatchObject({
    state: 'stopped',
    directory: directory,
    pid: null,
    sentinelPid: null,
    socket: null,
    version: '18',
  })
})

test('two stops and a start at the same time leave nothing half done', async () => {
  const directory = newDirectory()
  await ensure(directory)
  const [server] = await Promise.all([stopLocal(directory), stopLocal(directory)]).then(() =>
    Promise.all([ensure(directory), stopLocal(directory)]),
  )
  expect(server.directory).toBe(directory)
  const again = await ensure(directory)
  expect(processesOf(directory).servers).toEqual([again.pid])
})

test('data of another major version are refused, and left alone', async () => {
  const directory = newDirectory()
  const server = await ensure(directory)
  await stopLocal(directory)
  writeFileSync(join(server.dataDirectory, 'PG_VERSION'), '17\n')
  const error = await ensure(directory).catch((reason: unknown) => reason)
  expect(error).toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: `${server.dataDirectory} was made by PostgreSQL 17, and this is PostgreSQL 18`,
  })
  await until(
    async () => processesOf(directory),
    (found) => found.sentinels.length + found.servers.length === 0,
  )
  writeFileSync(join(server.dataDirectory, 'PG_VERSION'), '18\n')
  await ensure(directory)
})
