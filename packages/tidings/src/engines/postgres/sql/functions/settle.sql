-- Ending and prolonging leases. A lease is proved by the read count and the exact time until which the message is
-- hidden, which together name one claim; PGMQ asks for the id only and lets a late reader settle what another has.

-- batch: a JSON array of {
--   i: id, r: read count, v: hidden until, in microseconds since 1970,
--   k: 'delete' | 'archive' | 'release' | 'move', d: delay in ms, m: meta to merge, u: take the read back, t: queue,
--   o: 'queue' | 'group', which is held back for as long }
-- plain: all of them delete
-- Returns a row for each one that was carried out: its position in the batch, from 1, and the new id after a move.
CREATE OR REPLACE FUNCTION tidings.settle(queue text, batch jsonb, plain boolean)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  positions integer[];
  ids bigint[];
  reads integer[];
  ends bigint[];
  deleted text;
  live regclass;
  settings tidings.queue;
  ended bigint[];
  heads jsonb[];
BEGIN
  SELECT array_agg(position), array_agg((e ->> 'i')::bigint), array_agg((e ->> 'r')::integer), array_agg((e ->> 'v')::bigint)
  INTO positions, ids, reads, ends
  FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) WHERE e ->> 'k' = 'delete';
  IF ids IS NOT NULL THEN
    EXECUTE format('SELECT %s($1, $2, $3)', tidings.function_of('settle', queue)) INTO deleted USING ids, reads, ends;
    RETURN QUERY SELECT positions[d::integer], NULL::text FROM unnest(string_to_array(deleted, ',')) d;
  END IF;
  IF plain THEN
    RETURN;
  END IF;
  PERFORM tidings.must('receive', queue);
  live := tidings.table_of(queue);
  settings := tidings.settings_of(queue);
  IF settings.has_lanes THEN
    EXECUTE format($sql$
      SELECT array_agg(msg_id), array_agg(headers) FROM (
        SELECT q.msg_id, q.headers FROM %1$s q JOIN jsonb_array_elements($1) AS entries (e) ON %2$s
        WHERE e ->> 'k' <> 'delete' ORDER BY q.msg_id FOR UPDATE OF q
      ) locked
    $sql$, live, tidings.proof_expression()) INTO ended, heads USING batch;
    EXECUTE format($sql$
      INSERT INTO tidings.lane_news (queue_name, name, held_until)
      SELECT $2, CASE e ->> 'o' WHEN 'group' THEN q.headers ->> 'x-tidings-group' END,
        clock_timestamp() + (e ->> 'd')::bigint * interval '1 millisecond'
      FROM %1$s q JOIN jsonb_array_elements($1) AS entries (e) ON %2$s
      WHERE e ->> 'o' = 'queue' OR e ->> 'o' = 'group' AND q.headers ->> 'x-tidings-group' <> ''
    $sql$, live, tidings.proof_expression()) USING batch, queue;
  END IF;
  RETURN QUERY SELECT * FROM tidings.settle_archive(queue, live, batch);
  RETURN QUERY SELECT * FROM tidings.settle_release(queue, live, batch);
  RETURN QUERY SELECT * FROM tidings.settle_move(queue, live, batch);
  -- The end of a message makes way for the next of its key.
  IF settings.has_keys THEN
    PERFORM tidings.announce(queue, 0);
  END IF;
  IF ended IS NOT NULL THEN
    PERFORM tidings.note_ends(queue, ended, heads);
  END IF;
END
$$;

-- Nothing becomes a dead letter that somebody has cancelled: what its settlement says of that is as good as a stale receipt.
CREATE OR REPLACE FUNCTION tidings.ending_expression() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.proof_expression()
    || $sql$ AND (e -> 'm' ->> 'dead_lettered_at' IS NULL OR NOT coalesce(q.headers ? 'x-tidings-cancel', false))$sql$
$$;

CREATE OR REPLACE FUNCTION tidings.settle_archive(queue text, live regclass, batch jsonb)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  positions integer[];
  done bigint[];
  dead bigint[];
  cancelled bigint[];
BEGIN
  EXECUTE format($sql$
    WITH gone AS (
      DELETE FROM %1$s q
      USING jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
      WHERE e ->> 'k' = 'archive'
        AND %4$s
      RETURNING q.*, e, position
    ), kept AS (
      INSERT INTO %2$s (msg_id, read_ct, enqueued_at, vt, message, headers %3$s)
      SELECT msg_id, read_ct, enqueued_at, vt, tidings.patched_message(message, headers, e -> 'm'),
        tidings.patched_headers(message, headers, e -> 'm') %3$s
      FROM gone
    )
    SELECT array_agg(position::integer),
      array_agg(msg_id) FILTER (WHERE headers ? 'x-tidings-tracked'
        AND NOT tidings.is_dead_letter(message, headers, e -> 'm') AND e -> 'm' ->> 'cancelled_at' IS NULL),
      array_agg(msg_id) FILTER (WHERE headers ? 'x-tidings-tracked'
        AND tidings.is_dead_letter(message, headers, e -> 'm')),
      array_agg(msg_id) FILTER (WHERE headers ? 'x-tidings-tracked'
        AND NOT tidings.is_dead_letter(message, headers, e -> 'm') AND e -> 'm' ->> 'cancelled_at' IS NOT NULL)
    FROM gone
  $sql$, live, tidings.table_of(queue, 'a_'), tidings.last_read_column(queue), tidings.ending_expression())
  INTO positions, done, dead, cancelled USING batch;
  RETURN QUERY SELECT position, NULL::text FROM unnest(positions) AS archived (position);
  IF done IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, done, 'done');
  END IF;
  IF dead IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, dead, 'dead');
  END IF;
  IF cancelled IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, cancelled, 'cancelled');
  END IF;
END
$$;

-- Without a delay the message stays where it is; with one it waits in tidings.delayed, in the order of due times. In the
-- schema of PGMQ itself all stay.
CREATE OR REPLACE FUNCTION tidings.settle_release(queue text, live regclass, batch jsonb)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  longest_there constant bigint := CASE WHEN tidings.owns_pgmq() THEN 0 ELSE 9223372036854775807 END;
  due constant text := format(
    $sql$tidings.unheld(clock_timestamp() + (e ->> 'd')::bigint * interval '1 millisecond', %s)$sql$,
    tidings.last_read_or_null(queue));
  released integer;
  postponed integer;
  soonest bigint;
BEGIN
  RETURN QUERY EXECUTE format($sql$
    UPDATE %1$s q SET
      vt = CASE WHEN (e ->> 'd')::bigint > 0 THEN %3$s ELSE clock_timestamp() END,
      read_ct = q.read_ct - CASE WHEN (e ->> 'u')::boolean THEN 1 ELSE 0 END,
      message = tidings.patched_message(q.message, q.headers, e -> 'm'),
      headers = tidings.patched_headers(q.message, q.headers, e -> 'm')
    FROM jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
    WHERE e ->> 'k' = 'release' AND (e ->> 'd')::bigint <= $2
      AND %2$s
    RETURNING position::integer, NULL::text
  $sql$, live, tidings.proof_expression(), due) USING batch, longest_there;
  GET DIAGNOSTICS released = ROW_COUNT;

  RETURN QUERY EXECUTE format($sql$
    WITH gone AS (
      DELETE FROM %1$s q
      USING jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
      WHERE e ->> 'k' = 'release' AND (e ->> 'd')::bigint > $3
        AND %3$s
      RETURNING q.*, e, position
    ), postponed AS (
      INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message, headers %2$s)
      SELECT $2, msg_id, %4$s,
        read_ct - CASE WHEN (e ->> 'u')::boolean THEN 1 ELSE 0 END, enqueued_at,
        tidings.patched_message(message, headers, e -> 'm'), tidings.patched_headers(message, headers, e -> 'm') %2$s
      FROM gone
    )
    SELECT position::integer, NULL::text FROM gone
  $sql$, live, tidings.last_read_column(queue), tidings.proof_expression(), due) USING batch, queue, longest_there;
  GET DIAGNOSTICS postponed = ROW_COUNT;
  IF released + postponed > 0 THEN
    FOR soonest IN
      SELECT min((e ->> 'd')::bigint) FROM jsonb_array_elements(batch) AS entries (e)
      WHERE e ->> 'k' = 'release' GROUP BY (e ->> 'd')::bigint = 0
    LOOP
      PERFORM tidings.announce(queue, soonest);
    END LOOP;
  END IF;
END
$$;

-- Into other queues, which are created where they are missing.
CREATE OR REPLACE FUNCTION tidings.settle_move(queue text, live regclass, batch jsonb)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target text;
  target_live regclass;
  soonest bigint;
  anything boolean;
  positions integer[];
  new_ids bigint[];
  tracked bigint[];
  tracked_ids bigint[];
  was text[];
  settings tidings.queue := tidings.settings_of(queue);
BEGIN
  FOR target, soonest IN
    SELECT e ->> 't', min((e ->> 'd')::bigint) FROM jsonb_array_elements(batch) AS entries (e)
    WHERE e ->> 'k' = 'move' GROUP BY 1 ORDER BY 1
  LOOP
    -- A move whose receipt is stale must not leave a new queue behind.
    EXECUTE format($sql$
      SELECT EXISTS (
        SELECT FROM %1$s q JOIN jsonb_array_elements($1) AS entries (e) ON %2$s
        WHERE e ->> 'k' = 'move' AND e ->> 't' = $2)
    $sql$, live, tidings.ending_expression()) INTO anything USING batch, target;
    CONTINUE WHEN NOT anything;
    PERFORM tidings.make_queue(target);
    PERFORM tidings.must('send', target, queue);
    target_live := tidings.table_of(target);
    EXECUTE format($sql$
      WITH gone AS (
        DELETE FROM %1$s q
        USING jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
        WHERE e ->> 'k' = 'move' AND e ->> 't' = $2
          AND %3$s
        RETURNING q.msg_id, q.message, q.headers, q.enqueued_at, e, position
      ), numbered AS MATERIALIZED (
        SELECT *, nextval($3::regclass) AS id FROM (SELECT * FROM gone ORDER BY position) ordered
      ), moved AS (
        SELECT position, id, msg_id, enqueued_at,
          clock_timestamp() + (e ->> 'd')::bigint * interval '1 millisecond' AS due,
          tidings.patched_message(message, headers, e -> 'm') AS message,
          tidings.patched_headers(
            message,
            CASE WHEN jsonb_typeof(headers) = 'object' THEN headers - 'x-tidings-first-read' ELSE headers END,
            e -> 'm') AS headers
        FROM numbered
      ), stored AS (
        INSERT INTO %2$s (msg_id, enqueued_at, vt, message, headers) OVERRIDING SYSTEM VALUE
        SELECT id, enqueued_at, due, message, headers FROM moved
        WHERE due <= $4
      ), postponed AS (
        INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message, headers)
        SELECT $2, id, due, 0, enqueued_at, message, headers FROM moved
        WHERE due > $4
      )
      SELECT array_agg(position::integer ORDER BY id), array_agg(id ORDER BY id),
        array_agg(msg_id ORDER BY id) FILTER (WHERE headers ? 'x-tidings-tracked'),
        array_agg(id ORDER BY id) FILTER (WHERE headers ? 'x-tidings-tracked'),
        array_agg(CASE WHEN tidings.is_dead_letter(message, headers, '{}') THEN 'dead' ELSE 'pending' END ORDER BY id)
          FILTER (WHERE headers ? 'x-tidings-tracked')
      FROM moved
    $sql$, live, target_live, tidings.ending_expression())
    INTO positions, new_ids, tracked, tracked_ids, was
    USING batch, target, pg_get_serial_sequence(target_live::text, 'msg_id'), tidings.near_until();
    RETURN QUERY SELECT position, id::text FROM unnest(positions, new_ids) AS moved (position, id);
    IF tracked IS NOT NULL THEN
      PERFORM tidings.move_tasks(queue, target, tracked, tracked_ids, was);
    END IF;
    -- Keys and priorities move along.
    IF (settings.has_keys AND NOT (tidings.settings_of(target)).has_keys)
      OR (settings.has_priorities AND NOT (tidings.settings_of(target)).has_priorities)
      OR (settings.has_lanes AND NOT (tidings.settings_of(target)).has_lanes)
    THEN
      PERFORM tidings.enable(target, settings.has_keys, settings.has_priorities, settings.has_lanes);
    END IF;
    PERFORM tidings.announce(target, soonest);
  END LOOP;
END
$$;

-- batch: a JSON array of { i: id, r: read count, v: hidden until, c: true to prolong also what was asked to be cancelled }
-- holder: the process whose leases stay its own, or null. One that it prolonged before, by a whole number of seconds and
-- without hearing of it, is prolonged again: the answer was lost.
-- Returns the position of each lease that was prolonged, and the new end in microseconds.
CREATE OR REPLACE FUNCTION tidings.extend(queue text, batch jsonb, lease_ms bigint, holder integer = NULL)
RETURNS TABLE (at integer, vt_us text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  until constant timestamptz := clock_timestamp() + lease_ms * interval '1 millisecond';
  proof text := tidings.proof_expression();
  new_end text := '$2';
  held text;
BEGIN
  PERFORM tidings.must('receive', queue);
  -- Forgotten by a crash, the lease just ends earlier.
  PERFORM set_config('synchronous_commit', 'off', true);
  IF holder IS NOT NULL AND (tidings.settings_of(queue)).has_last_read THEN
    held := tidings.held_expression(holder);
    new_end := format('CASE WHEN %s THEN tidings.later(q.vt, $2) ELSE $2 END', held);
    -- In that order: another client may have hidden the message until 'infinity', which is no number.
    proof := format($sql$(%s OR q.read_ct = (e ->> 'r')::integer AND CASE WHEN %s
      THEN date_part('epoch', q.vt) * 1000000 > (e ->> 'v')::bigint
        AND (date_part('epoch', q.vt) * 1000000 - (e ->> 'v')::bigint)::bigint %% 1000000 = 0 END)$sql$, proof, held);
  END IF;
  IF (tidings.settings_of(queue)).has_lanes THEN
    -- A claim that finds the lease run out comes before or after, not meanwhile. It waits for nobody, and so comes second here.
    EXECUTE format($sql$
      SELECT FROM %s q WHERE q.msg_id = ANY (ARRAY(SELECT (e ->> 'i')::bigint FROM jsonb_array_elements($1) e))
      ORDER BY q.msg_id FOR UPDATE
    $sql$, tidings.table_of(queue)) USING batch;
    PERFORM tidings.lock_lanes(queue);
  END IF;
  RETURN QUERY EXECUTE format($sql$
    UPDATE %1$s q SET vt = %3$s
    FROM jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
    WHERE q.msg_id = (e ->> 'i')::bigint AND %2$s AND q.vt > clock_timestamp()
      AND (NOT coalesce(q.headers ? 'x-tidings-cancel', false) OR (e ->> 'c')::boolean IS TRUE)
    RETURNING position::integer, tidings.microseconds(q.vt)::text
  $sql$, tidings.table_of(queue), proof, new_end) USING batch, until;
END
$$;

-- Removes messages that nobody has in hand. Returns the ids of those that were removed.
CREATE OR REPLACE FUNCTION tidings.cancel(queue text, ids bigint[]) RETURNS TABLE (id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cancelled bigint[];
  tracked bigint[];
  heads jsonb[];
BEGIN
  PERFORM tidings.must('receive', queue);
  IF (tidings.settings_of(queue)).has_lanes THEN
    EXECUTE format('SELECT array_agg(headers) FROM %s WHERE msg_id = ANY ($1)', tidings.table_of(queue)) INTO heads USING ids;
  END IF;
  -- Twice: what had come due was moved from one place to the other while the first time waited for its lock.
  FOR attempt IN 1..2 LOOP
    EXECUTE format($sql$
      WITH gone AS (
        DELETE FROM %s WHERE msg_id = ANY ($1) AND (vt <= clock_timestamp() OR read_ct = 0) RETURNING msg_id, headers
      ), unwaited AS (
        DELETE FROM tidings.delayed d WHERE d.queue_name = $2 AND d.msg_id = ANY ($1) RETURNING d.msg_id, d.headers
      )
      SELECT array_agg(msg_id), array_agg(msg_id) FILTER (WHERE headers ? 'x-tidings-tracked')
      FROM (SELECT * FROM gone UNION ALL SELECT * FROM unwaited) removed
    $sql$, tidings.table_of(queue)) INTO cancelled, tracked USING ids, queue;
    RETURN QUERY SELECT c::text FROM unnest(cancelled) c;
    IF tracked IS NOT NULL THEN
      PERFORM tidings.end_tasks(queue, tracked, 'cancelled');
    END IF;
    ids := ARRAY(SELECT unnest(ids) EXCEPT SELECT unnest(cancelled));
    EXIT WHEN ids = '{}';
  END LOOP;
  IF (tidings.settings_of(queue)).has_keys THEN
    PERFORM tidings.announce(queue, 0);
  END IF;
  IF heads IS NOT NULL THEN
    PERFORM tidings.note_ends(queue, NULL, heads);
  END IF;
END
$$;

-- The same; those that somebody has in hand are asked for: a header tells it to their readers, and a notification to
-- those who listen, whoever waits for messages. Returns the ids of those that
-- were removed or asked for.
CREATE OR REPLACE FUNCTION tidings.cancel_running(queue text, ids bigint[]) RETURNS TABLE (id text, asked boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found bigint[];
BEGIN
  PERFORM tidings.must('receive', queue);
  -- Twice: a lease began or ended in between.
  FOR attempt IN 1..2 LOOP
    EXECUTE format($sql$
      WITH marked AS (
        UPDATE %s q SET headers = CASE
            WHEN jsonb_typeof(q.headers) = 'object' THEN q.headers
            WHEN q.headers <> 'null' THEN jsonb_build_object('x-tidings-headers', q.headers)
            ELSE '{}'
          END || jsonb_build_object('x-tidings-cancel', coalesce(
            q.headers ->> 'x-tidings-cancel',
            to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
        WHERE q.msg_id = ANY ($1) AND q.read_ct > 0 AND q.vt > clock_timestamp() AND q.vt < 'infinity' RETURNING q.msg_id
      )
      SELECT array_agg(msg_id) FROM marked
    $sql$, tidings.table_of(queue)) INTO found USING ids;
    RETURN QUERY SELECT f::text, true FROM unnest(found) f;
    IF found IS NOT NULL THEN
      PERFORM pg_notify('tidings.cancels:' || queue, '0');
    END IF;
    ids := ARRAY(SELECT unnest(ids) EXCEPT SELECT unnest(found));
    EXIT WHEN ids = '{}';
    found := ARRAY(SELECT c.id::bigint FROM tidings.cancel(queue, ids) c);
    RETURN QUERY SELECT f::text, false FROM unnest(found) f;
    ids := ARRAY(SELECT unnest(ids) EXCEPT SELECT unnest(found));
    EXIT WHEN ids = '{}';
  END LOOP;
END
$$;

-- Makes messages ready that wait for their time, before it, and ends the holds of the queue and of their groups. Returns the ids of
-- those that are ready. In the schema of PGMQ itself a retry that waits looks like a lease, and stays.
CREATE OR REPLACE FUNCTION tidings.make_ready(queue text, ids bigint[]) RETURNS TABLE (id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
  ready bigint[];
  heads jsonb[];
BEGIN
  PERFORM tidings.must('receive', queue);
  -- Before they are moved: in the table one that was read, and is hidden, is in hand.
  UPDATE tidings.delayed d SET due = moment WHERE d.queue_name = queue AND d.msg_id = ANY (ids) AND d.due > moment;
  PERFORM tidings.recall(queue, ids);
  EXECUTE format($sql$
    UPDATE %s SET vt = $2 WHERE msg_id = ANY ($1) AND read_ct = 0 AND vt > $2 AND vt < 'infinity'
  $sql$, tidings.table_of(queue)) USING ids, moment;
  EXECUTE format('SELECT array_agg(msg_id), array_agg(headers) FROM %s WHERE msg_id = ANY ($1) AND vt <= clock_timestamp()',
    tidings.table_of(queue)) INTO ready, heads USING ids;
  IF ready IS NULL THEN
    RETURN;
  END IF;
  IF (tidings.settings_of(queue)).has_lanes THEN
    PERFORM tidings.lock_lanes(queue);
    PERFORM tidings.end_holds(queue, ARRAY(SELECT h ->> 'x-tidings-group' FROM unnest(heads) h));
    PERFORM tidings.note_ends(queue, NULL, heads);
  ELSE
    PERFORM tidings.announce(queue, 0);
  END IF;
  RETURN QUERY SELECT r::text FROM unnest(ready) r;
END
$$;
