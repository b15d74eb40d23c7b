import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Driver } from 'tidings/internal/engines/redis/driver'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../support/directories.ts'
import { askRedis, startRedis, type TestRedis } from '../support/redis.ts'
import { startCluster, type TestCluster } from '../support/redis-cluster.ts'
import { watchOn } from '../support/watch-on.ts'
import {
  claimAll,
  heldUp,
  kill,
  killConnections,
  message,
  newName,
  openEngine,
  peekAll,
  portOf,
  startProcess,
  until,
  whilePaused,
} from './support.ts'

/** Of this file alone: its nodes are held up, moved and killed. */
let cluster: TestCluster
let url: string
beforeAll(async () => {
  cluster = await startCluster()
  url = cluster.url
})
afterAll(() => cluster?.stop())

const primaryPort = async (key: string) => (await cluster.primaryOf(key)).port
const queuePort = (queue: string) => primaryPort(`{tidings:q:${queue}}`)

/** Two queues on different nodes, the first one first by name; that of the second has nothing else that is needed. */
async function twoQueues(engine: RedisEngine): Promise<[string, string]> {
  const registryPort = await primaryPort('{tidings}')
  const first = newName('crash_a')
  let second = newName('crash_b')
  while ([await queuePort(first), registryPort].includes(await queuePort(second))) second = newName('crash_b')
  for (const queue of [first, second]) await engine.createQueue(queue)
  return [first, second]
}

async function newCorrelation(queue: string): Promise<string> {
  let id = newName('correlation')
  while ((await primaryPort(`{tidings:c:${id}}`)) === (await queuePort(queue))) id = newName('correlation')
  return id
}

/** Upkeep leaves alone what may still be under way. */
const untilItIsOld = () => new Promise((resolve) => setTimeout(resolve, 1_100))

describe('a process that is killed between the steps', () => {
  test('of a publish: upkeep brings the other copies, once', async () => {
    const engine = await openEngine(url)
    const [first, second] = await twoQueues(engine)
    for (const queue of [first, second]) await engine.bind({ pattern: first, queue })
    const port = await queuePort(second)
    await whilePaused(port, async () => {
      const child = startProcess(url, 'publish', first)
      await until(async () => (await heldUp(port)) > 0, 'the second copy is held up')
      expect(await peekAll(engine, first)).toHaveLength(1)
      await kill(child)
    })
    expect(await peekAll(engine, second)).toEqual([])
    await untilItIsOld()
    await Promise.all([engine.maintain({ kind: 'due' }), engine.maintain({ kind: 'due' })])
    for (const queue of [first, second]) {
      const [copy, ...others] = await peekAll(engine, queue)
      expect(copy).toMatchObject({ data: '{"from":"the process"}', meta: { queue_name: queue } })
      expect(others).toEqual([])
    }
    for (const queue of [first, second]) await engine.dropQueue(queue)
    await engine.close()
  })

  test('of a move: upkeep brings the message, once', async () => {
    const engine = await openEngine(url)
    const [first, second] = await twoQueues(engine)
    await engine.send(first, [message({ data: '"moving"', priority: 2, meta: { m: 1 } })], null)
    const port = await queuePort(second)
    await whilePaused(port, async () => {
      const child = startProcess(url, 'move', first, second)
      await until(async () => (await heldUp(port)) > 0, 'the copy is held up')
      expect(await peekAll(engine, first)).toEqual([])
      await kill(child)
    })
    await untilItIsOld()
    await Promise.all([engine.maintain({ kind: 'due' }), engine.maintain({ kind: 'due' })])
    const [arrived, ...others] = await peekAll(engine, second)
    expect(arrived).toMatchObject({ data: '"moving"', priority: 2, meta: { m: 1, moved: true }, readCount: 0 })
    expect(others).toEqual([])
    for (const queue of [first, second]) await engine.dropQueue(queue)
    await engine.close()
  })

  test('of the last task of a correlation: upkeep completes it, once', async () => {
    const engine = await openEngine(url)
    const [queue, done] = await twoQueues(engine)
    const correlationId = await newCorrelation(queue)
    await engine.send(queue, [message({ tracked: { correlationId, completionQueue: done } })], null)
    const port = await primaryPort(`{tidings:c:${correlationId}}`)
    await whilePaused(port, async () => {
      const child = startProcess(url, 'finish', queue)
      await until(async () => (await heldUp(port)) > 0, 'the end of the task is held up')
      await kill(child)
    })
    expect((await engine.correlation(correlationId))?.completedAt).toBeNull()
    await untilItIsOld()
    await Promise.all([engine.maintain({ kind: 'due' }), engine.maintain({ kind: 'due' })])
    expect((await engine.correlation(correlationId))?.queues).toMatchObject([{ queue, done: 1, pending: 0 }])
    expect(await peekAll(engine, done)).toHaveLength(1)
    for (const name of [queue, done]) await engine.dropQueue(name)
    await engine.close()
  })
})

/** Breaks the connection of every call that a node holds up, until all is over. */
async function whileCutOff(port: number, work: () => Promise<unknown>): Promise<void> {
  let over = false
  await whilePaused(port, async () => {
    const done = work().finally(() => {
      over = true
    })
    await until(async () => {
      if ((await heldUp(port)) > 0) await killConnections(port)
      return over
    }, 'the work is over')
    await done
  })
}

describe('a node that cannot be reached', () => {
  test('for other copies: the outcome is unknown, and upkeep brings them', async () => {
    const engine = await openEngine(url)
    const [first, second] = await twoQueues(engine)
    for (const queue of [first, second]) await engine.bind({ pattern: first, queue })
    await whileCutOff(await queuePort(second), () =>
      expect(engine.publish([{ ...message(), routingKey: first }], null)).rejects.toMatchObject({
        code: 'OUTCOME_UNKNOWN',
        hint: expect.stringContaining('do not repeat it'),
      }),
    )
    expect([await peekAll(engine, first), await peekAll(engine, second)]).toMatchObject([
      [{ data: '{"name":"Ada"}' }],
      [],
    ])
    await untilItIsOld()
    await engine.maintain({ kind: 'due' })
    expect(await peekAll(engine, second)).toHaveLength(1)
    for (const queue of [first, second]) await engine.dropQueue(queue)
    await engine.close()
  })

  test('for a correlation: what was popped is given out, and upkeep tells of its end', async () => {
    const engine = await openEngine(url)
    const [queue] = await twoQueues(engine)
    const correlationId = await newCorrelation(queue)
    await engine.send(queue, [message({ tracked: { correlationId, completionQueue: null } })], null)
    await whileCutOff(await primaryPort(`{tidings:c:${correlationId}}`), async () =>
      expect(await engine.pop(queue, 1)).toHaveLength(1),
    )
    expect((await engine.correlation(correlationId))?.completedAt).toBeNull()
    await untilItIsOld()
    await engine.maintain({ kind: 'due' })
    expect((await engine.correlation(correlationId))?.completedAt).not.toBeNull()
    await engine.dropQueue(queue)
    await engine.close()
  })
})

test('what fails says at which node, whichever led to it', async () => {
  const queue = newName('denied')
  const port = await queuePort(queue)
  const [seed] = cluster.nodes.filter((node) => node.port !== port)
  const user = newName('user')
  const all = ['on', 'nopass', '~{tidings*', '&{tidings*', '+@all']
  for (const node of cluster.nodes)
    await askRedis(node.port, (redis) =>
      redis.call('ACL', 'SETUSER', user, ...all, ...(node.port === port ? ['-zadd'] : [])),
    )
  const engine = await openEngine(`redis+cluster://${user}:any@127.0.0.1:${seed!.port}`)
  await engine.createQueue(queue)
  await expect(engine.send(queue, [message()], null)).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    message: expect.stringContaining(`Redis at 127.0.0.1:${port}: `),
  })
  await engine.dropQueue(queue)
  await engine.close()
})

test('any node leads to the Cluster, also by redis://', async () => {
  const one = await openEngine(`redis://127.0.0.1:${portOf(url)}`)
  const all = await openEngine(url)
  const queues = ['a', 'b', 'c', 'd'].map((letter) => newName(letter))
  for (const queue of queues) await one.createQueue(queue)
  for (const queue of queues) await all.send(queue, [message()], null)
  for (const queue of queues) expect(await one.pop(queue, 1)).toHaveLength(1)
  for (const queue of queues) await one.dropQueue(queue)
  await Promise.all([one.close(), all.close()])
})

test('a full memory does not keep messages from queues on other nodes, and refuses sends', async () => {
  const engine = await openEngine(url)
  const [queue, letters] = await twoQueues(engine)
  const missing = newName('missing')
  await engine.send(queue, [message(), message()], null)
  const limit = (bytes: number) =>
    Promise.all(cluster.nodes.map(({ port }) => askRedis(port, (redis) => redis.config('SET', 'maxmemory', bytes))))
  await limit(1)
  try {
    for (const to of [letters, missing]) {
      const { messages } = await engine.claim(queue, { limit: 1, leaseMs: 30_000, ids: null })
      const { id, receipt } = messages[0]!
      const [moved] = await engine.settle(queue, [{ kind: 'move', id, receipt: receipt!, to, delayMs: 0, meta: {} }])
      expect((await peekAll(engine, to)).map((each) => each.id)).toEqual([moved!.newId])
      await expect(engine.send(to, [message()], null)).rejects.toMatchObject({ code: 'STORAGE_FULL' })
    }
  } finally {
    await limit(0)
  }
  for (const name of [queue, letters, missing]) await engine.dropQueue(name)
  await engine.close()
})

describe('a Cluster that changes', () => {
  test('a slot moves, with its messages, its readers and its senders', async () => {
    const engine = await openEngine(url)
    try {
      const queue = newName('migrating')
      const key = `{tidings:q:${queue}}`
      await engine.createQueue(queue)
      const wakes: number[] = []
      await watchOn(engine, `queue:${queue}`, (dueMs) => wakes.push(dueMs))
      const before = await engine.send(queue, [message(), message({ orderingKey: 'k' })], null)
      const during: Promise<{ id: string }[]>[] = []
      await cluster.migrateSlotOf(key, async () => {
        during.push(engine.send(queue, [message()], null))
      })
      // It was sent before, but may have been turned away until now.
      const meanwhile = (await Promise.all(during)).flat()
      const after = await engine.send(queue, [message()], null)
      const ids = [...before, ...meanwhile, ...after].map(({ id }) => id)
      expect((await peekAll(engine, queue)).map(({ id }) => id)).toEqual(ids)
      wakes.length = 0
      await until(async () => {
        await engine.send(queue, [message()], null)
        return wakes.length > 0
      }, 'the watch is woken on the other node')
    } finally {
      await engine.close()
    }
  })

  test('a replica takes over: calls and watches go on there', async () => {
    const engine = await openEngine(url)
    try {
      const queue = newName('failover')
      const key = `{tidings:q:${queue}}`
      await engine.createQueue(queue)
      await engine.send(queue, [message()], null)
      const port = (await cluster.primaryOf(key)).port
      await askRedis(port, (redis) => redis.call('WAIT', 1, 5_000))
      const wakes: number[] = []
      await watchOn(engine, `queue:${queue}`, (dueMs) => wakes.push(dueMs))
      await cluster.killPrimaryOf(key)
      await cluster.ready()
      expect(await claimAll(engine, queue)).toHaveLength(1)
      await until(() => wakes.length > 0, 'the watch is woken after the interruption')
      wakes.length = 0
      await engine.send(queue, [message()], null)
      await until(() => wakes.length > 0, 'the watch is woken by a send')
    } finally {
      await engine.close()
    }
  })
})

describe('a node that lags behind the others', () => {
  /** Three nodes that never hear of each other: each knows of the Cluster what is written down for it. */
  async function startStrangers() {
    const nodes = await Promise.all([0, 1, 2].map(async () => startRedis(await strangerSettings())))
    const ids = await Promise.all(nodes.map(({ port }) => askRedis(port, (redis) => redis.call('CLUSTER', 'MYID'))))
    const line = (at: number, me: number, slots: string) =>
      `${ids[at]} 127.0.0.1:${nodes[at]!.port}@1 ${at === me ? 'myself,' : ''}master - 0 0 ${at + 1} connected ${slots}\n`
    const write = async (me: number, slots: readonly string[]) => {
      const { port } = nodes[me]!
      const [, directory] = (await askRedis(port, (redis) => redis.config('GET', 'dir'))) as string[]
      await nodes[me]!.kill()
      const lines = slots.flatMap((each, at) => (each === 'unknown' ? [] : [line(at, me, each)]))
      await writeFile(join(directory!, 'nodes.conf'), `${lines.join('')}vars currentEpoch 3 lastVoteEpoch 0\n`)
      await nodes[me]!.restart()
      const isReady = async () =>
        String(await askRedis(port, (redis) => redis.call('CLUSTER', 'INFO'))).includes('cluster_state:ok')
      await until(isReady, 'the node takes commands')
    }
    // The third took over from the second; the first has not heard of that.
    await Promise.all([
      write(0, ['0-8191', '8192-16383', 'unknown']),
      write(1, ['0-8191', '', '8192-16383']),
      write(2, ['0-8191', '', '8192-16383']),
    ])
    onTestFinished(async () => void (await Promise.all(nodes.map((node) => node.stop()))))
    return nodes as [TestRedis, TestRedis, TestRedis]
  }

  const strangerSettings = async () => ({
    'cluster-enabled': 'yes',
    'cluster-port': await freePort(),
    'cluster-node-timeout': 3_600_000,
  })

  test('cuts off no call to the node that others have led to', async () => {
    const [lagging, , owner] = await startStrangers()
    const driver = new Driver(`redis+cluster://127.0.0.1:${lagging.port}`)
    await driver.open()
    const key = 'foo'
    let call: Promise<unknown> | undefined
    await whilePaused(owner.port, async () => {
      call = driver.call(key, ['HSET', key, 'field', 'value'], { repeatable: false })
      await Promise.race([call, until(async () => (await heldUp(owner.port)) === 1, 'the call is held up')])
      await driver.topology.refresh()
    })
    expect(await call).toBe(1)
    await driver.close()
  })
})
