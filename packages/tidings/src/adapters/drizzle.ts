import { adapter, isFunction, rowsOf } from './adapter.ts'

/** The `tx` that Drizzle passes to `db.transaction(…)`, with any of its PostgreSQL drivers. */
export interface DrizzleTransaction {
  execute(query: never): PromiseLike<unknown>
  rollback(): never
}

interface DrizzleDatabase {
  execute(query: unknown): PromiseLike<unknown>
  readonly rollback?: unknown
}

/** What Drizzle asks of its own SQL objects. */
function toSql(text: string, values: readonly unknown[]) {
  const sql = { getSQL: () => sql, toQuery: () => ({ sql: text, params: [...values] }) }
  return sql
}

export const drizzle = adapter<DrizzleDatabase>({
  library: 'Drizzle',
  fits: (candidate) => isFunction(candidate.execute) && isFunction(candidate.transaction),
  isOpen: (tx) => isFunction(tx.rollback),
  query: async (tx, text, values) => rowsOf(await tx.execute(toSql(text, values))),
  unwrap: (error) => (error instanceof Error && error.cause) || error,
})
