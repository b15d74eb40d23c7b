import { adapter, isFunction, type Rows } from './adapter.ts'

/** The `trx` that Kysely passes to `db.transaction().execute(…)`, or that of a controlled transaction. */
export interface KyselyTransaction {
  readonly isTransaction: boolean
  executeQuery(query: never): Promise<{ readonly rows: readonly unknown[] }>
}

interface KyselyExecutor {
  readonly isTransaction: boolean
  executeQuery(query: unknown): Promise<{ readonly rows: Rows }>
}

/** The same as `CompiledQuery.raw(text, values)`. */
const compiled = (sql: string, parameters: readonly unknown[]) => ({
  sql,
  parameters,
  query: { kind: 'RawNode', sqlFragments: [sql], parameters: [] },
  queryId: { queryId: 'tidings' },
})

export const kysely = adapter<KyselyExecutor>({
  library: 'Kysely',
  fits: (candidate) => isFunction(candidate.executeQuery) && isFunction(candidate.selectFrom),
  isOpen: (tx) => tx.isTransaction,
  query: async (tx, text, values) => (await tx.executeQuery(compiled(text, values))).rows,
})
