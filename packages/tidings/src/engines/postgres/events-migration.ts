import * as option from '../../core/options.ts'
import { type EventsMigrationOptions, eventsMigrationOptions } from '../../events/migration.ts'
import { namespaceSql, parseQueuePattern } from '../../events/namespace.ts'
import { down, up } from './events.gen.ts'

/** The SQL that lets queues announce their messages, and the SQL that takes it away again. */
export const eventsMigration = (options?: EventsMigrationOptions): { up: string; down: string } => ({
  up: wholeOf(option.parseOptions(eventsMigrationOptions, options, 'the events migration')),
  down,
})

/**
 * The SQL that changes what earlier migrations left, and the SQL that takes that back.
 * @param files texts of SQL, in their order; those of other origin are left alone
 * @returns changes: the functions that differ; empty for the first migration. Null if nothing has to be changed
 */
export function eventsMigrationAfter(
  files: readonly string[],
  options?: EventsMigrationOptions,
): { up: string; down: string; changes: readonly string[] } | null {
  const { up: whole } = eventsMigration(options)
  const earlier = files.filter((text) => text.includes(mark))
  const start = earlier.findLastIndex((text) => text.includes(schemaStatement))
  if (start < 0) return { up: whole, down, changes: [] }
  const first = earlier[start]!
  // Tables and triggers are made by the first only. Another release may make others.
  if (remainderOf(first) !== remainderOf(whole))
    return { up: `${down}\n${whole}`, down: `${down}\n${first}`, changes: [...functionsIn(whole).keys()] }
  const before = functionsIn(earlier.slice(start).join('\n'))
  const after = functionsIn(whole)
  const changes = [...after].filter(([name, text]) => before.get(name) !== text).map(([name]) => name)
  if (changes.length === 0) return null
  const changing = (functions: ReadonlyMap<string, string>) =>
    `${mark}\n${asOwner}\n${changes
      .filter((name) => functions.has(name))
      .map((name) => `CREATE OR REPLACE ${functions.get(name)}\n`)
      .join('\n')}`
  return { up: changing(after), down: changing(before), changes }
}

/** By which a file is known to be one of these. */
const mark =
  '-- Queues announce their messages by notifications (tidings events). Made by `tidings generate-migration`.'
const schemaStatement = 'CREATE SCHEMA tidings_events;'
const functionPattern = /^CREATE (?:OR REPLACE )?(FUNCTION tidings_events\.(\w+)\([\s\S]*?\$\$;)$/gm

/** The functions by name, of each the last. */
const functionsIn = (sql: string) =>
  new Map([...sql.matchAll(functionPattern)].map(([, text, name]) => [name!, text!] as const))

/** What is no function and no comment. */
const remainderOf = (sql: string) =>
  sql
    .replaceAll(functionPattern, '')
    .replaceAll(/^--.*$/gm, '')
    .replaceAll(/\n+/g, '\n')

const asOwner = `-- In a database with roles (tidings migrate --roles) all of it is their owner's, of whom this role is a member.
DO $$
DECLARE
  owner name;
BEGIN
  IF to_regclass('tidings.role') IS NOT NULL THEN
    EXECUTE 'SELECT p.rolname FROM tidings.role r JOIN pg_roles p ON p.oid = r.role WHERE r.kind = $1' INTO owner USING 'owner';
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA tidings_events TO %I WITH GRANT OPTION', owner);
    PERFORM set_config('role', owner, true);
  END IF;
END
$$;
`

function wholeOf(settings: option.OptionsOutput<typeof eventsMigrationOptions>): string {
  const { queuePattern, channelPrefix, withData, withMetadata, maxPayloadSize } = settings
  const prefix = channelPrefix === null ? '' : `${channelPrefix}.`
  const head = `${mark}
-- Apply it in one transaction, by the role that owns the tables of the queues, or a member of it. It needs schema pgmq only.

${schemaStatement}

${asOwner}
-- Of ${queuePattern}
CREATE FUNCTION tidings_events.namespace_of(queue text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ${namespaceSql(parseQueuePattern(queuePattern, 'queuePattern'))}
$$;

CREATE FUNCTION tidings_events.channel_prefix() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '${prefix}' $$;

-- Whether events carry the data, which every role that can connect to the database can listen to.
CREATE FUNCTION tidings_events.with_data() RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT ${withData} $$;

CREATE FUNCTION tidings_events.with_metadata() RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT ${withMetadata} $$;

-- Bytes of an event at most.
CREATE FUNCTION tidings_events.max_bytes() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT ${maxPayloadSize} $$;
`
  return `${head}\n${up}`
}
