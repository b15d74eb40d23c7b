import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { RedisSource } from 'tidings/internal/engines/redis/driver'
import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { defineConformance, type Harness } from 'tidings-testkit'
import { beforeAll, describe, expect, test } from 'vitest'
import { runner, withUpkeepInTurn } from './support/conformance.ts'
import { askRedis } from './support/redis.ts'
import { sharedServer } from './support/shared-servers.ts'

/** Opens an engine. Several share one server. */
async function open(source: RedisSource): Promise<RedisEngine> {
  const engine = new RedisEngine(source)
  await engine.open()
  return withUpkeepInTurn(engine)
}

function harness(name: string, source: RedisSource, skips: Harness['skips'] = {}): Harness {
  return {
    name,
    supports: ['durable', 'topics'],
    createEngine: () => open(source),
    secondEngine: () => open(source),
    // The server's clock runs like ours, but timers may be early by a millisecond.
    passTime: (_engine, milliseconds) => wait(milliseconds + 5),
    skips,
  }
}

const redis = await sharedServer('redis')
defineConformance(runner, harness('Redis', redis))
const valkey = await sharedServer('valkey')
if (valkey === '') test.skip('Valkey (its package cannot be had here)', () => {})
else defineConformance(runner, harness('Valkey', valkey))

defineConformance(
  runner,
  harness('a Redis Cluster', await sharedServer('redisCluster'), {
    'routing: all copies appear at once': 'queues are in several slots: all copies come, but one after the other',
    'topic routing: all copies appear at once': 'the same with topics',
  }),
)

/** What the page gives to applications. */
const rights = /^ACL SETUSER app ([\s\S]*?)```/m.exec(readFileSync('docs/engines/redis.md', 'utf8'))![1]!

describe("with few rights, by the application's client", () => {
  const url = new URL(redis)
  const user = 'app-of-the-tests'
  const client = new Redis({ port: Number(url.port), username: user, password: 'secret', lazyConnect: true })
  beforeAll(async () => {
    await askRedis(Number(url.port), (redis) => redis.call('ACL', 'SETUSER', user, ...rights.trim().split(/\s+/)))
  })
  defineConformance(runner, harness('Redis', { client }))

  test('nothing was refused', async () => {
    const log = await askRedis(Number(url.port), (redis) => redis.call('ACL', 'LOG'))
    expect((log as string[][]).filter((entry) => entry.includes(user))).toEqual([])
  })
})
