import * as option from '../../core/options.ts'
import { type EventsMigrationOptions, eventsMigrationOptions } from '../../events/migration.ts'
import { namespaceSql, parseQueuePattern } from '../../events/namespace.ts'
import { down, up } from './events.gen.ts'

/** The SQL that lets queues announce their messages, and the SQL that takes it away again. */
export function eventsMigration(options?: EventsMigrationOptions): { up: string; down: string } {
  const settings = option.parseOptions(eventsMigrationOptions, options, 'the events migration')
  const { queuePattern, channelPrefix, withData, maxPayloadSize } = settings
  const prefix = channelPrefix === null ? '' : `${channelPrefix}.`
  const head = `-- Queues announce their messages by notifications (tidings events). Made by \`tidings generate-migration\`.
-- Apply it in one transaction, by the role that owns the tables of the queues, or a member of it. It needs schema pgmq only.

CREATE SCHEMA tidings_events;

-- In a database with roles (tidings migrate --roles) all of it is their owner's, of whom this role is a member.
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

-- Bytes of an event at most.
CREATE FUNCTION tidings_events.max_bytes() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT ${maxPayloadSize} $$;
`
  return { up: `${head}\n${up}`, down }
}
