import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Bus } from 'tidings/internal/bus/bus'
import { Correlations } from 'tidings/internal/engines/redis/correlations'
import { Driver } from 'tidings/internal/engines/redis/driver'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { queues, Registry, topics } from 'tidings/internal/engines/redis/registry'
import { Relay } from 'tidings/internal/engines/redis/relay/relay'
import { Routes } from 'tidings/internal/engines/redis/routes'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { askRedis } from '../support/redis.ts'
import { startCluster, type TestCluster } from '../support/redis-cluster.ts'
import { sharedServer } from '../support/shared-servers.ts'
import {
  heldUp,
  keysWith,
  kill,
  message,
  newName,
  openEngine,
  peekAll,
  portWith,
  primariesOf,
  startProcess,
  until,
  whilePaused,
} from './support.ts'

const slow = { timeout: 300_000 }
const numbers = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

const running: ChildProcess[] = []
const engines: RedisEngine[] = []
afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL')
  await Promise.all(engines.splice(0).map((engine) => engine.close()))
})

async function open(url: string): Promise<RedisEngine> {
  const engine = await openEngine(url)
  engines.push(engine)
  return engine
}

function start(script: string, ...args: string[]): ChildProcess {
  const file = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  running.push(child)
  return child
}

const labelsOf = async ({ topics }: RedisEngine, topic: string) =>
  (await topics.read(topic, 0, 1_000)).map(({ data }) => data)

async function deliver(url: string, origin: string, entries: readonly string[]): Promise<void> {
  expect(entries).toHaveLength(2)
  const driver = new Driver(url)
  await driver.open()
  const registry = new Registry(driver, queues)
  const routes = new Routes(driver, registry, new Registry(driver, topics))
  const relay = new Relay(driver, registry, routes, new Correlations(driver))
  await relay.deliver(origin, entries)
  await driver.close()
  relay.close()
}

/** What `XINFO GROUPS` says of a group. */
async function groupOf(port: number, topic: string, name: string): Promise<Record<string, unknown> | undefined> {
  const groups = (await askRedis(port, (redis) =>
    redis.call('XINFO', 'GROUPS', `{tidings:t:${topic}}:log`),
  )) as unknown[][]
  const found = groups.map((list) => {
    const pairs = numbers(0, list.length / 2 - 1).map((at) => [list[2 * at], list[2 * at + 1]])
    return Object.fromEntries(pairs) as Record<string, unknown>
  })
  return found.find((group) => group.name === name)
}

describe.each([
  ['one server', () => sharedServer('redis')],
  ['a Cluster', () => sharedServer('redisCluster')],
] as const)('on %s', (_name, urlOf) => {
  let url: string
  beforeAll(async () => {
    url = await urlOf()
  })

  test('two processes publish 10,000 each on a new topic: no error, no gap, each in its order', slow, async () => {
    const engine = await open(url)
    const topic = newName('published')
    const ends = ['a', 'b'].map((name) => once(start('topic-publisher.mjs', url, topic, name, '10000', '20'), 'exit'))
    const bus = new Bus(engine)
    const got: { offset: number; data: unknown }[] = []
    const follow = bus.topic(topic).subscribe('follower', ({ offset, data }) => void got.push({ offset, data }), {
      from: 'earliest',
    })
    for (const end of ends) expect(await end).toEqual([0, null])
    await bus.topic(topic).subscription('late').create({ from: 'earliest' })
    await follow.drain()
    expect(got.map(({ offset }) => offset)).toEqual(numbers(1, 20_000))
    for (const name of ['a', 'b'])
      expect(got.flatMap(({ data }) => (String(data).startsWith(name) ? [data] : []))).toEqual(
        numbers(1, 10_000).map((number) => `${name}/${number}`),
      )
    const late: unknown[] = []
    for (let after = 0; after < 20_000; after += 1_000)
      late.push(...(await engine.topics.read(topic, after, 1_000)).map(({ data }) => JSON.parse(data)))
    expect(late).toEqual(got.map(({ data }) => data))
    const states = await engine.topics.subscriptions(topic, null)
    expect(states.map(({ subscription, lag }) => [subscription, lag])).toEqual([
      ['follower', 0],
      ['late', 20_000],
    ])
    await engine.topics.dropTopic(topic)
  })

  test('a topic that is dropped leaves nothing behind', async () => {
    const engine = await open(url)
    const { topics } = engine
    const [topic, queue] = [newName('gone'), newName('gone_queue')]
    await topics.createTopic(topic, { description: 'news', retention: { maxAgeMs: 1, maxBytes: null, whenRead: true } })
    await engine.createQueue(queue)
    await engine.bind({ topic, queue })
    await engine.bind({ topic, pattern: `${topic}.#` })
    const dedup = { id: 'd', windowMs: 60_000 }
    await topics.append(topic, [message({ dedup }), message({ dedup }), message()], null)
    await engine.publish([{ ...message(), routingKey: `${topic}.a` }], null)
    await topics.subscribe(topic, 's', 'earliest')
    await topics.hold(topic, 's', 'me', 60_000)
    await topics.ack(topic, 's', 2, null)
    await engine.maintain({ kind: 'due' })
    expect(await topics.dropTopic(topic)).toBe(true)
    await engine.dropQueue(queue)

    for (const port of await primariesOf(url)) {
      expect(await keysWith(port, topic)).toEqual([])
      const left = await askRedis(port, (redis) =>
        Promise.all(['{tidings}:topics', '{tidings}:routes'].map((key) => redis.hkeys(key).catch(() => []))),
      )
      expect(left.flat().filter((name) => name.includes(topic))).toEqual([])
    }
  })

  test('a group of the stream shows where each subscription is', async () => {
    const engine = await open(url)
    const { topics } = engine
    const topic = newName('grouped')
    const port = await portWith(url, `{tidings:t:${topic}}`)
    const shown = async () => {
      const group = await groupOf(port, topic, 's')
      return group && [group['last-delivered-id'], group['entries-read'], group.lag]
    }
    await topics.createTopic(topic, {})
    await topics.subscribe(topic, 's', 'earliest')
    expect(await shown()).toEqual(['0-0', 0, 0])
    await topics.append(
      topic,
      numbers(1, 5).map(() => message()),
      null,
    )
    expect(await shown()).toEqual(['0-0', 0, 5])
    await topics.ack(topic, 's', 3, null)
    expect(await shown()).toEqual(['3-0', 3, 2])
    await topics.seek(topic, null, { back: 1 })
    expect(await shown()).toEqual(['2-0', 2, 3])
    await topics.createTopic(topic, { retention: { maxAgeMs: null, maxBytes: null, whenRead: true } })
    await engine.maintain({ kind: 'due' })
    expect(await shown()).toEqual(['2-0', 2, 3])
    await topics.ack(topic, 's', 5, null)
    await engine.maintain({ kind: 'due' })
    await topics.append(topic, [message()], null)
    expect(await shown()).toEqual(['5-0', 5, 1])
    // Whoever removes it makes no difference but to what is shown.
    await askRedis(port, (redis) => redis.call('XGROUP', 'DESTROY', `{tidings:t:${topic}}:log`, 's'))
    expect(await topics.ack(topic, 's', 6, null)).toBe(true)
    expect(await shown()).toEqual(['6-0', 6, 0])
    await topics.unsubscribe(topic, 's')
    expect(await shown()).toBeUndefined()
    await topics.dropTopic(topic)
  })

  test('other clients read the messages of a topic from its stream', async () => {
    const engine = await open(url)
    const topic = newName('stream')
    await engine.topics.createTopic(topic, {})
    const given = message({
      data: '{ "n": 12345678901234567890, "s": "\\u0041 🚀" }',
      meta: { m: null },
      headers: { h: 'ü' },
    })
    await engine.topics.append(topic, [given], null)
    const port = await portWith(url, `{tidings:t:${topic}}`)
    const entries = await askRedis(port, (redis) => redis.xrange(`{tidings:t:${topic}}:log`, '-', '+'))
    const [[id, fields] = []] = entries
    expect([id, fields?.slice(0, 6)]).toEqual([
      '1-0',
      ['data', given.data, 'meta', '{"m":null}', 'headers', '{"h":"ü"}'],
    ])
    const [read] = await engine.topics.read(topic, 0, 1)
    expect([read?.data, read?.meta, read?.headers]).toEqual([given.data, given.meta, given.headers])
    await engine.topics.dropTopic(topic)
  })

  test('many messages are removed in several steps, and the size is that of what is left', async () => {
    const engine = await open(url)
    const { topics } = engine
    const topic = newName('trimmed')
    await topics.createTopic(topic, {})
    const sizes: number[] = []
    for (let batch = 0; batch < 5; batch++) {
      const messages = numbers(1, 5_000).map((number) => message({ data: String(number) }))
      await topics.append(topic, messages, null)
      const [info] = await topics.listTopics(topic)
      sizes.push(info!.bytes)
    }
    await topics.createTopic(topic, { retention: { maxAgeMs: null, maxBytes: sizes[4]! - sizes[3]!, whenRead: false } })
    await engine.maintain({ kind: 'due' })
    const [info] = await topics.listTopics(topic)
    expect([info!.firstOffset, info!.lastOffset, info!.bytes]).toEqual([20_001, 25_000, sizes[4]! - sizes[3]!])
    const port = await portWith(url, `{tidings:t:${topic}}`)
    expect(await askRedis(port, (redis) => redis.xlen(`{tidings:t:${topic}}:log`))).toBe(5_000)
    await topics.dropTopic(topic)
  })
})

describe('on a Cluster, a process that is killed while it publishes', () => {
  let cluster: TestCluster
  beforeAll(async () => {
    cluster = await startCluster()
  }, 300_000)
  afterAll(() => cluster?.stop())

  /** A name whose keys are on the node of the port, or on any other. */
  async function nameOn(tag: 'q' | 't' | 'c', start: string, fits: (port: number) => boolean): Promise<string> {
    for (;;) {
      const name = newName(start)
      if (fits(await portWith(cluster.url, `{tidings:${tag}:${name}}`))) return name
    }
  }

  /** What comes first is on one node, all others on another one. */
  async function stage(engine: RedisEngine) {
    const first = newName('crash_a')
    const firstPort = await portWith(cluster.url, `{tidings:t:${first}}`)
    const port = (await primariesOf(cluster.url)).find((each) => each !== firstPort)!
    const isThere = (each: number) => each === port
    const second = await nameOn('t', 'crash_b', isThere)
    const [bound, through, both] = [
      await nameOn('q', 'crash_bound', isThere),
      await nameOn('q', 'crash_through', isThere),
      await nameOn('q', 'crash_both', isThere),
    ]
    for (const topic of [first, second]) await engine.topics.createTopic(topic, {})
    for (const queue of [bound, through, both]) await engine.createQueue(queue)
    const link = async () => {
      for (const topic of [first, second]) await engine.bind({ topic, queue: both })
      await engine.bind({ topic: first, queue: through })
      for (const topic of [first, second]) await engine.bind({ topic, pattern: first })
      await engine.bind({ pattern: first, queue: bound })
    }
    const drop = async () => {
      for (const topic of [first, second]) await engine.topics.dropTopic(topic)
      for (const queue of [bound, through, both]) await engine.dropQueue(queue)
    }
    return { first, second, bound, through, both, port, link, drop }
  }

  test('upkeep brings the other copies to topics and queues, each once', slow, async () => {
    const engine = await open(cluster.url)
    const { first, second, bound, through, both, port, link, drop } = await stage(engine)
    await link()
    await engine.bind({ pattern: '*', queue: both })
    await whilePaused(port, async () => {
      const child = startProcess(cluster.url, 'publish', first)
      await until(async () => (await heldUp(port)) > 0, 'the second copy is held up')
      await kill(child)
    })
    const given = '{"from":"the process"}'
    expect(await labelsOf(engine, first)).toEqual([given])
    expect(await labelsOf(engine, second)).toEqual([])
    await delay(1_100)
    const outbox = `{tidings:t:${first}}:outbox`
    const entries = await askRedis(await portWith(cluster.url, outbox), (redis) => redis.hgetall(outbox))
    await Promise.all([engine.maintain({ kind: 'due' }), engine.maintain({ kind: 'due' })])
    // Somebody who read the entry in time comes too late.
    await deliver(cluster.url, `t:${first}`, Object.entries(entries).flat())
    for (const topic of [first, second]) expect(await labelsOf(engine, topic)).toEqual([given])
    for (const queue of [bound, through, both])
      expect((await peekAll(engine, queue)).map(({ data, meta }) => [data, meta.queue_name])).toEqual([[given, queue]])
    await drop()
  })

  test('what was a duplicate in a topic goes into no queue by it, after the crash either', slow, async () => {
    const engine = await open(cluster.url)
    const { first, second, bound, through, both, port, link, drop } = await stage(engine)
    const dedup = { id: 'crash', windowMs: 60_000 }
    const correlationId = await nameOn('c', 'correlation', (each) => each !== port)
    await engine.topics.append(first, [message({ data: '"before"', dedup })], null)
    await link()
    await whilePaused(port, async () => {
      const child = startProcess(cluster.url, 'publishOnce', first, dedup.id, correlationId)
      await until(async () => (await heldUp(port)) > 0, 'the second copy is held up')
      await kill(child)
    })
    await delay(1_100)
    await Promise.all([engine.maintain({ kind: 'due' }), engine.maintain({ kind: 'due' })])
    const counts = await Promise.all([bound, through, both].map(async (queue) => (await peekAll(engine, queue)).length))
    expect(counts).toEqual([1, 0, 1])
    expect(await labelsOf(engine, first)).toEqual(['"before"'])
    expect(await labelsOf(engine, second)).toHaveLength(1)
    const state = await engine.correlation(correlationId)
    expect(state?.queues.map(({ queue, pending }) => [queue, pending])).toEqual([
      [both, 1],
      [bound, 1],
    ])
    await drop()
  })
})
