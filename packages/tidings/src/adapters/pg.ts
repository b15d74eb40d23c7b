import { adapter, isFunction, rowsOf } from './adapter.ts'

/** A Client or PoolClient of `pg` after BEGIN, or any object that has this method. */
export interface PgTransaction {
  query(text: string, values: unknown[]): PromiseLike<{ rows: unknown[] }>
}

interface PgClient extends PgTransaction {
  /** Newer versions of pg; 'I' is idle. */
  getTransactionStatus?(): string | null
  /** False while something is under way, BEGIN perhaps. */
  readonly readyForQuery?: boolean
  /** Only a pool has it. */
  readonly idleCount?: number
}

export const pg = adapter<PgClient>({
  library: 'pg',
  fits: (candidate) => isFunction(candidate.query),
  isOpen: (tx) => tx.idleCount === undefined && !(tx.readyForQuery === true && tx.getTransactionStatus?.() === 'I'),
  query: async (tx, text, values) => rowsOf(await tx.query(text, [...values])),
})
