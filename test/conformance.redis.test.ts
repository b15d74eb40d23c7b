import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { defineConformance } from 'tidings-testkit'
import { beforeAll, describe, expect, test } from 'vitest'
import { runner } from './support/conformance.ts'
import { redisHarness } from './support/harnesses.ts'
import { askRedis } from './support/redis.ts'
import { sharedServer } from './support/shared-servers.ts'

const redis = await sharedServer('redis')
defineConformance(runner, redisHarness('Redis', redis))
defineConformance(
  runner,
  redisHarness('a Redis Cluster', await sharedServer('redisCluster'), {
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
  defineConformance(runner, redisHarness('Redis', { client }))

  test('nothing was refused', async () => {
    const log = await askRedis(Number(url.port), (redis) => redis.call('ACL', 'LOG'))
    expect((log as string[][]).filter((entry) => entry.includes(user))).toEqual([])
  })
})
