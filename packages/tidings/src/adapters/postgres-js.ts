import { adapter, isFunction, rowsOf } from './adapter.ts'

/** The `sql` that postgres.js passes to `sql.begin(…)`, or a reserved one after BEGIN. */
export interface PostgresJsTransaction {
  unsafe(text: string, values: never[]): PromiseLike<readonly unknown[]>
}

interface PostgresJsSql {
  unsafe(text: string, values: readonly unknown[]): PromiseLike<readonly unknown[]>
  readonly savepoint?: unknown
  readonly release?: unknown
}

export const postgresJs = adapter<PostgresJsSql>({
  library: 'postgres.js',
  fits: (candidate) => isFunction(candidate) && isFunction(candidate.unsafe),
  isOpen: (tx) => isFunction(tx.savepoint) || isFunction(tx.release),
  query: async (tx, text, values) => rowsOf(await tx.unsafe(text, [...values])),
})
