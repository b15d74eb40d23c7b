import { firstSteps, namesOfFunctions } from './migrate.ts'
import { extensionVersion } from './pgmq.ts'
import { changes } from './sql.gen.ts'

/**
 * The files of an extension `pgmq` that is ours, for the folder `extension` of a PostgreSQL. Where Tidings has made the
 * schemas already, `CREATE EXTENSION pgmq` takes them in; else it makes them.
 * @returns what is in them, by their names
 */
export function extensionFiles(): Record<string, string> {
  const steps = firstSteps()
    // The control file makes it.
    .map(({ sql }) => sql.replace('CREATE SCHEMA IF NOT EXISTS pgmq;', ''))
    .map((sql) => `    EXECUTE $step$${sql}$step$;`)
  const script = `DO $install$
BEGIN
  IF to_regclass('tidings.migration') IS NULL THEN
${steps.join('\n')}
  END IF;
END
$install$;
${namesOfFunctions.sql};
${changes.members}`
  const control = `comment = 'Message queues in the tables of PGMQ, by Tidings'
default_version = '${extensionVersion}'
schema = 'pgmq'
relocatable = false
superuser = false
`
  return { 'pgmq.control': control, [`pgmq--${extensionVersion}.sql`]: script }
}
