import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { localStatus, stopLocal } from 'tidings-local/internal/local'
import { expect, test } from 'vitest'
import { ensure, newPlace, processesOf, until } from './support.ts'

test('status in every state; stop twice', async () => {
  const place = newPlace()
  const absent = { state: 'absent', directory: place, pid: null, sentinelPid: null, dataDirectory: null, sizeBytes: 0 }
  expect(await localStatus(place)).toMatchObject(absent)
  expect(await stopLocal(place)).toBe(false)

  const before = Date.now()
  const server = await ensure(place)
  const running = await localStatus(place)
  expect(running).toEqual({
    state: 'running',
    directory: place,
    dataDirectory: server.dataDirectory,
    kind: 'postgres',
    product: 'PostgreSQL',
    socket: server.host,
    port: server.port,
    pid: server.pid,
    sentinelPid: processesOf(place).sentinels[0],
    version: server.version,
    startedAt: expect.any(Date),
    sizeBytes: expect.any(Number),
    log: join(place, 'postgres.log'),
  })
  // In whole seconds.
  expect(running.startedAt!.getTime()).toBeGreaterThan(before - 1_000)
  expect(running.startedAt!.getTime()).toBeLessThanOrEqual(Date.now())
  expect(running.sizeBytes).toBeGreaterThan(1_000_000)

  expect(await stopLocal(place)).toBe(true)
  expect(processesOf(place).servers).toEqual([])
  // The sentinel takes its name off the door a moment before its process ends.
  await until(
    async () => processesOf(place).sentinels,
    (sentinels) => sentinels.length === 0,
  )
  expect(await stopLocal(place)).toBe(false)
  const stopped = await localStatus(place)
  expect(stopped).toMatchObject({
    state: 'stopped',
    directory: place,
    pid: null,
    sentinelPid: null,
    socket: null,
    version: '18',
  })
})

test('two stops and a start at the same time leave nothing half done', async () => {
  const place = newPlace()
  await ensure(place)
  const [server] = await Promise.all([stopLocal(place), stopLocal(place)]).then(() =>
    Promise.all([ensure(place), stopLocal(place)]),
  )
  expect(server.directory).toBe(place)
  const again = await ensure(place)
  expect(processesOf(place).servers).toEqual([again.pid])
})

test('data of another major version are refused, and left alone', async () => {
  const place = newPlace()
  const server = await ensure(place)
  await stopLocal(place)
  writeFileSync(join(server.dataDirectory, 'PG_VERSION'), '17\n')
  const error = await ensure(place).catch((reason: unknown) => reason)
  expect(error).toMatchObject({
    code: 'LOCAL_UNAVAILABLE',
    message: `${server.dataDirectory} was made by PostgreSQL 17, and this is PostgreSQL 18`,
  })
  await until(
    async () => processesOf(place),
    (found) => found.sentinels.length + found.servers.length === 0,
  )
  writeFileSync(join(server.dataDirectory, 'PG_VERSION'), '18\n')
  await ensure(place)
})
