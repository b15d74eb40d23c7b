import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import type { Listening } from 'tidings/internal/port/listening'
import { thisProcess, toWord } from 'tidings/internal/port/processes'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { LineProcess } from '../support/line-process.ts'
import { askRedis, startRedis, type TestRedis } from '../support/redis.ts'
import { startCluster, type TestCluster } from '../support/redis-cluster.ts'
import { message, newName, openEngine, until } from './support.ts'

/** Of this file alone: all that is listed is its own. */
let server: TestRedis
let cluster: TestCluster
beforeAll(async () => {
  ;[server, cluster] = await Promise.all([startRedis({ appendfsync: 'no' }), startCluster()])
})
afterAll(() => Promise.all([server?.stop(), cluster?.stop()]))

const open = async (url: string): Promise<RedisEngine> => {
  const engine = await openEngine(url)
  onTestFinished(() => engine.close())
  return engine
}

const listener = { woken() {}, notified() {}, lost() {}, announcing() {}, troubled() {}, polling() {} }

/** A process that works on this queue. */
async function work(engine: RedisEngine, queue: string): Promise<Listening> {
  const listening = await engine.listen(listener)
  onTestFinished(() => listening.close())
  expect(await listening.listen(['life', `queue:${queue}`])).toEqual(new Map())
  return listening
}

async function newQueue(engine: RedisEngine): Promise<string> {
  const queue = newName('q')
  await engine.createQueue(queue)
  return queue
}

const count = async (engine: RedisEngine) => (await engine.processes()).length

describe.each([
  ['one server', () => server.url],
  ['a Cluster', () => cluster.url],
] as const)('on %s', (_name, urlOf) => {
  test('each process is listed once, wherever it works, as long as it wants to be looked after', async () => {
    const [one, other] = [await open(urlOf()), await open(urlOf())]
    expect(await one.processes()).toEqual([])
    const first = await work(one, await newQueue(one))
    // In many slots, so that it is known on several nodes.
    for (let index = 0; index < 12; index++) await first.listen([`queue:${await newQueue(one)}`])
    const [listed] = await other.processes()
    expect(await other.processes()).toEqual([
      { ...thisProcess, id: expect.stringMatching(/^[\w-]{8}$/), since: expect.any(Number), queues: null },
    ])
    const second = await work(other, await newQueue(other))
    expect(await count(one)).toBe(2)
    first.unlisten(['life'])
    await until(async () => (await count(one)) === 1, 'it is not listed')
    expect((await one.processes())[0]!.id).not.toBe(listed!.id)
    await first.listen(['life'])
    expect(await count(one)).toBe(2)
    await Promise.all([first.close(), second.close()])
    await until(async () => (await count(one)) === 0, 'none is listed')
  })

  test('one that lost its connections is listed again, one that was killed is not', async () => {
    const engine = await open(urlOf())
    const queue = await newQueue(engine)
    await engine.send(queue, [message()], null)
    const child = new LineProcess<{ pid: number }>('dashboard/worker-process.mjs', [urlOf(), queue])
    await child.until((lines) => lines.length > 0)
    expect(await engine.processes()).toMatchObject([{ ...thisProcess, pid: child.lines[0]!.pid }])
    if (urlOf() === server.url) {
      await askRedis(server.port, (redis) => redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))
      await until(async () => (await count(engine)) === 1, 'it is back')
    }
    await child.kill()
    await until(async () => (await count(engine)) === 0, 'it is gone')
  })
})

test('each database has processes of its own', async () => {
  const [zero, one] = [await open(server.url), await open(`${server.url.replace(/\/\d*$/, '')}/1`)]
  const listening = await work(one, await newQueue(one))
  expect([await count(zero), await count(one)]).toEqual([0, 1])
  await listening.close()
  await until(async () => (await count(one)) === 0, 'it is gone')
})

test('what anybody else says is checked', async () => {
  const engine = await open(server.url)
  const since = Date.now()
  const wrong = [
    { ...thisProcess, host: 'h'.repeat(256), since },
    { ...thisProcess, host: '', since },
    { ...thisProcess, host: { toString: 'x' }, since },
    { ...thisProcess, pid: -1, since },
    { ...thisProcess, pid: '7', since },
    { ...thisProcess, version: 'v'.repeat(65), since },
    { ...thisProcess, since: 1e300 },
    { ...thisProcess },
    [],
    null,
    'x',
  ].map((told) => toWord(told as never))
  const channels = [...wrong, 'x'.repeat(100_000), '%', '', toWord({ ...thisProcess, host: '<b>', since })].map(
    (word, index) => `{tidings}:process:0:${String(index).padStart(8, 'a')}:${word}`,
  )
  channels.push(`{tidings}:process:0:short:${toWord({ ...thisProcess, since })}`, '{tidings}:process:')
  await askRedis(server.port, async (redis) => {
    await redis.subscribe(...channels)
    expect(await engine.processes()).toEqual([{ ...thisProcess, host: '<b>', since, id: 'aaaaaa14', queues: null }])
  })
})

test('a user who may not ask is told which right is missing, and holds leases all the same', async () => {
  const rights = ['on', 'nopass', '~{tidings*', '&{tidings*', '+@all', '-pubsub|channels', '-unsubscribe']
  await askRedis(server.port, (redis) => redis.call('ACL', 'SETUSER', 'unasking', ...rights))
  const engine = await open(server.url.replace('//', '//unasking:any@'))
  const queue = await newQueue(engine)
  await engine.send(queue, [message()], null)
  const listening = await work(engine, queue)
  await expect(engine.processes()).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    message: expect.stringContaining('may not run PUBSUB CHANNELS'),
    hint: expect.stringContaining('+pubsub|channels'),
  })
  const { messages } = await engine.claim(queue, { limit: 1, leaseMs: 60_000, ids: null, held: true })
  // With the token of the process.
  expect(messages[0]!.receipt).toHaveLength(24)
  const other = await open(server.url)
  expect(await count(other)).toBe(1)
  listening.unlisten(['life'])
  await listening.close()
  await until(async () => (await count(other)) === 0, 'it is gone with its connection')
})
