import { setTimeout as wait } from 'node:timers/promises'
import pg from 'pg'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { defineConformance, type Harness } from 'tidings-testkit'
import type { SharedServer } from './support/broker.ts'
import { runner, withUpkeepInTurn } from './support/conformance.ts'
import { sharedServer } from './support/shared-servers.ts'

/** Opens an engine. Several share one server, and one database of it. */
async function open(url: string): Promise<PostgresEngine> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  return withUpkeepInTurn(engine)
}

async function harness(name: string, server: SharedServer): Promise<Harness> {
  const url = await sharedServer(server)
  return {
    name,
    supports: ['transactions', 'durable', 'events', 'topics'],
    createEngine: () => open(url),
    secondEngine: () => open(url),
    // The server's clock runs like ours, but timers may be early by a millisecond.
    passTime: (_engine, milliseconds) => wait(milliseconds + 5),
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

defineConformance(runner, await harness('PostgreSQL 15', 'postgres15'))
defineConformance(runner, await harness('PostgreSQL 18', 'postgres18'))
