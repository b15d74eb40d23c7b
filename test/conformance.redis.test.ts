import { setTimeout as wait } from 'node:timers/promises'
import { beforeAll, describe, inject, test } from 'vitest'
import { RedisEngine } from '../src/engines/redis/redis.ts'
import { defineConformance, type Harness } from '../src/testkit/index.ts'
import { readyCluster } from './support/redis-cluster.ts'

/** Opens an engine. Several share one server. */
async function open(url: string): Promise<RedisEngine> {
  const engine = new RedisEngine(url)
  await engine.open()
  return engine
}

function harness(name: string, url: string, skips: Harness['skips'] = {}): Harness {
  return {
    name,
    supports: ['durable'],
    createEngine: () => open(url),
    secondEngine: () => open(url),
    // The server's clock runs like ours, but timers may be early by a millisecond.
    passTime: (_engine, milliseconds) => wait(milliseconds + 5),
    skips,
  }
}

const runner = { describe, test, skip: (name: string, reason: string) => test.skip(`${name} (${reason})`, () => {}) }

defineConformance(runner, harness('Redis', inject('redis')))
defineConformance(runner, harness('Valkey', inject('valkey')))

describe('on a Cluster', () => {
  beforeAll(() => readyCluster(inject('redisCluster')))
  defineConformance(
    runner,
    harness('a Redis Cluster', inject('redisCluster'), {
      'routing: all copies appear at once': 'queues are in several slots: all copies come, but one after the other',
    }),
  )
})
