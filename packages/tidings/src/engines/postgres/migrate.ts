import { createHash } from 'node:crypto'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
import type { MigrationPlan, MigrationStep, Migrations } from '../../port/migrations.ts'
import { Driver, type PostgresTarget, type Row } from './driver.ts'
import { functions, migrations, pgmqFunctions } from './sql.gen.ts'

type Query = (text: string) => Promise<readonly Row[]>

const newest = migrations.length
const fingerprint = createHash('sha256')
  .update(JSON.stringify([functions, pgmqFunctions]))
  .digest('hex')

/**
 * Brings the schema up to date, in one transaction, from however many processes at once: the first does it, the others
 * wait for it and find it done. Tables are changed by numbered files that are appended and never edited; functions are
 * replaced whenever they differ.
 * @returns what was done
 * @throws SCHEMA_NEWER if a newer version of Tidings was here, SCHEMA_MISSING if this role may not install
 */
export async function migrate(driver: Driver): Promise<MigrationPlan> {
  const found = await planOf(driver)
  if (found.steps.length === 0) return found
  try {
    return await driver.transaction(async (query) => {
      await query("SELECT pg_advisory_xact_lock(hashtextextended('tidings.migrate', 0))")
      const plan = await makePlan(query)
      for (const { sql } of plan.steps) await query(sql)
      return plan
    })
  } catch (error) {
    if (!isTidingsError(error, 'PERMISSION_DENIED')) throw error
    throw new TidingsError('SCHEMA_MISSING', `this role may not install the schema of Tidings: ${error.message}`, {
      cause: error,
    })
  }
}

/** What `migrate` would do. Without a transaction or a lock, so that it works for a role with few rights. */
function planOf(driver: Driver): Promise<MigrationPlan> {
  return makePlan((text) => driver.query(text, [], { repeatable: true }))
}

/** The schema, for those who want to see to it themselves. */
export class PostgresMigrations implements Migrations {
  readonly #driver: Driver

  constructor(target: PostgresTarget) {
    this.#driver = new Driver(target)
  }

  async open(): Promise<void> {
    await this.#driver.open()
  }

  plan(): Promise<MigrationPlan> {
    return planOf(this.#driver)
  }

  apply(): Promise<MigrationPlan> {
    return migrate(this.#driver)
  }

  close(): Promise<void> {
    return this.#driver.close()
  }
}

/** @throws SCHEMA_NEWER */
async function makePlan(query: Query): Promise<MigrationPlan> {
  const state = await readState(query)
  const { version } = state
  if (version > newest)
    throw new TidingsError('SCHEMA_NEWER', `the schema has version ${version}, this program knows ${newest}`)
  const isUpToDate = version === newest && state.fingerprint === fingerprint
  const steps = isUpToDate ? [] : stepsFrom(version, await arePgmqFunctionsOurs(query))
  return { from: version, to: newest, steps }
}

/** Looks into the catalog, since `to_regclass` may still answer within a transaction what was so before its lock. */
async function readState(query: Query): Promise<{ version: number; fingerprint: unknown }> {
  const [there] = await query(
    "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'tidings' AND tablename = 'migration') AS there",
  )
  if (!there?.there) return { version: 0, fingerprint: null }
  const [row] = await query('SELECT version, fingerprint FROM tidings.migration ORDER BY version DESC LIMIT 1')
  return { version: Number(row?.version ?? 0), fingerprint: row?.fingerprint }
}

/** Where PGMQ is not there, the first migration makes its schema. */
async function arePgmqFunctionsOurs(query: Query): Promise<boolean> {
  const [row] = await query(
    `SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'pgmq' AND tablename = 'meta') OR EXISTS (
      SELECT FROM pg_namespace WHERE nspname = 'pgmq' AND obj_description(oid, 'pg_namespace') LIKE '%by Tidings') AS ours`,
  )
  return row?.ours === true
}

function stepsFrom(version: number, withPgmqFunctions: boolean): MigrationStep[] {
  const replace = (some: typeof functions | typeof pgmqFunctions, schema: string): MigrationStep[] => [
    ...some.map(({ name, sql }) => ({ name: `functions of ${schema}: ${name}`, sql })),
    // What is granted to everybody by default is taken back before anybody else can see it.
    { name: `rights on ${schema}`, sql: `REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ${schema} FROM PUBLIC` },
  ]
  return [
    { name: 'the list of migrations', sql: createList },
    ...migrations.slice(version),
    ...replace(functions, 'tidings'),
    ...(withPgmqFunctions ? replace(pgmqFunctions, 'pgmq') : []),
    { name: 'entries in the list of migrations', sql: enter },
  ]
}

const createList = `CREATE SCHEMA IF NOT EXISTS tidings;
CREATE TABLE IF NOT EXISTS tidings.migration (
  version integer PRIMARY KEY, name text NOT NULL, fingerprint text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now())`

const rows = migrations.map(({ name }, index) => `(${index + 1}, '${name}', '${fingerprint}')`)
const enter = `INSERT INTO tidings.migration (version, name, fingerprint) VALUES
  ${rows.join(',\n  ')}
ON CONFLICT (version) DO UPDATE SET fingerprint = EXCLUDED.fingerprint`
