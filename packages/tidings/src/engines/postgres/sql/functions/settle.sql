-- Ending and prolonging leases. A lease is proved by the read count and the exact time until which the message is
-- hidden, which together name one claim; PGMQ asks for the id only and lets a late reader settle what another has.

-- batch: a JSON array of {
--   i: id, r: read count, v: hidden until, in microseconds since 1970,
--   k: 'delete' | 'archive' | 'release' | 'move', d: delay in ms, m: meta to merge, u: take the read back, t: queue }
-- plain: all of them delete
-- Returns a row for each one that was carried out: its position in the batch, from 1, and the new id after a move.
CREATE OR REPLACE FUNCTION tidings.settle(queue text, batch jsonb, plain boolean)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
-- The batch is joined to the table by its key, whatever old statistics make the planner believe.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  proof text := tidings.proof_expression();
  positions integer[];
  tracked bigint[];
BEGIN
  PERFORM tidings.must('receive', queue);
  -- Where nothing is tracked, looking for it would take a tenth of the time.
  IF EXISTS (SELECT FROM tidings.task t WHERE t.state = 'pending') THEN
    EXECUTE format($sql$
      WITH gone AS (
        DELETE FROM %1$s q
        USING jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
        WHERE e ->> 'k' = 'delete'
          AND %2$s
        RETURNING position::integer, q.msg_id, q.headers
      )
      SELECT array_agg(position), array_agg(msg_id) FILTER (WHERE headers ? 'x-tidings-tracked') FROM gone
    $sql$, live, proof) INTO positions, tracked USING batch;
    RETURN QUERY SELECT position, NULL::text FROM unnest(positions) AS deleted (position);
    IF tracked IS NOT NULL THEN
      PERFORM tidings.end_tasks(queue, tracked, 'done');
    END IF;
  ELSE
    RETURN QUERY EXECUTE format($sql$
      DELETE FROM %1$s q
      USING jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
      WHERE e ->> 'k' = 'delete'
        AND %2$s
      RETURNING position::integer, NULL::text
    $sql$, live, proof) USING batch;
  END IF;
  IF NOT plain THEN
    RETURN QUERY SELECT * FROM tidings.settle_archive(queue, live, batch);
    RETURN QUERY SELECT * FROM tidings.settle_release(queue, live, batch);
    RETURN QUERY SELECT * FROM tidings.settle_move(queue, live, batch);
  END IF;
  -- The end of a message makes way for the next of its key.
  IF (tidings.settings_of(queue)).has_keys THEN
    PERFORM tidings.announce(queue, 0);
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION tidings.settle_archive(queue text, live regclass, batch jsonb)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  positions integer[];
  done bigint[];
  dead bigint[];
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
        AND NOT tidings.is_dead_letter(message, headers, e -> 'm')),
      array_agg(msg_id) FILTER (WHERE headers ? 'x-tidings-tracked'
        AND tidings.is_dead_letter(message, headers, e -> 'm'))
    FROM gone
  $sql$, live, tidings.table_of(queue, 'a_'), tidings.last_read_column(queue), tidings.proof_expression())
  INTO positions, done, dead USING batch;
  RETURN QUERY SELECT position, NULL::text FROM unnest(positions) AS archived (position);
  IF done IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, done, 'done');
  END IF;
  IF dead IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, dead, 'dead');
  END IF;
END
$$;

-- Without a delay the message stays where it is; with one it waits in tidings.delayed, in the order of due times.
CREATE OR REPLACE FUNCTION tidings.settle_release(queue text, live regclass, batch jsonb)
RETURNS TABLE (at integer, new_id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  released integer;
  soonest bigint;
BEGIN
  RETURN QUERY EXECUTE format($sql$
    UPDATE %1$s q SET
      vt = clock_timestamp(),
      read_ct = q.read_ct - CASE WHEN (e ->> 'u')::boolean THEN 1 ELSE 0 END,
      message = tidings.patched_message(q.message, q.headers, e -> 'm'),
      headers = tidings.patched_headers(q.message, q.headers, e -> 'm')
    FROM jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
    WHERE e ->> 'k' = 'release' AND (e ->> 'd')::bigint = 0
      AND %2$s
    RETURNING position::integer, NULL::text
  $sql$, live, tidings.proof_expression()) USING batch;
  GET DIAGNOSTICS released = ROW_COUNT;
  IF released > 0 THEN
    PERFORM tidings.announce(queue, 0);
  END IF;

  RETURN QUERY EXECUTE format($sql$
    WITH gone AS (
      DELETE FROM %1$s q
      USING jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
      WHERE e ->> 'k' = 'release' AND (e ->> 'd')::bigint > 0
        AND %3$s
      RETURNING q.*, e, position
    ), postponed AS (
      INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message, headers %2$s)
      SELECT $2, msg_id, clock_timestamp() + (e ->> 'd')::bigint * interval '1 millisecond',
        read_ct - CASE WHEN (e ->> 'u')::boolean THEN 1 ELSE 0 END, enqueued_at,
        tidings.patched_message(message, headers, e -> 'm'), tidings.patched_headers(message, headers, e -> 'm') %2$s
      FROM gone
    )
    SELECT position::integer, NULL::text FROM gone
  $sql$, live, tidings.last_read_column(queue), tidings.proof_expression()) USING batch, queue;
  GET DIAGNOSTICS released = ROW_COUNT;
  IF released > 0 THEN
    SELECT min((e ->> 'd')::bigint) INTO soonest FROM jsonb_array_elements(batch) AS entries (e)
    WHERE e ->> 'k' = 'release' AND (e ->> 'd')::bigint > 0;
    PERFORM tidings.announce(queue, soonest);
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
    $sql$, live, tidings.proof_expression()) INTO anything USING batch, target;
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
        WHERE due <= clock_timestamp() + interval '1 minute'
      ), postponed AS (
        INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message, headers)
        SELECT $2, id, due, 0, enqueued_at, message, headers FROM moved
        WHERE due > clock_timestamp() + interval '1 minute'
      )
      SELECT array_agg(position::integer ORDER BY id), array_agg(id ORDER BY id),
        array_agg(msg_id ORDER BY id) FILTER (WHERE headers ? 'x-tidings-tracked'),
        array_agg(id ORDER BY id) FILTER (WHERE headers ? 'x-tidings-tracked'),
        array_agg(CASE WHEN tidings.is_dead_letter(message, headers, '{}') THEN 'dead' ELSE 'pending' END ORDER BY id)
          FILTER (WHERE headers ? 'x-tidings-tracked')
      FROM moved
    $sql$, live, target_live, tidings.proof_expression())
    INTO positions, new_ids, tracked, tracked_ids, was
    USING batch, target, pg_get_serial_sequence(target_live::text, 'msg_id');
    RETURN QUERY SELECT position, id::text FROM unnest(positions, new_ids) AS moved (position, id);
    IF tracked IS NOT NULL THEN
      PERFORM tidings.move_tasks(queue, target, tracked, tracked_ids, was);
    END IF;
    -- Keys and priorities move along.
    IF (settings.has_keys AND NOT (tidings.settings_of(target)).has_keys)
      OR (settings.has_priorities AND NOT (tidings.settings_of(target)).has_priorities)
    THEN
      PERFORM tidings.enable(target, settings.has_keys, settings.has_priorities);
    END IF;
    PERFORM tidings.announce(target, soonest);
  END LOOP;
END
$$;

-- batch: a JSON array of { i: id, r: read count, v: hidden until }
-- Returns the position of each lease that was prolonged, and the new end in microseconds.
CREATE OR REPLACE FUNCTION tidings.extend(queue text, batch jsonb, lease_ms bigint)
RETURNS TABLE (at integer, vt_us text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  PERFORM tidings.must('receive', queue);
  -- Forgotten by a crash, the lease just ends earlier.
  PERFORM set_config('synchronous_commit', 'off', true);
  RETURN QUERY EXECUTE format($sql$
    UPDATE %1$s q SET vt = clock_timestamp() + $2 * interval '1 millisecond'
    FROM jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
    WHERE %2$s AND q.vt > clock_timestamp()
    RETURNING position::integer, tidings.microseconds(q.vt)::text
  $sql$, tidings.table_of(queue), tidings.proof_expression()) USING batch, lease_ms;
END
$$;

-- Removes messages that nobody has in hand. Returns the ids of those that were removed.
CREATE OR REPLACE FUNCTION tidings.cancel(queue text, ids bigint[]) RETURNS TABLE (id text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cancelled bigint[];
  tracked bigint[];
BEGIN
  PERFORM tidings.must('receive', queue);
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
END
$$;
