/** The versions that differ in what matters to those who share the schema. */
export type PgmqVersion = '1.4.4' | '1.5.1' | '1.12.0'

/**
 * A stand-in for PGMQ of a version, for tests of our own: the tables, types and functions of its schema as far as Tidings
 * and the tests touch them, by what is known of them. For the schema `pgmq`, which has to be there; as the script of an
 * extension and as plain SQL.
 *
 * 1.4.4 has no headers. Before 1.10 there is no last_read_at, `pop` and `set_vt` return rows as the table has them, and
 * tables of queues are members of the extension.
 */
export function pgmqPeer(version: PgmqVersion): string {
  const hasHeaders = version !== '1.4.4'
  const isOld = version !== '1.12.0'
  const columns = [
    ['msg_id', 'bigint'],
    ['read_ct', 'integer'],
    ['enqueued_at', 'timestamptz'],
    ...(isOld ? [] : [['last_read_at', 'timestamptz']]),
    ['vt', 'timestamptz'],
    ['message', 'jsonb'],
    ...(hasHeaders ? [['headers', 'jsonb']] : []),
  ] as [string, string][]
  const names = columns.map(([name]) => name).join(', ')
  const table = (kind: 'q' | 'a') =>
    columns
      .flatMap(([name, type]) => [
        ...(name === 'vt' && kind === 'a' ? ['archived_at timestamptz DEFAULT now() NOT NULL'] : []),
        name === 'msg_id'
          ? `msg_id bigint PRIMARY KEY${kind === 'q' ? ' GENERATED ALWAYS AS IDENTITY' : ''}`
          : `${name} ${type}${{ read_ct: ' DEFAULT 0 NOT NULL', enqueued_at: ' DEFAULT now() NOT NULL', vt: ' NOT NULL' }[name] ?? ''}`,
      ])
      .join(', ')
  const member = (action: 'ADD' | 'DROP') =>
    isOld
      ? `IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pgmq') THEN
      EXECUTE format('ALTER EXTENSION pgmq ${action} TABLE pgmq.%I; ALTER EXTENSION pgmq ${action} TABLE pgmq.%I', q, a);
    END IF;`
      : ''
  const body = (declared: string, text: string) => `LANGUAGE plpgsql AS $$
  DECLARE q text := 'q_' || lower(queue_name); a text := 'a_' || lower(queue_name); ${declared}
  BEGIN ${text} END $$;`
  return `
CREATE TABLE pgmq.meta (queue_name varchar UNIQUE NOT NULL, is_partitioned boolean NOT NULL,
  is_unlogged boolean NOT NULL, created_at timestamptz DEFAULT now() NOT NULL);
CREATE TYPE pgmq.message_record AS (${columns.map((column) => column.join(' ')).join(', ')});
CREATE TYPE pgmq.queue_record AS (queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz);
CREATE TYPE pgmq.metrics_result AS (queue_name text, queue_length bigint, newest_msg_age_sec integer,
  oldest_msg_age_sec integer, total_messages bigint, scrape_time timestamptz${isOld ? '' : ', queue_visible_length bigint'});
${
  isOld
    ? ''
    : `CREATE TABLE pgmq.topic_bindings (pattern text NOT NULL, queue_name text NOT NULL REFERENCES pgmq.meta (queue_name) ON DELETE CASCADE,
  bound_at timestamptz DEFAULT now() NOT NULL, compiled_regex text GENERATED ALWAYS AS
  ('^' || replace(replace(replace(pattern, '.', '[.]'), '*', '[^.]+'), '#', '.*') || '$') STORED, UNIQUE (pattern, queue_name));
CREATE UNLOGGED TABLE pgmq.notify_insert_throttle (queue_name varchar UNIQUE NOT NULL REFERENCES pgmq.meta (queue_name) ON DELETE CASCADE,
  throttle_interval_ms integer DEFAULT 0 NOT NULL, last_notified_at timestamptz DEFAULT to_timestamp(0) NOT NULL);
CREATE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[]) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FUNCTION pgmq.read_grouped_head_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer = 5,
  poll_interval_ms integer = 100) RETURNS SETOF pgmq.message_record LANGUAGE sql AS 'SELECT NULL::pgmq.message_record LIMIT 0';`
}
CREATE FUNCTION pgmq.create(queue_name text) RETURNS void ${body(
    '',
    `EXECUTE format($q$CREATE TABLE IF NOT EXISTS pgmq.%I (${table('q')})$q$, q);
    EXECUTE format($q$CREATE TABLE IF NOT EXISTS pgmq.%I (${table('a')})$q$, a);
    ${member('ADD')}
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt)', q || '_vt_idx', q);
    INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES (queue_name, false, false) ON CONFLICT DO NOTHING;`,
  )}
CREATE FUNCTION pgmq.drop_queue(queue_name text${isOld ? ', partitioned boolean = false' : ''}) RETURNS boolean ${body(
    '',
    `${member('DROP')}
    EXECUTE format('DROP TABLE IF EXISTS pgmq.%I', q);
    EXECUTE format('DROP TABLE IF EXISTS pgmq.%I', a);
    DELETE FROM pgmq.meta m WHERE m.queue_name = drop_queue.queue_name;
    RETURN FOUND;`,
  )}
CREATE FUNCTION pgmq.send(queue_name text, msg jsonb, delay integer = 0) RETURNS SETOF bigint ${body(
    '',
    `RETURN QUERY EXECUTE format($q$INSERT INTO pgmq.%I (vt, message)
      VALUES (clock_timestamp() + make_interval(secs => $1), $2) RETURNING msg_id$q$, q) USING delay, msg;`,
  )}
CREATE FUNCTION pgmq.read(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record ${body(
    '',
    `RETURN QUERY EXECUTE format($q$UPDATE pgmq.%I SET vt = clock_timestamp() + make_interval(secs => $1), read_ct = read_ct + 1
      ${isOld ? '' : ', last_read_at = clock_timestamp()'}
      WHERE msg_id IN (SELECT msg_id FROM pgmq.%1$I WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED)
      RETURNING ${names}$q$, q) USING vt, qty;`,
  )}
CREATE FUNCTION pgmq.pop(queue_name text) RETURNS SETOF pgmq.message_record ${body(
    '',
    `RETURN QUERY EXECUTE format($q$DELETE FROM pgmq.%I WHERE msg_id =
      (SELECT msg_id FROM pgmq.%1$I WHERE vt <= now() ORDER BY msg_id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING ${isOld ? '*' : names}$q$, q);`,
  )}
CREATE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer) RETURNS SETOF pgmq.message_record ${body(
    '',
    `RETURN QUERY EXECUTE format($q$UPDATE pgmq.%I SET vt = clock_timestamp() + make_interval(secs => $2)
      WHERE msg_id = $1 RETURNING ${isOld ? '*' : names}$q$, q) USING msg_id, vt;`,
  )}
CREATE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean ${body(
    'done bigint;',
    `EXECUTE format('DELETE FROM pgmq.%I WHERE msg_id = $1', q) USING msg_id; GET DIAGNOSTICS done = ROW_COUNT; RETURN done > 0;`,
  )}
CREATE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean ${body(
    'done bigint;',
    `EXECUTE format($q$WITH gone AS (DELETE FROM pgmq.%I WHERE msg_id = $1 RETURNING ${names})
      INSERT INTO pgmq.%I (${names}) SELECT ${names} FROM gone$q$, q, a) USING msg_id;
    GET DIAGNOSTICS done = ROW_COUNT; RETURN done > 0;`,
  )}
CREATE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint ${body(
    'done bigint;',
    `EXECUTE format('SELECT count(*) FROM pgmq.%I', q) INTO done; EXECUTE format('TRUNCATE pgmq.%I', q); RETURN done;`,
  )}
CREATE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record LANGUAGE sql AS 'SELECT * FROM pgmq.meta';
CREATE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result ${body(
    'found_metrics pgmq.metrics_result;',
    `EXECUTE format('SELECT $1, count(*), 0, 0, 0::bigint, now()${isOld ? '' : ', count(*) FILTER (WHERE vt <= now())'} FROM pgmq.%I', q)
      INTO found_metrics USING queue_name; RETURN found_metrics;`,
  )}
`
}
