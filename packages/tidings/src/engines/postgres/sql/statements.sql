-- What the engine sends. Parameters are scalars and each is cast, so that every driver passes them alike; a batch is
-- one JSON text.

-- name: prepareSession
-- $1 the process that the start of the connection named. Sets what our sessions need, whatever the role or the database
-- has; what the URL says stands. Behind a pooler the session is everybody's: there each transaction sets it, and
-- a lock may be waited for without end, since three statements for one would be too much just for that
-- → is_direct, started: when the session began; begin: how the transaction of one statement begins, null if it needs none; begin_long: how one begins
-- whose statements are not ours alone
WITH needed (name, setting, of_transaction) AS (VALUES
  ('default_transaction_isolation', 'read committed', true),
  ('lock_timeout', '5000', true),
  ('statement_timeout', '0', true),
  ('transaction_timeout', '0', true),
  ('idle_in_transaction_session_timeout', '0', true),
  ('idle_session_timeout', '0', false),
  ('tcp_keepalives_idle', '10', false),
  ('tcp_keepalives_interval', '5', false),
  ('tcp_keepalives_count', '3', false),
  ('tcp_user_timeout', '60000', false),
  ('client_connection_check_interval', CASE WHEN version() LIKE '%linux%' THEN '5000' ELSE '0' END, false)
), connection AS (
  SELECT coalesce(pg_backend_pid() = $1::integer, false) AS is_direct
), ours AS MATERIALIZED (
  SELECT n.name, n.setting, n.of_transaction,
    s.setting <> n.setting AND (c.is_direct OR n.name <> 'lock_timeout' OR s.setting <> '0') AS differs
  FROM needed n JOIN pg_settings s USING (name), connection c WHERE s.source <> 'client'
), locally AS (
  SELECT string_agg(format('; SET LOCAL %I = %L', o.name, o.setting), '') FILTER (WHERE o.name <> 'lock_timeout') AS most,
    string_agg(format('; SET LOCAL %I = %L', o.name, o.setting), '') AS all
  FROM ours o, connection c
  WHERE NOT c.is_direct AND o.of_transaction AND o.differs AND o.name <> 'default_transaction_isolation'
)
SELECT c.is_direct,
  CASE WHEN NOT c.is_direct AND EXISTS (SELECT FROM ours WHERE of_transaction AND differs)
    THEN 'BEGIN ISOLATION LEVEL READ COMMITTED' || coalesce(l.all, '') END AS begin,
  'BEGIN ISOLATION LEVEL READ COMMITTED' || coalesce(l.most, '')
    || CASE WHEN EXISTS (SELECT FROM ours WHERE name = 'lock_timeout') THEN '; SET LOCAL lock_timeout = 0' ELSE '' END
    AS begin_long,
  (SELECT (date_part('epoch', backend_start) * 1000000)::bigint::text FROM pg_stat_get_activity(pg_backend_pid())) AS started,
  (SELECT count(set_config(name, setting, false)) FROM ours WHERE c.is_direct AND differs) AS set
FROM connection c, locally l;

-- name: keepMemory
-- Once 2 MB were freed in one piece, malloc of glibc keeps as much, instead of giving it back after each statement and taking
-- it page by page in the next: half of the server's time in batches of 1,000
SELECT octet_length(repeat(repeat(' ', 1024), 2048));

-- name: pgmq
-- → there; ours: made by Tidings; extension: its version, or null; version: told by what is there, null before 1.5
WITH functions AS (
  SELECT p.proname AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'pgmq'
), columns AS (
  SELECT c.relname AS type, a.attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'pgmq' AND c.relname IN ('message_record', 'metrics_result') AND NOT a.attisdropped
)
SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'pgmq' AND tablename = 'meta') AS there,
  EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pgmq' AND obj_description(oid, 'pg_namespace') LIKE '%by Tidings') AS ours,
  (SELECT extversion FROM pg_extension WHERE extname = 'pgmq') AS extension,
  (SELECT default_version FROM pg_available_extensions WHERE name = 'pgmq') AS available,
  CASE
    WHEN EXISTS (SELECT FROM columns WHERE type = 'metrics_result' AND name = 'default_partition_length') THEN '1.13'
    WHEN EXISTS (SELECT FROM functions WHERE name = 'read_grouped_head_with_poll') THEN '1.12'
    WHEN EXISTS (SELECT FROM functions WHERE name = 'send_batch_topic') THEN '1.11'
    WHEN EXISTS (SELECT FROM columns WHERE type = 'message_record' AND name = 'last_read_at') THEN '1.10'
    WHEN EXISTS (SELECT FROM columns WHERE type = 'message_record' AND name = 'headers') THEN '1.5 to 1.9'
  END AS version;

-- name: work
-- $1 how many characters of a statement → pid, beginning of each statement that the server works on for this role
SELECT pid::text AS pid, left(query, $1::integer) AS beginning FROM pg_stat_activity
WHERE usename = session_user AND datname = current_database() AND pid <> pg_backend_pid()
  AND (state IS NULL OR state NOT LIKE 'idle%');

-- name: endSessions
-- $1 process and start of each session, as JSON → pid of those that are still there; each is told to end, told. Not in a
-- condition, which would be looked at for other sessions, too
SELECT a.pid, pg_terminate_backend(a.pid) AS told FROM json_to_recordset($1::text::json) AS s (pid integer, started bigint)
JOIN pg_stat_activity a ON a.pid = s.pid AND (date_part('epoch', a.backend_start) * 1000000)::bigint = s.started
WHERE a.usename = session_user;

-- name: createQueue
-- $1 queue → created
SELECT tidings.create_queue($1::text) AS created;

-- name: dropQueue
-- $1 queue → dropped
SELECT tidings.drop_queue($1::text) AS dropped;

-- name: describe
-- $1 queue or null → queue, created_at in ms since 1970, is_partitioned, is_unlogged, settings as JSON text or null
SELECT lower(m.queue_name) AS queue, floor(round(date_part('epoch', min(m.created_at)) * 1000000) / 1000) AS created_at,
  bool_or(m.is_partitioned) AS is_partitioned, bool_or(m.is_unlogged) AS is_unlogged,
  min(s.settings::text) AS settings
FROM pgmq.meta m LEFT JOIN tidings.all_settings($1::text) s ON s.queue_name = lower(m.queue_name)
WHERE $1::text IS NULL OR lower(m.queue_name) = $1::text GROUP BY 1 ORDER BY 1;

-- name: configure
-- $1 queue, $2 change as JSON → settings as JSON text
SELECT tidings.configure($1::text, $2::text::jsonb)::text AS settings;

-- name: purgeQueue
-- $1 queue → purged
SELECT tidings.purge_queue($1::text)::float8 AS purged;

-- name: prune
-- $1 queue, $2 archived longer ago than this, in ms, $3 how many to keep, $4 how many to remove at most → pruned
SELECT tidings.prune($1::text, $2::bigint, $3::bigint, $4::integer)::float8 AS pruned;

-- name: stats
-- $1 queue, $2 at how many messages to look, or null → ready, delayed, leased, archived, total_sent, oldest_ready_ms, newest_ms,
-- oldest_ms, created_at, next_due_ms, held_back, is_estimate
SELECT ready::float8, delayed::float8, leased::float8, archived::float8, total_sent::float8,
  oldest_ready_ms, newest_ms, oldest_ms, created_at, next_due_ms, held_back::float8, is_estimate
FROM tidings.stats($1::text, $2::bigint);

-- name: enable
-- $1 queue, $2 has ordering keys, $3 has priorities, $4 has groups
SELECT tidings.enable($1::text, $2::boolean, $3::boolean, $4::boolean);

-- name: send
-- $1 queue, $2 batch, $3 plain → rows with id, duplicate, as JSON text
SELECT coalesce(json_agg(sent), '[]')::text FROM tidings.send($1::text, $2::text::jsonb, $3::boolean) AS sent;

-- name: sendLimited
-- $1 queue, $2 batch, $3 plain, $4 how many messages the queue may hold with these → rows with id, duplicate, there,
-- fresh, as JSON text
SELECT coalesce(json_agg(sent), '[]')::text
FROM tidings.send_limited($1::text, $2::text::jsonb, $3::boolean, $4::bigint) AS sent;

-- name: disk
-- $1 queue → a row with fsync, synchronous_commit, unlogged, as JSON text
SELECT json_build_array(json_build_object(
  'fsync', current_setting('fsync'), 'synchronous_commit', current_setting('synchronous_commit'),
  'unlogged', EXISTS (SELECT FROM pg_class c
    WHERE c.relnamespace = 'pgmq'::regnamespace AND c.relname = 'q_' || $1::text AND c.relpersistence = 'u')))::text;

-- name: bind
-- $1 pattern, $2 queue → bound
SELECT tidings.bind($1::text, $2::text) AS bound;

-- name: unbind
-- $1 pattern, $2 queue → unbound
SELECT tidings.unbind($1::text, $2::text) AS unbound;

-- name: bindings
-- $1 queue or null → pattern, queue_name, bound_at in ms since 1970
SELECT pattern, queue_name, bound_at FROM tidings.bindings($1::text);

-- name: publish
-- $1 batch, $2 plain, $3 queues that are enabled, as JSON, $4 own transaction → rows with at, queue, topic, id,
-- offset, duplicate, as JSON text
SELECT coalesce(json_agg(copy), '[]')::text FROM tidings.publish($1::text::jsonb, $2::boolean,
  ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)), $4::boolean) AS copy;

-- name: prepareQueue
-- $1 queue. Makes the functions that the next four call, which stand with the name of the queue for {queue}.
SELECT tidings.prepare_queue($1::text);

-- name: sendPlain
-- $1 bodies, $2 headers, as JSON, or null → ids, separated by commas
SELECT tidings."send:{queue}"($1::text::jsonb, $2::text::jsonb) AS ids;

-- name: claim
-- $1 quantity, $2 lease in ms, $3 mark, $4 last key, $5 sweep, $6 number of this process or null, $7 which of its claims,
-- $8 the first of this queue, $9 how many are begun at once, or null, $10 how many bytes at most, or null
-- → rows of tidings.message
SELECT id, data, meta, headers, read_ct, vt_us, sent_at, visible_at, last_read_at, next_due_ms, sweep_ms
FROM tidings."claim:{queue}"($1::integer, $2::bigint, $3::bigint, $4::text, $5::boolean, $6::integer, $7::integer,
  $8::boolean, $9::integer, $10::bigint);

-- name: claimFreed
-- The same, with keys in $6 whose message this process has ended, as JSON; $7 to $11 as $6 to $10 above
SELECT id, data, meta, headers, read_ct, vt_us, sent_at, visible_at, last_read_at, next_due_ms, sweep_ms
FROM tidings."claim:{queue}"($1::integer, $2::bigint, $3::bigint, $4::text, $5::boolean, $7::integer, $8::integer,
  $9::boolean, $10::integer, $11::bigint, ARRAY(SELECT jsonb_array_elements_text($6::text::jsonb)));

-- name: settlePlain
-- $1 ids, $2 read counts, $3 ends of leases, as arrays → positions, separated by commas, or null
SELECT tidings."settle:{queue}"($1::text::bigint[], $2::text::integer[], $3::text::bigint[]) AS positions;

-- name: claimIds
-- $1 queue, $2 quantity, $3 lease in ms, $4 ids as JSON, $5 to $9 as $6 to $10 of claim → rows of tidings.message
SELECT id, data, meta, headers, read_ct, vt_us, sent_at, visible_at, last_read_at, next_due_ms, sweep_ms
FROM tidings.claim_ids($1::text, $2::integer, $3::bigint,
  ARRAY(SELECT jsonb_array_elements_text($4::text::jsonb)::bigint), $5::integer, $6::integer, $7::boolean, $8::integer,
  $9::bigint);

-- name: sweepStep
-- $1 queue, $2 where the step before ended or 0, $3 the mark or null, $4 when the first step began or null → ids as JSON,
-- sorted, reached, ended, began_us, next_due_ms, ms
SELECT to_json(ids::text[])::text AS ids, sorted, reached::text AS reached, ended, began_us::text AS began_us, next_due_ms, ms
FROM tidings.sweep_step($1::text, $2::bigint, $3::bigint, $4::bigint);

-- name: giveBackClaim
-- $1 queue, $2 number of this process, $3 its secret, $4 which of its claims, $5 a time before it, in ms since 1970
SELECT tidings.give_back_claim($1::text, $2::integer, $3::text::uuid, $4::integer, $5::float8);

-- name: pop
-- $1 queue, $2 quantity, $3 mark, $4 last key, $5 sweep → rows of tidings.message
SELECT id, data, meta, headers, read_ct, vt_us, sent_at, visible_at, last_read_at, next_due_ms, sweep_ms
FROM tidings.pop($1::text, $2::integer, $3::bigint, $4::text, $5::boolean);

-- name: peek
-- $1 queue, $2 place or null, $3 quantity, $4 after id or null, $5 ids as JSON or null, $6 meta as JSON or null,
-- $7 at how many messages to look, or null, $8 dedup id or null → rows of tidings.message; of where the seventh has ended it,
-- nothing but the id
SELECT id, data, meta, headers, read_ct, vt_us, sent_at, visible_at, last_read_at, archived_at
FROM tidings.peek($1::text, $2::text, $3::integer, $4::bigint,
  CASE WHEN $5::text IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text($5::text::jsonb)::bigint)
    WHEN $8::text IS NOT NULL THEN ARRAY[tidings.sent_with($1::text, $8::text)] END, $6::text::jsonb,
  $7::integer);

-- name: settle
-- $1 queue, $2 batch, $3 plain → rows with at, new_id, as JSON text
SELECT coalesce(json_agg(settled), '[]')::text
FROM tidings.settle($1::text, $2::text::jsonb, $3::boolean) AS settled;

-- name: extend
-- $1 queue, $2 batch, $3 lease in ms, $4 number of this process or null → at, vt_us
SELECT at, vt_us FROM tidings.extend($1::text, $2::text::jsonb, $3::bigint, $4::integer);

-- name: cancel
-- $1 queue, $2 ids as JSON → id
SELECT id FROM tidings.cancel($1::text, ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint));

-- name: cancelRunning
-- $1 queue, $2 ids as JSON → id, asked
SELECT id, asked FROM tidings.cancel_running($1::text, ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint));

-- name: makeReady
-- $1 queue, $2 ids as JSON → id
SELECT id FROM tidings.make_ready($1::text, ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint));

-- name: correlation
-- $1 correlation id → queue, pending, running, done, dead, cancelled, started_at, completed_at, failed_at, done_at
SELECT queue, pending::float8, running::float8, done::float8, dead::float8, cancelled::float8, started_at, completed_at,
  failed_at, done_at
FROM tidings.correlation_state($1::text);

-- name: queuesToMaintain
-- → queue
SELECT queue FROM tidings.queues_to_maintain() AS queue;

-- name: maintainQueue
-- $1 queue
SELECT tidings.maintain_queue($1::text);

-- name: indexQueue
-- $1 queue. In a transaction of its own, since it locks the table.
SELECT tidings.index_queue($1::text);

-- name: maintain
SELECT tidings.maintain();

-- name: putSchedule
-- $1 name, $2 revision, $3 when it is due or null, $4 definition, $5 progress, $6 revision before or null → a row with done,
-- as JSON text
SELECT json_build_array(json_build_object('done',
  tidings.put_schedule($1::text, $2::text, $3::bigint, $4::text, $5::text, $6::text)))::text AS answer;

-- name: removeSchedule
-- $1 name, $2 revision or null → removed
SELECT tidings.remove_schedule($1::text, $2::text) AS removed;

-- name: schedules
-- $1 whether only those that are due, $2 name or null → found as JSON
SELECT tidings.schedules($1::boolean, $2::text)::text AS found;

-- name: beginHistory
-- $1 how many minutes are kept → a row with minute, before; none if somebody else has this minute; as JSON text
SELECT coalesce(json_agg(b), '[]')::text AS answer FROM tidings.begin_history($1::integer) b;

-- name: noteHistory
-- $1 minute, $2 the one before or null, $3 after how many minutes a row is repeated, $4 queues as JSON → the sums as JSON
SELECT tidings.note_history($1::integer, $2::integer, $3::integer,
  ARRAY(SELECT jsonb_array_elements_text($4::text::jsonb)))::text AS total;

-- name: endHistory
-- $1 minute, $2 the sums as JSON
SELECT tidings.end_history($1::integer, $2::text::jsonb);

-- name: addHistory
-- $1 what was counted, as JSON
SELECT tidings.add_history($1::text::jsonb);

-- name: historyOf
-- $1 queue, $2 from which minute on, $3 before which → rows, noted and now as JSON
SELECT tidings.history_of($1::text, $2::integer, $3::integer)::text AS found;

-- name: historyOfAll
-- $1 from which minute on, $2 before which → rows, noted and now as JSON
SELECT tidings.history_of_all($1::integer, $2::integer)::text AS found;

-- name: createTopic
-- $1 topic, $2 settings → created
SELECT tidings.create_topic($1::text, $2::text::jsonb) AS created;

-- name: dropTopic
-- $1 topic → dropped
SELECT tidings.drop_topic($1::text) AS dropped;

-- name: topics
-- $1 topic or null → topic, description, max_age_ms, max_bytes, when_read, created_at, first_offset, last_offset, bytes,
--   subscriptions, patterns and queues as JSON
SELECT topic, description, max_age_ms::float8, max_bytes::float8, when_read, created_at, first_offset::float8,
  last_offset::float8, bytes::float8, subscriptions::float8, to_json(patterns)::text AS patterns,
  to_json(queues)::text AS queues
FROM tidings.topics($1::text);

-- name: bindTopic
-- $1 topic, $2 pattern or null, $3 queue or null → bound
SELECT tidings.link_topic($1::text, $2::text, $3::text) AS bound;

-- name: unbindTopic
-- $1 topic, $2 pattern or null, $3 queue or null → unbound
SELECT tidings.unlink_topic($1::text, $2::text, $3::text) AS unbound;

-- name: append
-- $1 topic, $2 batch, $3 plain, $4 queues that are enabled, as JSON, $5 own transaction → rows with at, queue,
-- offset, duplicate, as JSON text
SELECT coalesce(json_agg(appended), '[]')::text FROM tidings.append($1::text, $2::text::jsonb, $3::boolean,
  ARRAY(SELECT jsonb_array_elements_text($4::text::jsonb)), $5::boolean) AS appended;

-- name: readTopic
-- $1 topic, $2 after, $3 quantity → offset, data, meta, headers, published_at
SELECT "offset"::float8, data, meta, headers, published_at
FROM tidings.read_topic($1::text, $2::bigint, $3::integer);

-- name: subscribe
-- $1 topic, $2 subscription, $3 position as JSON → subscribed
SELECT tidings.subscribe($1::text, $2::text, $3::text::jsonb) AS subscribed;

-- name: unsubscribe
-- $1 topic, $2 subscription → unsubscribed
SELECT tidings.unsubscribe($1::text, $2::text) AS unsubscribed;

-- name: subscriptions
-- $1 topic, $2 subscription or null → subscription, cursor, lag, missed, created_at, moved_at, consumer
SELECT subscription, cursor::float8, lag::float8, missed::float8, created_at, moved_at, consumer
FROM tidings.subscriptions($1::text, $2::text);

-- name: holdSubscription
-- $1 topic, $2 subscription, $3 consumer, $4 lease in ms, $5 number of this process or null
-- → receipt, cursor, vanished, retry_ms
SELECT receipt, cursor::float8, vanished, retry_ms
FROM tidings.hold_subscription($1::text, $2::text, $3::text, $4::bigint, $5::integer);

-- name: leaveSubscription
-- $1 topic, $2 subscription, $3 receipt → done
SELECT tidings.leave_subscription($1::text, $2::text, $3::text) AS done;

-- name: ackTopic
-- $1 topic, $2 subscription, $3 offset, $4 receipt or null → done
SELECT tidings.ack_topic($1::text, $2::text, $3::bigint, $4::text) AS done;

-- name: seekTopic
-- $1 topic, $2 subscription or null, $3 position as JSON → moved
SELECT tidings.seek_topic($1::text, $2::text, $3::text::jsonb) AS moved;

-- name: planSeek
-- $1 topic, $2 subscription or null, $3 position as JSON → subscription, was, becomes
SELECT subscription, was::float8, becomes::float8 FROM tidings.plan_seek($1::text, $2::text, $3::text::jsonb);

-- name: maintainTopic
-- $1 topic. Gives what is pending its offsets, whatever the session believes to know of it.
SELECT tidings.take_in(tidings.topic_id($1::text));

-- name: topicsToMaintain
-- → topic, prune
SELECT topic, prune FROM tidings.topics_to_maintain();

-- name: pruneTopic
-- $1 topic → more
SELECT tidings.prune_topic($1::text) AS more;

-- name: startWaiting
-- $1 queue, or place of a topic; on the listening connection → writers, as JSON
SELECT to_json(tidings.start_waiting($1::text))::text AS writers;

-- name: stillOpen
-- $1 transactions as JSON; on the listening connection → writers, as JSON
SELECT to_json(tidings.still_open(ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb))))::text AS writers;

-- name: beginLife
-- $1 number that this process had before, or null, $2 its secret, $3 who it is, as JSON; on the listening connection
-- → number, secret
SELECT life.number, life.secret::text AS secret FROM tidings.begin_life($1::integer, $2::text::uuid) life
CROSS JOIN LATERAL tidings.introduce(life.number, life.secret, $3::text::jsonb);

-- name: processes
-- → id, about, queues, as JSON, since, in milliseconds since 1970
SELECT number::text AS id, about::text AS about, since, to_json(queues)::text AS queues FROM tidings.processes();

-- name: endLife
-- $1 number of this process, $2 its secret; on the listening connection
SELECT tidings.end_life($1::integer, $2::text::uuid);

-- name: look
-- $1 queues and places of topics as JSON, $2 number of this process if it may judge others, or null; on the listening
-- connection → read_only: a standby, or a role or database that is set so; answers and gone as JSON, missed
SELECT read_only, answers::text AS answers, to_json(gone)::text AS gone, missed
FROM tidings.look(ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)), $2::integer);

-- name: giveBackOfGone
-- $1 number of this process, $2 number of the one that is gone, $3 the queue that was given back last, or null → queue
SELECT tidings.give_back_of_gone($1::integer, $2::integer, $3::text) AS queue;

-- name: checkQueue
-- $1 queue, or place of a topic; fails if there is none
SELECT to_json(tidings.tables_behind($1::text))::text AS tables;

-- name: stopWaiting
-- $1 queue; on the listening connection
SELECT pg_advisory_unlock_shared(tidings.waiting_lock($1::text));

-- name: diagnoseServer
-- → version, version_number, fsync, synchronous_commit, full_page_writes, connections, max_connections, role, role_limit
--   and database_limit: -1 for none; may_create, has_roles, schema_version, encoding
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS version_number,
  current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
  current_setting('full_page_writes') AS full_page_writes,
  (SELECT count(*)::integer FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
  current_setting('max_connections')::integer AS max_connections, session_user AS role,
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user) AS role_limit,
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
  current_setting('transaction_read_only') AS read_only,
  tidings.may_manage() AS may_create,
  EXISTS (SELECT FROM pg_tables WHERE schemaname = 'tidings' AND tablename = 'role') AS has_roles,
  (SELECT version FROM tidings.migration ORDER BY version DESC LIMIT 1) AS schema_version,
  current_setting('server_encoding') AS encoding;

-- name: diagnoseHorizon
-- What keeps vacuum from removing dead rows for more than a minute → what, since_ms
SELECT what, since_ms FROM (
  SELECT format('session %s (%s, %s)', pid, coalesce(nullif(application_name, ''), 'unnamed'), state) AS what,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 * 1000 AS since_ms
  FROM pg_stat_activity
  WHERE pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 minute'
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
  UNION ALL
  SELECT format('prepared transaction %L', gid), extract(epoch FROM clock_timestamp() - prepared)::float8 * 1000
  FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '1 minute'
  UNION ALL
  SELECT format('replication slot %s, inactive', slot_name), NULL
  FROM pg_replication_slots WHERE NOT active AND (xmin IS NOT NULL OR catalog_xmin IS NOT NULL)
) holders ORDER BY since_ms DESC NULLS LAST;

-- name: diagnoseTables
-- Tables of queues, and our own, with their dead rows, and what this role may do with them
-- → relation, of_queue, live, dead, bytes, usable, ours, filtered: row level security applies to this role; has_policy, unlogged;
--   strange: in a database with roles, another owner than theirs
SELECT format('%s.%s', n.nspname, c.relname) AS relation, n.nspname = 'pgmq' AS of_queue, s.n_live_tup::float8 AS live,
  s.n_dead_tup::float8 AS dead, pg_table_size(c.oid)::float8 AS bytes,
  roles.there OR has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE') AS usable,
  n.nspname <> 'pgmq' OR coalesce(c.reloptions @> '{fillfactor=50}', false) AS ours,
  row_security_active(c.oid) AND NOT roles.there AS filtered,
  EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS has_policy,
  roles.there AND c.relowner <> (SELECT o.nspowner FROM pg_namespace o WHERE o.nspname = 'tidings') AS strange,
  c.relpersistence = 'u' AS unlogged
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN (
  SELECT EXISTS (SELECT FROM pg_tables t WHERE t.schemaname = 'tidings' AND t.tablename = 'role') AS there) roles
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE n.nspname = 'pgmq' AND c.relname IN (SELECT 'q_' || lower(m.queue_name) FROM pgmq.meta m)
  OR n.nspname = 'tidings' AND c.relkind = 'r' AND c.relname NOT IN ('migration', 'role')
ORDER BY n.nspname, c.relname;

-- name: diagnoseParked
-- Messages that another client has hidden for ever → queue, parked
SELECT queue, parked::float8 FROM tidings.parked();

-- name: diagnosePauses
-- Queues that are paused → queue
SELECT queue_name AS queue FROM tidings.all_settings()
WHERE settings ? 'pause' AND coalesce((settings -> 'pause' ->> 'until')::timestamptz > clock_timestamp(), true) ORDER BY 1;

-- name: diagnoseUnlimited
-- Leases that other clients took where a limit holds → queue, leases
SELECT queue, leases::float8 FROM tidings.unlimited_leases();

-- name: diagnoseEvents
-- What announces no events although the migration of the events was applied -> queue: null for new ones;
-- reason: 'trigger', or 'owner' where the table is not that of the role whose functions announce
SELECT CASE WHEN c.relname <> 'meta' THEN substr(c.relname, 3) END AS queue,
  CASE WHEN t.oid IS NULL THEN 'trigger' ELSE 'owner' END AS reason
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'tidings_events'
JOIN pg_class c ON c.relnamespace = to_regnamespace('pgmq') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND (left(c.relname, 2) = 'q_' OR c.relname = 'meta')
LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'tidings_events' AND t.tgenabled IN ('O', 'A')
WHERE p.proname = 'on_insert' AND (t.oid IS NULL OR c.relname <> 'meta' AND c.relowner <> p.proowner)
ORDER BY c.relname;

-- name: diagnoseOpenFunctions
-- Functions of ours that every role of the database may call → name
SELECT format('%s.%s', n.nspname, p.proname) AS name
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname IN ('tidings', 'tidings_events') AND has_function_privilege('public', p.oid, 'EXECUTE')
ORDER BY 1;

-- name: diagnoseAtOpen
-- What makes a database unusable in silence → filtered: a table of ours or the list of queues of which row level security
-- shows this role only a part, or null
SELECT string_agg(format('%s.%s', n.nspname, c.relname), ', ' ORDER BY c.relname) AS filtered
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname = 'tidings' AND c.relkind = 'r' AND c.relname NOT IN ('migration', 'role')
    OR n.nspname = 'pgmq' AND c.relname = 'meta')
  AND c.relrowsecurity AND row_security_active(c.oid) AND has_table_privilege(c.oid, 'SELECT');
