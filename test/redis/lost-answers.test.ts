import type { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startRedis, type TestRedis } from '../support/redis.ts'
import { type LossyProxy, startProxy } from './proxy.ts'
import { claimAll, message, newName, openEngine, peekAll } from './support.ts'

/** Of this file alone, since its upkeep is hasty. */
let server: TestRedis
let proxy: LossyProxy
/** Behind the proxy, and beside it. */
let engine: RedisEngine
let other: RedisEngine
let name: string

beforeAll(async () => {
  server = await startRedis()
  proxy = await startProxy(server.port)
  other = await openEngine(server.url)
})
afterAll(async () => {
  await other?.close()
  proxy?.close()
  await server?.stop()
})
beforeEach(async () => {
  engine = await openEngine(proxy.url)
  name = newName('lost')
  await engine.createQueue(name)
  await engine.topics.createTopic(name, {})
  await engine.bind({ pattern: name, queue: name })
  await engine.bind({ topic: name, queue: name })
  await engine.topics.subscribe(name, 'all', 'earliest')
})
afterEach(async () => {
  await engine.close()
  await other.dropQueue(name)
  await other.topics.dropTopic(name)
  await other.maintain({ kind: 'due' })
})

const unknown = { code: 'OUTCOME_UNKNOWN', retryable: true }

test('a drop is not repeated: what others have stored in a new queue of the name stays', async () => {
  await engine.send(name, [message()], null)
  let sent: unknown
  proxy.loseAnswerTo(`{tidings:q:${name}}:shelf`, async () => {
    await other.createQueue(name)
    sent = (await other.send(name, [message()], null))[0]
  })
  await expect(engine.dropQueue(name)).rejects.toMatchObject(unknown)
  expect(await peekAll(other, name)).toMatchObject([{ id: (sent as { id: string }).id }])
})

test('nor is that of a topic', async () => {
  proxy.loseAnswerTo(`{tidings:t:${name}}:log`, async () => {
    await other.topics.createTopic(name, {})
    await other.topics.append(name, [message({ data: '"new"' })], null)
  })
  await expect(engine.topics.dropTopic(name)).rejects.toMatchObject(unknown)
  expect(await other.topics.read(name, 0, 10)).toMatchObject([{ data: '"new"' }])
})

test('upkeep finishes a drop whose answer was lost', async () => {
  for (const [key, drop] of [
    [`{tidings:q:${name}}:shelf`, () => engine.dropQueue(name)],
    [`{tidings:t:${name}}:log`, () => engine.topics.dropTopic(name)],
  ] as const) {
    proxy.loseAnswerTo(key)
    await expect(drop()).rejects.toMatchObject(unknown)
  }
  await other.maintain({ kind: 'due' })
  await other.createQueue(name)
  await other.topics.createTopic(name, {})
  expect(await other.bindings(name)).toEqual([])
  expect(await other.topics.listTopics(name)).toMatchObject([{ queues: [] }])
})

test.each([
  [
    'unbind',
    () => engine.unbind({ pattern: name, queue: name }),
    () => other.bind({ pattern: name, queue: name }),
    async () => (await other.bindings(name)).length,
  ],
  [
    'unlink',
    () => engine.unbind({ topic: name, queue: name }),
    () => other.bind({ topic: name, queue: name }),
    async () => (await other.topics.listTopics(name))[0]!.queues.length,
  ],
  [
    'unsubscribe',
    () => engine.topics.unsubscribe(name, 'all'),
    () => other.topics.subscribe(name, 'all', 'earliest'),
    async () => (await other.topics.subscriptions(name, null)).length,
  ],
])('%s is not repeated: what others have made anew stays', async (what, remove, make, count) => {
  let made: boolean | undefined
  proxy.loseAnswerTo(what === 'unsubscribe' ? `{tidings:t:${name}}:log` : '{tidings}:routes', async () => {
    made = await make()
  })
  await expect(remove()).rejects.toMatchObject(unknown)
  expect([made, await count()]).toEqual([true, 1])
})

test('what creates is repeated, and knows what it has made itself', async () => {
  const more = `${name}_more`
  const create = [
    [`{tidings:q:${more}}:meta`, () => engine.createQueue(more)],
    [`{tidings:t:${more}}:meta`, () => engine.topics.createTopic(more, {})],
    ['{tidings}:routes', () => engine.bind({ pattern: 'More', queue: more })],
    ['{tidings}:routes', () => engine.bind({ topic: more, queue: more })],
    [`{tidings:t:${more}}:log`, () => engine.topics.subscribe(more, 's', 'latest')],
  ] as const
  for (const [key, make] of create) {
    proxy.loseAnswerTo(key)
    expect([key, await make()]).toEqual([key, true])
  }
  for (const [key, make] of create) expect([key, await make()]).toEqual([key, false])
  await other.dropQueue(more)
  await other.topics.dropTopic(more)
})

test('a claim that is repeated gives the same messages, which were read once', async () => {
  const before = await engine.send(name, [message(), message(), message(), message()], null)
  const [held] = await other.pop(name, 1)
  expect(held?.id).toBe(before[0]!.id)
  proxy.loseAnswerTo(`{tidings:q:${name}}:leased`)
  const messages = await claimAll(engine, name, 2)
  expect(messages.map(({ id, readCount }) => [id, readCount])).toEqual([
    [before[1]!.id, 1],
    [before[2]!.id, 1],
  ])
  expect(await other.stats(name)).toMatchObject({ leased: 2, ready: 1 })
  const endings = messages.map(({ id, receipt }) => ({ id, receipt: receipt!, kind: 'delete' }) as const)
  expect(await engine.settle(name, endings)).toMatchObject([{ settled: true }, { settled: true }])
})

test('tasks that are announced twice are not withdrawn', async () => {
  const tracked = { correlationId: newName('c'), completionQueue: null }
  proxy.loseAnswerTo(`{tidings:q:${name}}:outbox`)
  await expect(engine.send(name, [message({ tracked })], null)).rejects.toMatchObject(unknown)
  expect(await peekAll(other, name)).toEqual([])
  await engine.send(name, [message({ tracked })], null)
  const hasty = await openEngine(proxy.url, { intentMs: 0 })
  await hasty.maintain({ kind: 'due' })
  await hasty.close()
  expect((await other.correlation(tracked.correlationId))?.queues).toMatchObject([{ pending: 1 }])
})
