-- Taking messages: claim (with a lease) and pop (for good).
--
-- Order: positive priorities, then messages with ordering keys, then plain ones, then negative priorities. Within a key
-- the order of sending holds, whatever the priorities.
-- A plain claim starts behind a low-water mark on msg_id that the caller keeps, and so walks over nothing that is
-- leased, delayed or dead. What lies behind the mark (leases that ran out, messages that came due, transactions that
-- committed late) is found by a sweep, which starts from the beginning.

-- queue, quantity; lease_ms: how long the messages stay hidden
-- mark: plain messages up to this id are passed over; 0 for a sweep
-- last_key: messages of keys after this one come first, then the others: every key gets its turn
-- sweep: also moves due messages in from tidings.delayed, and tells when to look again
-- holder, claim: the process with which the leases end, and which of its claims this is; is_first: of this queue
-- at_once: how many of the messages, the first in order, are begun at once; those after them are read ahead. Null: all
-- max_bytes: bound on the size of all together, or null
-- Returns a row a message, in no order. After a sweep, and where max_bytes left something out, a row follows with id null
-- and next_due_ms (null if nothing is known to come), sweep_ms, what it cost, and read_ct 1 if something was left out. With lanes
-- it follows too where it is known when to come again, and read_ct is 2 more if limits or holds left something back. A queue that is paused answers with the
-- row of tidings.pause_summary alone.
CREATE OR REPLACE FUNCTION tidings.claim(
  queue text, quantity integer, lease_ms bigint, mark bigint, last_key text, sweep boolean, holder integer = NULL,
  claim integer = NULL, is_first boolean = false, at_once integer = NULL, max_bytes bigint = NULL
) RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT * FROM %s($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)', tidings.function_of('claim', queue))
  USING quantity, lease_ms, mark, last_key, sweep, holder, claim, is_first, at_once, max_bytes;
END
$$;

-- Claims messages by their ids, those of them that are ready. One with an ordering key does not jump its line.
CREATE OR REPLACE FUNCTION tidings.claim_ids(
  queue text, quantity integer, lease_ms bigint, ids bigint[], holder integer = NULL, claim integer = NULL,
  is_first boolean = false, at_once integer = NULL, max_bytes bigint = NULL
) RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  picked bigint[];
BEGIN
  PERFORM tidings.must('receive', queue);
  PERFORM set_config('synchronous_commit', 'off', true);
  PERFORM tidings.promote(queue, 1000);
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT q.msg_id FROM %1$s q
      WHERE q.msg_id = ANY ($1) AND q.vt <= clock_timestamp()
        AND (q.headers ->> 'x-pgmq-group' IS NULL OR NOT EXISTS (
          SELECT FROM %1$s e
          WHERE e.headers ? 'x-pgmq-group'
            AND (e.headers ->> 'x-pgmq-group') COLLATE "C" = (q.headers ->> 'x-pgmq-group') COLLATE "C"
            AND e.msg_id < q.msg_id
          UNION ALL
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = $3 AND d.headers ? 'x-pgmq-group'
            AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = (q.headers ->> 'x-pgmq-group') COLLATE "C"
            AND d.msg_id < q.msg_id))
      ORDER BY coalesce(%2$s, 0) DESC, q.msg_id
      LIMIT $2 FOR UPDATE OF q SKIP LOCKED
    ) ready
  $sql$, tidings.table_of(queue), tidings.priority_expression()) INTO picked USING ids, quantity, queue;
  IF picked IS NOT NULL THEN
    RETURN QUERY EXECUTE format(
      'SELECT * FROM %s($1, $2, NULL, NULL, false, $3, $4, $5, $6, $7, NULL, $8)', tidings.function_of('claim', queue))
    USING quantity, lease_ms, holder, claim, is_first, at_once, max_bytes, picked;
  END IF;
END
$$;

-- Removes and returns messages.
CREATE OR REPLACE FUNCTION tidings.pop(queue text, quantity integer, mark bigint, last_key text, sweep boolean)
RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  synchronous_commit constant text := current_setting('synchronous_commit');
  taken tidings.message[];
  ids bigint[];
  tracked bigint[];
  cancelled jsonb;
BEGIN
  taken := ARRAY(SELECT c FROM tidings.claim(queue, quantity, 0, mark, last_key, sweep) c);
  -- Unlike a lease, this must not be forgotten.
  PERFORM set_config('synchronous_commit', synchronous_commit, true);
  SELECT array_agg(t.id::bigint), array_agg(t.id::bigint) FILTER (WHERE t.headers::jsonb ? 'x-tidings-tracked')
  INTO ids, tracked FROM unnest(taken) t WHERE t.id IS NOT NULL;
  SELECT jsonb_agg(jsonb_build_object('i', t.id, 'r', t.read_ct, 'v', t.vt_us, 'k', 'archive', 'm', jsonb_build_object(
    'cancelled_at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))))
  INTO cancelled FROM unnest(taken) t WHERE t.id IS NOT NULL AND t.headers::jsonb ? 'x-tidings-cancel';
  IF cancelled IS NOT NULL THEN
    PERFORM tidings.settle_archive(queue, tidings.table_of(queue), cancelled);
    tracked := ARRAY(SELECT unnest(tracked) EXCEPT SELECT (e ->> 'i')::bigint FROM jsonb_array_elements(cancelled) e);
  END IF;
  IF ids IS NOT NULL THEN
    EXECUTE format('DELETE FROM %s WHERE msg_id = ANY ($1)', tidings.table_of(queue)) USING ids;
  END IF;
  IF tracked <> '{}' THEN
    PERFORM tidings.end_tasks(queue, tracked, 'done');
  END IF;
  IF ids IS NOT NULL AND (tidings.settings_of(queue)).has_lanes THEN
    PERFORM tidings.note_ends(queue, NULL, ARRAY(SELECT t.headers::jsonb FROM unnest(taken) t WHERE t.id IS NOT NULL));
  END IF;
  RETURN QUERY SELECT * FROM unnest(taken);
END
$$;

-- The only row of a claim while the queue is paused, or none: read_ct 4, and when to look again, or null.
CREATE OR REPLACE FUNCTION tidings.pause_summary(pause jsonb) RETURNS SETOF tidings.message
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT NULL::text, NULL::text, NULL::text, NULL::text, 4, NULL::text, NULL::double precision, NULL::double precision,
    NULL::double precision, NULL::double precision,
    CASE WHEN pause ->> 'until' IS NOT NULL THEN greatest(1, tidings.milliseconds_until((pause ->> 'until')::timestamptz)) END,
    0::double precision
  WHERE pause ->> 'until' IS NULL OR (pause ->> 'until')::timestamptz > clock_timestamp()
$$;

-- The last row of a sweep. With messages left over there is no need to know what comes later.
-- due_ms: of what comes next in the queue, or null
-- held_back, opens_at: see tidings.turns_text
CREATE OR REPLACE FUNCTION tidings.sweep_summary(
  due_ms double precision, left_out boolean, started_at timestamptz, held_back boolean = false, opens_at timestamptz = NULL
) RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  next_due_ms double precision := CASE
    WHEN left_out THEN 0
    ELSE least(due_ms, CASE WHEN opens_at IS NOT NULL THEN greatest(tidings.milliseconds_until(opens_at), 1) END)
  END;
BEGIN
  RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, NULL::text,
    left_out::integer + 2 * held_back::integer, NULL::text,
    NULL::double precision, NULL::double precision, NULL::double precision, NULL::double precision,
    next_due_ms, date_part('epoch', clock_timestamp() - started_at) * 1000;
END
$$;

-- In PL/pgSQL, which keeps its plan for the session.
CREATE OR REPLACE FUNCTION tidings.with_first_read(headers jsonb, moment timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF moment IS NULL OR headers ? 'x-tidings-first-read' OR jsonb_typeof(headers) <> 'object' THEN
    RETURN headers;
  END IF;
  -- As tidings.milliseconds has it.
  RETURN coalesce(headers, '{}')
    || jsonb_build_object('x-tidings-first-read', floor(round(date_part('epoch', moment) * 1000000) / 1000));
END
$$;

-- Moves messages that have come due from tidings.delayed into the queue's table, and tells who waits there.
CREATE OR REPLACE FUNCTION tidings.promote(queue text, quantity integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Not called in the statements: for each of all rows it would say something else, and no index could help.
  moment constant timestamptz := clock_timestamp();
BEGIN
  IF NOT EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = queue AND d.due <= moment) THEN
    RETURN;
  END IF;
  EXECUTE format($sql$
    WITH due AS (
      DELETE FROM tidings.delayed d
      WHERE d.queue_name = $1 AND d.msg_id = ANY (ARRAY(
        SELECT msg_id FROM tidings.delayed
        WHERE queue_name = $1 AND due <= $3
        ORDER BY due, msg_id LIMIT $2 FOR UPDATE SKIP LOCKED))
      RETURNING *
    )
    INSERT INTO %1$s (msg_id, read_ct, enqueued_at, vt, message, headers %2$s) OVERRIDING SYSTEM VALUE
    SELECT msg_id, read_ct, enqueued_at, due, message, headers %2$s FROM due
  $sql$, tidings.table_of(queue), tidings.last_read_column(queue)) USING queue, quantity, moment;
  -- Whoever does this may want only some of them.
  PERFORM tidings.announce(queue, 0);
END
$$;

-- The same before they are due, and they stay hidden until then: what other clients do with messages, they do in the table.
-- ids: null for all. Returns how many.
CREATE OR REPLACE FUNCTION tidings.recall(queue text, ids bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moved bigint;
BEGIN
  IF NOT (CASE
    WHEN ids IS NULL THEN EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = queue)
    ELSE EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = queue AND d.msg_id = ANY (ids))
  END) THEN
    RETURN 0;
  END IF;
  EXECUTE format($sql$
    WITH moved AS (
      DELETE FROM tidings.delayed d WHERE d.queue_name = $1 AND ($2 IS NULL OR d.msg_id = ANY ($2)) RETURNING *
    )
    INSERT INTO %1$s (msg_id, read_ct, enqueued_at, vt, message, headers %2$s) OVERRIDING SYSTEM VALUE
    SELECT msg_id, read_ct, enqueued_at, due, message, headers %2$s FROM moved
  $sql$, tidings.table_of(queue), tidings.last_read_column(queue)) USING queue, ids;
  GET DIAGNOSTICS moved = ROW_COUNT;
  RETURN moved;
END
$$;

-- When the next message becomes ready that was not at the time `since`, an expression: delayed, or with a lease that runs
-- out. Null if there is none. It is one statement, which sees what is moved from one place to the other exactly once.
-- By the primary key, which leads past dead rows: under load there are many times as many of them, until vacuum comes.
-- is_keyed: of an ordering key only the first message counts
CREATE OR REPLACE FUNCTION tidings.soonest_due_expression(
  queue text, live text, is_keyed boolean, has_lanes boolean, since text
) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $text$
DECLARE
  -- The times of other lanes are known.
  is_to_come constant text := format('vt > %s AND vt < ''infinity''', since)
    || CASE WHEN has_lanes THEN ' AND ' || tidings.ungrouped_expression() ELSE '' END;
  delayed constant text := format('(SELECT due FROM tidings.delayed WHERE queue_name = %L ORDER BY due LIMIT 1)', queue);
BEGIN
  RETURN CASE
    WHEN is_keyed THEN format($sql$(
      WITH RECURSIVE %1$s
      SELECT least(
        (SELECT min(vt) FROM %2$s WHERE msg_id > 0 AND headers ->> 'x-pgmq-group' IS NULL AND %3$s),
        (SELECT min(vt) FROM head WHERE %3$s), %4$s))$sql$, tidings.heads_expression(live), live, is_to_come, delayed)
    ELSE format('least((SELECT min(vt) FROM %s WHERE msg_id > 0 AND %s), %s)', live, is_to_come, delayed)
  END;
END
$text$;

-- Milliseconds until then. 0 if it has become ready meanwhile, since a sweep that began at that time may have passed it before.
-- Claims ask "due:<queue>", which is planned once.
CREATE OR REPLACE FUNCTION tidings.next_due_ms(queue text, since timestamptz) RETURNS double precision
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  live constant regclass := tidings.table_of(queue);
  settings constant tidings.queue := tidings.settings_of(queue);
  soonest timestamptz;
BEGIN
  EXECUTE 'SELECT ' || tidings.soonest_due_expression(
    queue, live::text, settings.has_keys OR settings.has_lanes, settings.has_lanes, '$1') INTO soonest USING since;
  RETURN CASE WHEN soonest IS NOT NULL THEN greatest(tidings.milliseconds_until(soonest), 0) END;
END
$$;
