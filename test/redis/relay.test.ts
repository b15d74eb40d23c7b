import { pairsOf } from 'tidings/internal/engines/redis/calling'
import { Correlations, type Reached } from 'tidings/internal/engines/redis/correlations'
import { Driver } from 'tidings/internal/engines/redis/driver'
import { destinationKey, keysOf, newNonce, topicDestination } from 'tidings/internal/engines/redis/keys'
import { toSettlement } from 'tidings/internal/engines/redis/messages'
import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { queues, Registry, topics } from 'tidings/internal/engines/redis/registry'
import { deliveryId } from 'tidings/internal/engines/redis/relay/outbox'
import { Relay } from 'tidings/internal/engines/redis/relay/relay'
import { Routes } from 'tidings/internal/engines/redis/routes'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { askRedis } from '../support/redis.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, newName, openEngine, peekAll, portWith, until } from './support.ts'

/** A process that delivers outbox entries, and one that was held up until all of it was done and forgotten. */
let url: string
let engine: RedisEngine
let driver: Driver
let registry: Registry
let correlations: Correlations
let routes: Routes
let punctual: Relay
let names: string[]

beforeAll(async () => {
  url = await sharedServer('redisCluster')
  engine = await openEngine(url)
  driver = new Driver(url)
  await driver.open()
  registry = new Registry(driver, queues)
  correlations = new Correlations(driver)
  routes = new Routes(driver, registry, new Registry(driver, topics))
  punctual = new Relay(driver, registry, routes, correlations, 1)
})
afterAll(async () => {
  punctual?.close()
  await driver?.close()
  await engine?.close()
})
beforeEach(async () => {
  names = ['a', 'b', 'c'].map((letter) => newName(`relay_${letter}`))
  for (const name of names) await engine.createQueue(name)
})

const untilForgotten = (...destinations: string[]) =>
  until(async () => {
    const keys = destinations.map((destination) => destinationKey(destination, 'inbox'))
    return (await Promise.all(keys.map((key) => driver.call(key, ['EXISTS', key])))).every((count) => count === 0)
  }, 'it is forgotten what came')

const overtaken = { code: 'OUTCOME_UNKNOWN', hint: expect.stringContaining('do not repeat it') }

/** Ends a lease and does not deliver the outbox entries. */
async function settle(queue: string, ending: object): Promise<string[]> {
  const [leased] = await claimAll(engine, queue)
  const { id, receipt } = leased!
  const list = JSON.stringify([toSettlement({ id, receipt: receipt!, ...ending } as never, () => 0)])
  const answer = await driver.run('settle', keysOf(queue), [newNonce(), list], { repeatable: false })
  return (answer as [string[], string[]])[1]
}

test.each(['queues', 'topics'])('copies come once to %s, however late the publisher goes on', async (kind) => {
  const pattern = newName('Late')
  const [, ...others] = names
  const destinations = kind === 'queues' ? others : others.map(topicDestination)
  for (const name of names)
    if (kind === 'queues') await engine.bind({ pattern, queue: name })
    else {
      await engine.topics.createTopic(name, {})
      await engine.bind({ topic: name, pattern })
    }
  let goOn = () => {}
  const held = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let toldOf = (_origin: string, _entries: readonly string[]) => {}
  const written = new Promise<readonly [string, readonly string[]]>((resolve) => {
    toldOf = (...posted) => resolve(posted)
  })
  class HeldUp extends Relay {
    override async deliver(origin: string, list: readonly string[]) {
      if (list.length > 0) {
        toldOf(origin, list)
        await held
      }
      return super.deliver(origin, list)
    }
  }
  const late = new HeldUp(driver, registry, routes, correlations)
  const published = late.publish([{ ...message(), routingKey: pattern }])
  await punctual.deliver(...(await written))
  await untilForgotten(...destinations)
  const refused = expect(published).rejects.toMatchObject(overtaken)
  goOn()
  await refused
  const counts = names.map(async (name) =>
    kind === 'queues' ? (await peekAll(engine, name)).length : (await engine.topics.read(name, 0, 10)).length,
  )
  expect(await Promise.all(counts)).toEqual([1, 1, 1])
  for (const name of names) await engine.topics.dropTopic(name)
  late.close()
})

test('a moved message comes once, and its task is where it was moved to last', async () => {
  const [from, to] = names as [string, string]
  const tracked = { correlationId: newName('c'), completionQueue: null }
  await engine.send(from, [message({ tracked })], null)
  const entries = await settle(from, { kind: 'move', to, delayMs: 0, meta: { dead_lettered_at: 'now' } })
  await punctual.deliver(from, entries)
  await punctual.deliver(to, await settle(to, { kind: 'move', to: from, delayMs: 0, meta: { dead_lettered_at: null } }))
  await untilForgotten(from, to)
  const before = await engine.correlation(tracked.correlationId)
  await expect(punctual.deliver(from, entries)).rejects.toMatchObject(overtaken)
  expect([(await peekAll(engine, from)).length, (await peekAll(engine, to)).length]).toEqual([1, 0])
  expect(before?.queues).toMatchObject([{ queue: from, pending: 1, dead: 0 }, ...before!.queues.slice(1)])
  expect(await engine.correlation(tracked.correlationId)).toEqual(before)
})

test('a moved message does not come again into a new queue of the name', async () => {
  const [from, to] = names as [string, string]
  await engine.send(from, [message()], null)
  const entries = await settle(from, { kind: 'move', to, delayMs: 0, meta: {} })
  await punctual.deliver(from, entries)
  await engine.dropQueue(to)
  await expect(punctual.deliver(from, entries)).rejects.toMatchObject(overtaken)
  await expect(engine.stats(to)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
  await engine.createQueue(to)
  await expect(punctual.deliver(from, entries)).rejects.toMatchObject(overtaken)
  expect(await peekAll(engine, to)).toEqual([])
})

test('an entry that is on its way comes, even if others that were made later are forgotten', async () => {
  const [from, to] = names as [string, string]
  await engine.send(from, [message()], null)
  const older = await settle(from, { kind: 'move', to, delayMs: 0, meta: { older: true } })
  await engine.send(from, [message()], null)
  await punctual.deliver(from, await settle(from, { kind: 'move', to, delayMs: 0, meta: { older: false } }))
  await untilForgotten(to)
  await punctual.deliver(from, older)
  expect((await peekAll(engine, to)).map(({ meta }) => meta.older)).toEqual([false, true])
})

test('a completion is told once', async () => {
  const [queue, done] = names as [string, string]
  const tracked = { correlationId: newName('c'), completionQueue: done }
  await engine.send(queue, [message({ tracked })], null)
  const entries = await settle(queue, { kind: 'delete' })
  let goOn = () => {}
  const held = new Promise<void>((resolve) => {
    goOn = resolve
  })
  let isAsked = () => {}
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve
  })
  class HeldUp extends Correlations {
    override async tell(...told: Parameters<Correlations['tell']>): Promise<Reached[]> {
      const ended = await super.tell(...told)
      isAsked()
      await held
      return ended
    }
  }
  const late = new Relay(driver, registry, routes, new HeldUp(driver))
  const delivered = late.deliver(queue, entries)
  await asked
  await punctual.deliver(queue, entries)
  await untilForgotten(done)
  goOn()
  await delivered
  expect(await peekAll(engine, done)).toHaveLength(1)
  late.close()
})

test('upkeep forgets what came long ago only if it is gone from where it came from', async () => {
  const [from, to] = names as [string, string]
  await engine.send(from, [message()], null)
  const entries = await settle(from, { kind: 'move', to, delayMs: 0, meta: {} })
  const [id] = entries
  const here = deliveryId(id!, from)
  const gone = deliveryId(`${id}x`, from)
  const key = destinationKey(to, 'inbox')
  await askRedis(await portWith(url, key), (redis) => redis.hset(key, here, '1 +first', gone, '1 +second'))
  const other = await openEngine(url)
  await other.maintain({ kind: 'due' })
  await other.close()
  expect(await driver.call(key, ['HKEYS', key])).not.toContain(gone)
  // Upkeep may have been at it already.
  await punctual.deliver(from, entries).catch(() => {})
  expect(await peekAll(engine, to)).toEqual([])
})

test('an entry of an older version is delivered: the stored names stay', async () => {
  const [from, to, other] = names as [string, string, string]
  const topic = newName('relay_topic')
  await engine.topics.createTopic(topic, {})
  const incarnationOf = async (key: string) => (await driver.call(key, ['HGET', key, 'incarnation'])) as string
  const made = (Date.now() - 2_000).toString(36).padStart(9, '0')
  const copies = {
    kind: 'copies',
    topics: [],
    queues: [from, other].map((name) => ({ name, incarnation: '', messages: [0], through: [] })),
    messages: [['{"queue_name":"', '{}', '{"h":1}', '"copy"', '']],
    results: ['+first'],
  }
  copies.queues[1]!.incarnation = await incarnationOf(`{tidings:q:${other}}:meta`)
  const inTopic = {
    ...copies,
    topics: [from, topic].map((name) => ({ name, incarnation: '', messages: [0] })),
    queues: [],
  }
  const move = { kind: 'move', to, body: '[{"queue_name":"a"},{}]\n"moved"', options: { s: 1, d: 0, p: 4 } }
  const outbox = `{tidings:q:${from}}:outbox`
  const entries = { [`${made}-a-0`]: move, [`${made}-b-copies`]: copies, [`${made}-c-copies`]: inTopic }
  for (const [id, entry] of Object.entries(entries))
    await driver.call(outbox, ['HSET', outbox, id, JSON.stringify(entry)])
  await engine.maintain({ kind: 'due' })
  const moved = { data: '"moved"', meta: { queue_name: 'a' }, priority: 4, sentAt: 1 }
  expect(await peekAll(engine, to)).toMatchObject([moved])
  const copied = { data: '"copy"', meta: { queue_name: other }, headers: { h: 1 } }
  expect(await peekAll(engine, other)).toMatchObject([copied])
  expect(await engine.topics.read(topic, 0, 10)).toMatchObject([{ data: '"copy"', meta: {}, headers: { h: 1 } }])
  expect(await driver.call(outbox, ['EXISTS', outbox])).toBe(0)
  const inboxes = [
    [`{tidings:q:${to}}:taken`, `${made}-a-0@${from}`],
    [`{tidings:q:${other}}:taken`, `${made}-b-copies/0@${from}`],
    [`{tidings:t:${topic}}:taken`, `${made}-c-copies/0@${from}`],
  ] as const
  for (const [key, delivery] of inboxes) expect(await driver.call(key, ['HGET', key, delivery])).toMatch(/^\d+ \+\w+$/)
  await engine.topics.dropTopic(topic)
})

test('an entry that cannot be delivered holds up no other one, and stays', async () => {
  const [from, to] = names as [string, string]
  const made = (Date.now() - 2_000).toString(36).padStart(9, '0')
  const outbox = `{tidings:q:${from}}:outbox`
  const move = { kind: 'move', to, body: '[{},{}]\n"moved"', options: { s: 1, d: 0 } }
  const unreadable = { [`${made}-a-0`]: '{"kind":"later"}', [`${made}-b-0`]: 'no JSON', [`${made}-c-0`]: 'null' }
  const entries = { ...unreadable, [`${made}-d-0`]: JSON.stringify(move) }
  await driver.call(outbox, ['HSET', outbox, ...Object.entries(entries).flat()])
  await engine.maintain({ kind: 'due' })
  expect((await peekAll(engine, to)).map(({ data }) => data)).toEqual(['"moved"'])
  const left = (await driver.call(outbox, ['HGETALL', outbox])) as string[]
  expect(Object.fromEntries(pairsOf(left))).toEqual(unreadable)
  await driver.call(outbox, ['DEL', outbox])
})
