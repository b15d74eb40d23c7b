import { createHash } from 'node:crypto'
import { isTidingsError, TidingsError } from '../../errors.ts'
import type { Driver } from './driver.ts'
import { functions, migrations, pgmqFunctions } from './sql.gen.ts'

type Query = (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>

const newest = migrations.length
const fingerprint = createHash('sha256')
  .update(JSON.stringify([functions, pgmqFunctions]))
  .digest('hex')

/**
 * Brings the schema up to date, in one transaction, from however many processes at once: the first does it, the others
 * wait for it and find it done. Tables are changed by numbered files that are appended and never edited; functions are
 * replaced whenever they differ.
 * @throws SCHEMA_NEWER if a newer version of Tidings was here, SCHEMA_MISSING if this role may not install
 */
export async function migrate(driver: Driver): Promise<void> {
  if (await isUpToDate(driver)) return
  try {
    await driver.transaction(async (query) => {
      await query("SELECT pg_advisory_xact_lock(hashtextextended('tidings.migrate', 0))")
      await install(query)
    })
  } catch (error) {
    if (!isTidingsError(error, 'PERMISSION_DENIED')) throw error
    throw new TidingsError('SCHEMA_MISSING', `this role may not install the schema of Tidings: ${error.message}`, {
      cause: error,
    })
  }
}

/** Without a transaction or a lock, so that it costs nothing in the usual case and works for a role with few rights. */
async function isUpToDate(driver: Driver): Promise<boolean> {
  const [there] = await driver.query("SELECT to_regclass('tidings.migration') IS NOT NULL AS there", [], {
    repeatable: true,
  })
  if (!there?.there) return false
  const rows = await driver.query(readState, [], { repeatable: true })
  return judge(rows) === newest && rows[0]?.fingerprint === fingerprint
}

const readState = 'SELECT version, fingerprint FROM tidings.migration ORDER BY version DESC LIMIT 1'

function judge(rows: readonly Record<string, unknown>[]): number {
  const version = Number(rows[0]?.version ?? 0)
  if (version <= newest) return version
  throw new TidingsError('SCHEMA_NEWER', `the schema has version ${version}, this program knows ${newest}`)
}

async function install(query: Query): Promise<void> {
  await query('CREATE SCHEMA IF NOT EXISTS tidings')
  await query(`CREATE TABLE IF NOT EXISTS tidings.migration (
    version integer PRIMARY KEY, name text NOT NULL, fingerprint text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now())`)
  const version = judge(await query(readState))
  for (const { sql } of migrations.slice(version)) await query(sql)
  for (const { sql } of functions) await query(sql)
  // What is granted to everybody by default is taken back before anybody else can see it.
  await query('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings FROM PUBLIC')
  const [schema] = await query("SELECT obj_description('pgmq'::regnamespace) LIKE '%by Tidings' AS ours")
  if (schema?.ours) {
    for (const { sql } of pgmqFunctions) await query(sql)
    await query('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgmq FROM PUBLIC')
  }
  for (const [index, { name }] of migrations.entries())
    await query(
      `INSERT INTO tidings.migration (version, name, fingerprint) VALUES ($1, $2, $3)
      ON CONFLICT (version) DO UPDATE SET fingerprint = EXCLUDED.fingerprint`,
      [index + 1, name, fingerprint],
    )
}
