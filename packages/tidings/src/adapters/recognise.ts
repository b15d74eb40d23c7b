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

/** Makes an object stand for a transaction of the engine's own, as the application gets it. */
export const standFor = (object: object, transaction: Transaction) => void known.set(object, transaction)

/** The `parse` of an option that takes a transaction. @throws TYPE */
export function parseTransaction(value: unknown, path: string): Transaction {
  const { library, open, transaction } = recognise(value) ?? refuse(path, value)
  if (open) return transaction
  const text = `${path} is of ${library}, but no open transaction: what it sends would be stored at once`
  throw new TidingsError('TYPE', text, {
    details: { field: path },
    hint: 'Pass the transaction itself, not the connection, pool or client that it was begun on.',
  })
}

function refuse(path: string, value: unknown): never {
  throw typeError(path, value, accepted)
}

/**
 * What an object of the application is. In a transaction it takes one statement after the other.
 * @returns null for one of no library that is known
 */
export function recognise(value: unknown): Recognised | null {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  if (!isObject) return null
  for (const adapter of adapters) {
    const recognised = adapter(value as Candidate)
    if (recognised) return recognised.open ? inItsTurn(value as object, recognised) : recognised
  }
  return null
}

function inItsTurn(tx: object, recognised: Recognised): Recognised {
  const transaction = known.get(tx) ?? inTurn(recognised.transaction)
  known.set(tx, transaction)
  return { ...recognised, transaction }
}
