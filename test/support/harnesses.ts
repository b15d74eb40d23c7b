import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { RedisSource } from 'tidings/internal/engines/redis/driver'
import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import type { Engine } from 'tidings/internal/port/engine'
import type { Harness } from 'tidings-testkit'
import { reusedEngines, withUpkeepInTurn } from './conformance.ts'

/** The server's clock runs like ours, but timers may be early by a millisecond. */
const passTime = (_engine: Engine, milliseconds: number) => wait(milliseconds + 5)

/** Opens an engine. Several share one server, and one database of it. */
async function openPostgres(url: string): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  return withUpkeepInTurn(engine)
}

export function postgresHarness(name: string, url: string): Harness {
  return {
    name,
    supports: ['transactions', 'durable', 'events', 'topics', 'limits', 'schedules'],
    ...reusedEngines(() => openPostgres(url)),
    passTime,
    async transaction(_engine, work) {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      try {
        await client.query('BEGIN')
        const result = await work({ query: (text, values) => client.query(text, [...values]) })
        await client.query('COMMIT')
        return result
      } catch (error) {
        await client.query('ROLLBACK')
        throw error
      } finally {
        await client.end()
      }
    },
  }
}

async function openRedis(source: RedisSource): Promise<RedisEngine> {
  const engine = new RedisEngine(source)
  await engine.open()
  return withUpkeepInTurn(engine)
}

export function redisHarness(name: string, source: RedisSource, skips: Harness['skips'] = {}): Harness {
  return {
    name,
    supports: ['durable', 'topics', 'limits', 'schedules'],
    ...reusedEngines(() => openRedis(source)),
    passTime,
    skips,
  }
}
