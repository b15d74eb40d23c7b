import { Redis, type RedisOptions } from 'ioredis'
import { connect, isTidingsError } from 'tidings'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../support/directories.ts'
import { askRedis } from '../support/redis.ts'
import { startSentinel, type TestSentinel } from '../support/sentinel.ts'
import { Watcher } from '../support/watcher.ts'
import { killConnections, newName, until } from './support.ts'

let sentinel: TestSentinel
beforeAll(async () => {
  sentinel = await startSentinel()
})
afterAll(() => sentinel?.stop())

/** As an application has it; never connected here, since it is not needed. */
function client(options: RedisOptions = {}): Redis {
  const sentinels = [{ host: '127.0.0.1', port: sentinel.port }]
  const redis = new Redis({ sentinels, name: sentinel.name, lazyConnect: true, ...options })
  onTestFinished(() => redis.disconnect())
  return redis
}

/** Whether anybody has the sentinel tell of failovers: the connections of the bus, by that option. */
const isTold = async () =>
  / sub=1 /.test(String(await askRedis(sentinel.port, (redis) => redis.call('CLIENT', 'LIST'))))

test('a name that the sentinel does not know', async () => {
  await expect(connect({ redis: client({ name: 'nobody' }) })).rejects.toMatchObject({
    code: 'CONNECTION_FAILED',
    message: expect.stringMatching(/the primary 'nobody' of the sentinels 127\.0\.0\.1:\d+: All sentinels/),
    hint: expect.stringContaining('name'),
  })
})

test('sentinels that are not there', async () => {
  const sentinels = [{ host: '127.0.0.1', port: await freePort() }]
  await expect(connect({ redis: client({ sentinels }) })).rejects.toMatchObject({
    code: 'CONNECTION_FAILED',
    message: expect.stringContaining(`127.0.0.1:${sentinels[0]!.port}: All sentinels`),
  })
})

test('a replica is refused, though the sentinels name it', async () => {
  const [primary, replica] = sentinel.servers
  const natMap = { [`127.0.0.1:${primary.port}`]: { host: '127.0.0.1', port: replica.port } }
  await expect(connect({ redis: client({ natMap }) })).rejects.toMatchObject({
    code: 'CONNECTION_FAILED',
    message: expect.stringContaining('the server is a replica'),
  })
})

test('what listens to sentinels ends with its connection', async () => {
  const bus = await connect({ redis: client({ failoverDetector: true }) })
  await until(isTold, 'the sentinel tells of failovers')
  await killConnections(sentinel.servers[0].port)
  await bus.queues()
  await bus.close()
  await until(async () => !(await isTold()), 'the sentinel tells nobody any more')
})

test('a failover under load: senders and workers go on with the new primary', async () => {
  const bus = await connect({ redis: client({ failoverDetector: true }) })
  await until(isTold, 'the sentinel tells of failovers')
  const queue = bus.queue<{ n: number }>(newName('failover'))
  const handled = new Set<number>()
  const watcher = new Watcher()
  const worker = queue.work(
    async ({ data }) => {
      handled.add(data.n)
    },
    { observe: watcher.observe },
  )
  let isOver = false
  /** Acknowledged, by when: before the crash and known to the replica, and after the failover. */
  const safe = new Set<number>()
  const failures: unknown[] = []
  let next = 0
  let isReplicated = false
  let isBack = false
  const sender = async () => {
    while (!isOver) {
      const n = next++
      try {
        await queue.send({ n })
        if (!isReplicated || isBack) safe.add(n)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  const senders = Array.from({ length: 4 }, sender)
  await until(() => safe.size > 100, 'there is load')
  expect(failures).toEqual([])
  isReplicated = true
  // What is on its way now was counted by nobody.
  await sentinel.replicated()
  const [primary, replica] = sentinel.servers
  await primary.kill()
  await until(async () => (await sentinel.primary()) === replica.port, 'the replica has taken over')
  isBack = true
  const before = safe.size
  await until(() => safe.size > before + 100, 'senders go on')
  isOver = true
  await Promise.all(senders)
  for (const error of failures) expect(isTidingsError(error) && error.retryable, String(error)).toBe(true)
  await until(() => [...safe].every((n) => handled.has(n)), 'all that is safe was handled')
  await worker.stop()
  // Waiting for a message works on the new primary, too.
  const reading = queue.read({ wait: '20s' })
  await queue.send({ n: -1 })
  expect((await reading).map(({ data }) => data)).toEqual([{ n: -1 }])
  await bus.close()
  await until(async () => !(await isTold()), 'the sentinel tells nobody any more')
})
