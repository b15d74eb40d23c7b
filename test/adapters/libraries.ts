import { drizzle as drizzlePg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzlePostgresJs } from 'drizzle-orm/postgres-js'
import createKnex from 'knex'
import { CamelCasePlugin, CompiledQuery, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import type { AnyTransaction } from 'tidings/internal/adapters/recognise'
import { DataSource } from 'typeorm'
import { openPrisma } from './prisma-client.ts'

/** One way by which an application has its transactions. */
export interface Library {
  readonly name: string
  open(url: string): Promise<Opened>
}

export interface Opened {
  /** Commits, or rolls back if `work` rejects. `run` carries out a statement of the application in the transaction. */
  transaction<T>(work: (tx: AnyTransaction, run: (text: string) => Promise<unknown>) => Promise<T>): Promise<T>
  /** Connections of the library that are in no transaction. */
  readonly outside: readonly unknown[]
  close(): Promise<void>
}

const openPool = (url: string) => new pg.Pool({ connectionString: url, max: 2 })

export const libraries: readonly Library[] = [
  {
    name: 'pg',
    async open(url) {
      const pool = openPool(url)
      const idle = await pool.connect()
      return {
        async transaction(work) {
          const client = await pool.connect()
          try {
            await client.query('BEGIN')
            const result = await work(client, (text) => client.query(text))
            await client.query('COMMIT')
            return result
          } catch (error) {
            await client.query('ROLLBACK')
            throw error
          } finally {
            client.release()
          }
        },
        outside: [pool, idle],
        async close() {
          idle.release()
          await pool.end()
        },
      }
    },
  },
  {
    name: 'postgres.js',
    async open(url) {
      const sql = postgres(url, { max: 2, onnotice: () => {} })
      return {
        transaction: (work) => sql.begin((tx) => work(tx, async (text) => tx.unsafe(text))) as ReturnType<typeof work>,
        outside: [sql],
        close: () => sql.end(),
      }
    },
  },
  {
    name: 'postgres.js, a savepoint',
    async open(url) {
      const sql = postgres(url, { max: 2, onnotice: () => {}, transform: postgres.camel })
      return {
        transaction: (work) =>
          sql.begin((outer) => outer.savepoint((tx) => work(tx, async (text) => tx.unsafe(text)))) as ReturnType<
            typeof work
          >,
        outside: [],
        close: () => sql.end(),
      }
    },
  },
  {
    name: 'Drizzle on node-postgres',
    async open(url) {
      const client = openPool(url)
      const db = drizzlePg({ client })
      return {
        transaction: (work) => db.transaction((tx) => work(tx, (text) => tx.execute(text))),
        outside: [db],
        close: () => client.end(),
      }
    },
  },
  {
    name: 'Drizzle on postgres.js',
    async open(url) {
      const client = postgres(url, { max: 2, onnotice: () => {} })
      const db = drizzlePostgresJs({ client })
      return {
        transaction: (work) => db.transaction((tx) => work(tx, async (text) => tx.execute(text))),
        outside: [db],
        close: () => client.end(),
      }
    },
  },
  {
    name: 'Kysely',
    async open(url) {
      const dialect = new PostgresDialect({ pool: openPool(url) })
      const db = new Kysely<object>({ dialect, plugins: [new CamelCasePlugin()] })
      return {
        transaction: (work) =>
          db.transaction().execute((trx) => work(trx, (text) => trx.executeQuery(CompiledQuery.raw(text)))),
        outside: [db],
        close: () => db.destroy(),
      }
    },
  },
  {
    name: 'Knex',
    async open(url) {
      const knex = createKnex({ client: 'pg', connection: url, pool: { min: 0, max: 2 } })
      return {
        transaction: (work) => knex.transaction((trx) => work(trx, async (text) => trx.raw(text))),
        outside: [knex],
        close: () => knex.destroy(),
      }
    },
  },
  {
    name: 'TypeORM',
    async open(url) {
      const source = await new DataSource({ type: 'postgres', url, poolSize: 2 }).initialize()
      return {
        transaction: (work) => source.transaction((manager) => work(manager, (text) => manager.query(text))),
        outside: [source, source.manager, source.createQueryRunner()],
        close: () => source.destroy(),
      }
    },
  },
  {
    name: 'TypeORM, a query runner',
    async open(url) {
      const source = await new DataSource({ type: 'postgres', url, poolSize: 2 }).initialize()
      return {
        async transaction(work) {
          const runner = source.createQueryRunner()
          await runner.startTransaction()
          try {
            const result = await work(runner, (text) => runner.query(text))
            await runner.commitTransaction()
            return result
          } catch (error) {
            await runner.rollbackTransaction()
            throw error
          } finally {
            await runner.release()
          }
        },
        outside: [],
        close: () => source.destroy(),
      }
    },
  },
  {
    name: 'Prisma',
    async open(url) {
      const prisma = openPrisma(url)
      return {
        transaction: (work) => prisma.$transaction((tx) => work(tx, (text) => tx.$executeRawUnsafe(text))),
        outside: [prisma],
        close: () => prisma.$disconnect(),
      }
    },
  },
]
