import { TidingsError } from '../core/errors.ts'
import { typeError } from '../core/options.ts'
import type { Transaction } from '../port/engine.ts'
import { inTurn } from '../port/in-turn.ts'
import type { Adapter, Candidate, Recognised } from './adapter.ts'
import { type DrizzleTransaction, drizzle } from './drizzle.ts'
import { type KnexTransaction, knex } from './knex.ts'
import { type KyselyTransaction, kysely } from './kysely.ts'
import { type PgTransaction, pg } from './pg.ts'
import { type PostgresJsTransaction, postgresJs } from './postgres-js.ts'
import { type PrismaTransaction, prisma } from './prisma.ts'
import { type TypeOrmTransaction, typeOrm } from './typeorm.ts'

/** The application's open transaction, as its own library has it. */
export type AnyTransaction =
  | Transaction
  | PgTransaction
  | PostgresJsTransaction
  | DrizzleTransaction
  | KyselyTransaction
  | KnexTransaction
  | TypeOrmTransaction
  | PrismaTransaction

/** From the most telling structure to the least: nearly everything has a `query`. */
const adapters: readonly Adapter[] = [prisma, kysely, knex, postgresJs, drizzle, typeOrm, pg]

const accepted =
  'an open transaction of pg, postgres.js, Drizzle, Kysely, Knex, TypeORM or Prisma, ' +
  'or an object with query(text, values) => Promise<{ rows }>'

const known = new WeakMap<object, Transaction>()

/** The `parse` of an option that takes a transaction. @throws TYPE */
export function parseTransaction(value: unknown, path: string): Transaction {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  if (!isObject) throw typeError(path, value, accepted)
  const before = known.get(value as object)
  const recognised = recognise(value as Candidate)
  if (!recognised) throw typeError(path, value, accepted)
  if (!recognised.open) {
    const text = `${path} is of ${recognised.library}, but no open transaction: what it sends would be stored at once`
    throw new TidingsError('TYPE', text, {
      details: { field: path },
      hint: 'Pass the transaction itself, not the connection, pool or client that it was begun on.',
    })
  }
  const transaction = before ?? inTurn(recognised.transaction)
  known.set(value as object, transaction)
  return transaction
}

function recognise(candidate: Candidate): Recognised | null {
  for (const adapter of adapters) {
    const recognised = adapter(candidate)
    if (recognised) return recognised
  }
  return null
}
