import { createHash } from 'node:crypto'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
import type { MigrationPlan, MigrationStep, Migrations, MigrationWish, QueueGrant } from '../../port/migrations.ts'
import { Driver, type PostgresTarget, type Row } from './driver.ts'
import { extensionVersion, type PgmqSchema, readPgmq, refuseOldPgmq } from './pgmq.ts'
import { changes, functions, functionsMadeAt, migrations, pgmqFunctions, roles as roleSql } from './sql.gen.ts'

type Query = (text: string) => Promise<readonly Row[]>

const newest = migrations.length
/**
 * The schema version of the oldest programs that work with these tables and functions. A change that breaks a statement
 * of theirs (other parameters or results, a column gone) needs a migration, with whose number this grows.
 */
const oldestProgram = 8
/** Newer functions compare greater. Programs before version 7 wrote the hash alone. */
const fingerprint = `${functionsMadeAt} ${createHash('sha256')
  .update(JSON.stringify([functions, pgmqFunctions, roleSql]))
  .digest('hex')}`

/**
 * Brings the schema up to date, in one transaction, from however many processes at once: the first does it, the others
 * wait for it and find it done. Tables are changed by numbered files that are appended and never edited; functions are
 * replaced by newer ones, never by older ones.
 * @returns what was done
 * @throws SCHEMA_NEWER if this program is too old for what is there, SCHEMA_MISSING if this role may not install
 */
export async function migrate(driver: Driver, wish: MigrationWish = {}): Promise<MigrationPlan> {
  const found = await planOf(driver, wish)
  if (found.steps.length === 0) return found
  try {
    return await driver.transaction(async (query) => {
      await query("SELECT pg_advisory_xact_lock(hashtextextended('tidings.migrate', 0))")
      const plan = await makePlan(query, wish)
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
function planOf(driver: Driver, wish: MigrationWish): Promise<MigrationPlan> {
  return makePlan((text) => driver.query(text, [], { repeatable: true }), wish)
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

  plan(wish: MigrationWish): Promise<MigrationPlan> {
    return planOf(this.#driver, wish)
  }

  apply(wish: MigrationWish): Promise<MigrationPlan> {
    return migrate(this.#driver, wish)
  }

  async grant({ queue, may, role, revoke }: QueueGrant): Promise<void> {
    await this.#driver.transaction(async (query) => {
      if (!(await readState(query)).hasRoles)
        throw new TidingsError('UNSUPPORTED', 'this database has no roles of Tidings', {
          hint: 'Run `tidings migrate --roles` first.',
        })
      await query(roleSql.become_owner)
      await query('SELECT tidings.grant_queue($1, $2, quote_ident($3)::regrole, $4)', [queue, may, role, !revoke])
    })
  }

  close(): Promise<void> {
    return this.#driver.close()
  }
}

/** @throws SCHEMA_NEWER, UNSUPPORTED */
async function makePlan(query: Query, wish: MigrationWish): Promise<MigrationPlan> {
  const found = await readState(query)
  const { version } = found
  if (version > newest && newest < (found.oldestProgram ?? version))
    throw new TidingsError(
      'SCHEMA_NEWER',
      `the schema has version ${version} and works with programs of version ${found.oldestProgram ?? version} or newer; this one is of version ${newest}`,
      { details: { version, oldestProgram: found.oldestProgram ?? version, program: newest } },
    )
  const changesOwner = wish.roles !== undefined || wish.adopt === true || wish.handOver !== undefined
  const isNewer = version > newest || (version === newest && found.fingerprint > fingerprint)
  if (isNewer && changesOwner)
    throw new TidingsError('SCHEMA_NEWER', 'a newer program has migrated the schema', {
      hint: 'Do this with the newer program.',
    })
  const isUpToDate = version >= newest && found.fingerprint === fingerprint
  const to = Math.max(version, newest)
  if (!changesOwner && (isUpToDate || isNewer !== (wish.down ?? false))) return { from: version, to, steps: [] }
  const pgmq = await readPgmq(query)
  refuseOldPgmq(pgmq)
  const { handOver, roles } = wish
  if (handOver !== undefined) return { from: version, to, steps: handOverSteps(found, pgmq, handOver, isUpToDate) }
  const adopts = wish.adopt === true && pgmq.mode === 'attached'
  if (wish.adopt === true && !adopts && isUpToDate) return { from: version, to, steps: [] }
  const steps = stepsFrom(found, pgmq.mode !== 'attached' || adopts, { adopts, roles })
  // With roles the owner, as which functions are replaced, may create none; the extension stays as it is.
  const isExtension = pgmq.available === extensionVersion || pgmq.extension !== null
  const renews = isExtension && pgmq.mode !== 'attached' && !found.hasRoles && roles === undefined
  return { from: version, to, steps: renews ? [...steps, detach, becomeExtension] : steps }
}

interface State {
  readonly version: number
  readonly fingerprint: string
  readonly oldestProgram: number | null
  /** Whether `tidings migrate --roles` was here. */
  readonly hasRoles: boolean
}

/** Looks into the catalog, since `to_regclass` may still answer within a transaction what was so before its lock. */
async function readState(query: Query): Promise<State> {
  const tables = (await query("SELECT tablename FROM pg_tables WHERE schemaname = 'tidings'")).map(
    (row) => row.tablename,
  )
  if (!tables.includes('migration')) return { version: 0, fingerprint: '', oldestProgram: null, hasRoles: false }
  // As JSON, since a column may be missing.
  const [row] = await query(
    'SELECT row_to_json(m)::text AS state FROM tidings.migration m ORDER BY version DESC LIMIT 1',
  )
  const state = JSON.parse(String(row?.state ?? '{}'))
  const stored = String(state.fingerprint ?? '')
  return {
    version: Number(state.version ?? 0),
    fingerprint: stored.includes(' ') ? stored : '',
    oldestProgram: state.oldest_program ?? null,
    hasRoles: tables.includes('role'),
  }
}

function stepsFrom(
  found: State,
  withPgmqFunctions: boolean,
  { adopts = false, roles }: { adopts?: boolean; roles?: string | undefined } = {},
): MigrationStep[] {
  const { version, hasRoles } = found
  const tables = [
    ...(version === 0 ? [{ name: 'the list of migrations', sql: createList }] : []),
    ...migrations.slice(version),
  ]
  const replace = [
    ...named('tidings', functions),
    ...(withPgmqFunctions ? named('pgmq', pgmqFunctions) : []),
    // What is granted to everybody by default is taken back before anybody else can see it.
    { name: 'rights on tidings', sql: 'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings FROM PUBLIC' },
    ...(withPgmqFunctions ? [] : [recallDelayed]),
  ]
  const install = [
    ...tables,
    // What migrations make in a schema pgmq of ours, this makes as well.
    ...(adopts ? [detach, namesOfFunctions, { name: 'the schema pgmq becomes ours', sql: changes.adopt }] : []),
    ...replace,
    ...(adopts ? [{ name: 'bindings and notifications', sql: changes.adopted }] : []),
  ]
  const isNew = !hasRoles && roles !== undefined
  const withRoles = [...(roles === undefined ? [] : rolesOf(`'${roles}'`)), becomeOwner]
  return [
    ...(hasRoles && !adopts ? [...withRoles, ...install, grantToRoles] : install),
    ...(isNew ? [...withRoles, grantToRoles] : []),
    ...(hasRoles && adopts ? [...rolesOf(knownPrefix), becomeOwner, grantToRoles] : []),
    enterMigrations,
  ]
}

/** @throws UNSUPPORTED where the schema is not ours */
function handOverSteps(found: State, pgmq: PgmqSchema, install: string | true, isUpToDate: boolean): MigrationStep[] {
  if (pgmq.mode !== 'ours')
    throw new TidingsError('UNSUPPORTED', 'there is no schema pgmq of Tidings to hand over', {
      hint: "It is PGMQ's own already, or there is none.",
    })
  if (install === true && (pgmq.available ?? extensionVersion) === extensionVersion)
    throw new TidingsError('UNSUPPORTED', 'the server offers no extension pgmq but ours', {
      hint: 'Install the files of PGMQ on the server, or name its SQL file: `tidings migrate --hand-over pgmq.sql`.',
    })
  return [
    ...(isUpToDate ? [] : stepsFrom(found, true)),
    recallDelayed,
    detach,
    namesOfFunctions,
    { name: 'what is ours leaves the schema pgmq', sql: changes.hand_over },
    { name: 'PGMQ', sql: install === true ? 'CREATE EXTENSION pgmq' : install },
    { name: 'its queues', sql: changes.handed_over },
    ...(found.hasRoles ? rolesOf(knownPrefix) : []),
    ...stepsFrom({ ...found, version: newest }, false),
  ]
}

const becomeOwner = { name: 'as the owner', sql: roleSql.become_owner }
const grantToRoles = { name: 'rights of the roles', sql: roleSql.rights }
const knownPrefix =
  "(SELECT left(p.rolname, -6) FROM tidings.role r JOIN pg_roles p ON p.oid = r.role WHERE r.kind = 'owner')"
/** @param prefix an expression of SQL */
const rolesOf = (prefix: string): MigrationStep[] => [
  { name: 'the prefix of the roles', sql: `SELECT set_config('tidings.role_prefix', ${prefix}, true)` },
  { name: 'roles', sql: roleSql.create },
]
const detach = { name: 'the extension pgmq, if there is one, becomes a plain schema', sql: changes.detach }
const becomeExtension = { name: 'the extension pgmq, if the server has our files of it', sql: changes.extension }
const functionNames = new Set(
  pgmqFunctions.flatMap(({ sql }) =>
    [...sql.matchAll(/^CREATE OR REPLACE FUNCTION pgmq\.(\w+)/gm)].map(([, name]) => name),
  ),
)
export const namesOfFunctions = {
  name: 'the names of the functions of pgmq',
  sql: `SELECT set_config('tidings.pgmq_functions', '${[...functionNames].join(',')}', true)`,
}

const named = (schema: string, some: typeof functions | typeof pgmqFunctions): MigrationStep[] =>
  some.map(({ name, sql }) => ({ name: `functions of ${schema}: ${name}`, sql }))

/** PGMQ's own functions see only what is in the tables of queues. */
const recallDelayed = {
  name: 'delayed messages, into the tables of their queues',
  sql: `SELECT tidings.recall(d.queue_name, NULL) FROM (SELECT DISTINCT queue_name FROM tidings.delayed) d
WHERE tidings.find_table(d.queue_name) IS NOT NULL`,
}

/** What installs everything where nothing is. */
export const firstSteps = (): MigrationStep[] =>
  stepsFrom({ version: 0, fingerprint: '', oldestProgram: null, hasRoles: false }, true)

const createList = `CREATE SCHEMA IF NOT EXISTS tidings;
CREATE TABLE IF NOT EXISTS tidings.migration (
  version integer PRIMARY KEY, name text NOT NULL, fingerprint text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now())`

const rows = migrations.map(({ name }, index) => `(${index + 1}, '${name}', '', ${oldestProgram})`)
/** The last row counts. Programs that go back leave the version and what works with it as they are. */
const enterMigrations = {
  name: 'entries in the list of migrations',
  sql: `INSERT INTO tidings.migration (version, name, fingerprint, oldest_program) VALUES
  ${rows.join(',\n  ')}
ON CONFLICT (version) DO UPDATE SET oldest_program = EXCLUDED.oldest_program;
UPDATE tidings.migration SET fingerprint = '${fingerprint}'`,
}
