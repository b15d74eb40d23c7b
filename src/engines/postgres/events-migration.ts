import { checkPrefix } from '../../events/channels.ts'
import { defaultQueuePattern, namespaceSql, parseQueuePattern } from '../../events/namespace.ts'
import * as option from '../../options.ts'
import { down, up } from './events.gen.ts'

export const eventsMigrationOptions = {
  queuePattern: option.text('Names of queues, with a group (?<namespace>…) for their namespace.', {
    default: defaultQueuePattern,
    check: (pattern, path) => void parseQueuePattern(pattern, path),
  }),
  channelPrefix: option.text('What the names of the channels start with.', { default: null, check: checkPrefix }),
  maxPayloadSize: option.integer('Bytes of an event at most; what is larger comes without its data.', {
    min: 512,
    // PostgreSQL's own limit for a notification.
    max: 7_999,
    default: 7_800,
  }),
} as const
type EventsMigrationOptions = option.OptionsInput<typeof eventsMigrationOptions>

/** The SQL that lets queues announce their messages, and the SQL that takes it away again. */
export function eventsMigration(options?: EventsMigrationOptions): { up: string; down: string } {
  const settings = option.parseOptions(eventsMigrationOptions, options, 'the events migration')
  const { queuePattern, channelPrefix, maxPayloadSize } = settings
  const prefix = channelPrefix === null ? '' : `${channelPrefix}.`
  const head = `-- Queues announce their messages by notifications (tidings events). Made by \`tidings generate-migration\`.
-- Apply it in one transaction, by a role that owns the tables of the queues. It needs schema pgmq only.

CREATE SCHEMA tidings_events;
GRANT USAGE ON SCHEMA tidings_events TO PUBLIC;

-- Of ${queuePattern}
CREATE FUNCTION tidings_events.namespace_of(queue text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ${namespaceSql(parseQueuePattern(queuePattern, 'queuePattern'))}
$$;

CREATE FUNCTION tidings_events.channel_prefix() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT '${prefix}' $$;

-- Bytes of an event at most.
CREATE FUNCTION tidings_events.max_bytes() RETURNS integer
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT ${maxPayloadSize} $$;
`
  return { up: `${head}\n${up}`, down }
}
