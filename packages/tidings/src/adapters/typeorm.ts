import { adapter, isFunction, rowsOf } from './adapter.ts'

/** The EntityManager that TypeORM passes to `dataSource.transaction(…)`, or a QueryRunner after startTransaction. */
export interface TypeOrmTransaction {
  query(text: string, values?: unknown[]): Promise<unknown>
}

interface QueryRunner extends TypeOrmTransaction {
  readonly isTransactionActive: boolean
}

interface EntityManager extends TypeOrmTransaction {
  readonly queryRunner?: QueryRunner
}

export const typeOrm = adapter<EntityManager | QueryRunner>({
  library: 'TypeORM',
  // The first is an EntityManager or a DataSource, the second a QueryRunner.
  fits: (candidate) =>
    isFunction(candidate.query) && (isFunction(candidate.getRepository) || isFunction(candidate.startTransaction)),
  isOpen: (tx) => ('isTransactionActive' in tx ? tx : tx.queryRunner)?.isTransactionActive === true,
  query: async (tx, text, values) => rowsOf(await tx.query(text, [...values])),
})
