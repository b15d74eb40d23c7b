-- Stores a batch of messages in their order.
--
-- batch: a JSON array of {
--   m: the body, h: headers or null, d: delay in ms, t: not before, in ms since 1970, or null,
--   k: dedup id or null, w: its window in ms, u: unique target or null,
--   c: the correlation that it is a task of, or null, q: its completion queue or null }
-- plain: no message of the batch uses anything but m and h
-- Returns a row a message, in order: the id (of the first message, for a duplicate) and whether it is a duplicate.
CREATE OR REPLACE FUNCTION tidings.send(queue text, batch jsonb, plain boolean)
RETURNS TABLE (id text, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('send', queue);
  IF plain THEN
    RETURN QUERY EXECUTE format($sql$
      INSERT INTO %s (vt, message, headers)
      SELECT clock_timestamp(), e -> 'm', nullif(e -> 'h', 'null')
      FROM jsonb_array_elements($1) WITH ORDINALITY AS entry (e, position)
      ORDER BY position
      RETURNING msg_id::text, false
    $sql$, tidings.table_of(queue)) USING batch;
    PERFORM tidings.announce(queue, 0);
  ELSE
    RETURN QUERY SELECT * FROM tidings.send_special(queue, batch);
  END IF;
END
$$;

-- The same where the queue may hold no more than `most` messages with these. Where they do not fit, nothing is done, and
-- the one row has no id but says how many there are (no more are counted than it takes) and how many were to be stored.
-- All who send with a limit wait for each other until their transactions end; nobody else waits.
CREATE OR REPLACE FUNCTION tidings.send_limited(queue text, batch jsonb, plain boolean, most bigint)
RETURNS TABLE (id text, duplicate boolean, there bigint, fresh bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  ids text[];
  duplicates boolean[];
BEGIN
  PERFORM tidings.must('send', queue);
  PERFORM pg_advisory_xact_lock(hashtextextended('tidings.length:' || queue, 0));
  EXECUTE format($sql$
    SELECT count(*) FROM (
      SELECT FROM %s UNION ALL SELECT FROM tidings.delayed d WHERE d.queue_name = $1 LIMIT $2
    ) counted
  $sql$, live) INTO there USING queue, most + 1;
  fresh := jsonb_array_length(batch);
  IF there + fresh <= most THEN
    RETURN QUERY SELECT s.id, s.duplicate, NULL::bigint, NULL::bigint FROM tidings.send(queue, batch, plain) s;
    RETURN;
  END IF;

  IF NOT plain THEN
    BEGIN
      -- Which are duplicates, and so do not count, turns out in storing them.
      SELECT array_agg(s.id ORDER BY n), array_agg(s.duplicate ORDER BY n), count(*) FILTER (WHERE NOT s.duplicate)
      INTO ids, duplicates, fresh
      FROM tidings.send(queue, batch, false) WITH ORDINALITY AS s (id, duplicate, n);
      IF fresh = 0 OR there + fresh <= most THEN
        RETURN QUERY SELECT u.id, u.duplicate, NULL::bigint, NULL::bigint FROM unnest(ids, duplicates) AS u (id, duplicate);
        RETURN;
      END IF;
      RAISE EXCEPTION 'full' USING ERRCODE = 'TD429';
    EXCEPTION WHEN SQLSTATE 'TD429' THEN
      NULL;
    END;
  END IF;
  RETURN QUERY SELECT NULL::text, NULL::boolean, there, fresh;
END
$$;

-- The same for batches with delays, dedup ids, unique targets or tracking.
-- A delay of up to a minute stays in the queue's table, where other clients of PGMQ see it; a longer one is kept in
-- tidings.delayed, so that a claim does not have to walk over it.
CREATE OR REPLACE FUNCTION tidings.send_special(queue text, batch jsonb)
RETURNS TABLE (id text, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  sequence regclass := pg_get_serial_sequence(live::text, 'msg_id');
  size integer := jsonb_array_length(batch);
  ids bigint[] := ARRAY(SELECT nextval(sequence) FROM generate_series(1, size));
  -- Per entry: null, or the message that it is a duplicate of.
  firsts bigint[] := array_fill(NULL::bigint, ARRAY[size]);
  keys text[];
  has_ready boolean;
  next_due timestamptz;
  entry record;
BEGIN
  SELECT array_agg(DISTINCT key) INTO keys
  FROM jsonb_array_elements(batch) AS entries (e),
    LATERAL (VALUES ('id:' || (e ->> 'k')), ('target:' || (e ->> 'u'))) AS wanted (key)
  WHERE key IS NOT NULL;
  IF keys IS NOT NULL THEN
    -- All keys are locked first, in one order for all senders, so that two batches never wait for each other in a
    -- circle. A key that nobody has yet is written as one that expired. In one statement: between two, upkeep could
    -- remove what has expired.
    INSERT INTO tidings.dedup (queue_name, key, msg_id, expires_at)
    SELECT queue, key, 0, '-infinity' FROM unnest(keys) AS wanted (key) ORDER BY key
    ON CONFLICT (queue_name, key) DO UPDATE SET key = EXCLUDED.key;

    FOR entry IN
      SELECT position, e ->> 'k' AS dedup_id, (e ->> 'w')::bigint AS window_ms, e ->> 'u' AS target
      FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position)
      WHERE e ->> 'k' IS NOT NULL OR e ->> 'u' IS NOT NULL
      ORDER BY position
    LOOP
      firsts[entry.position] := coalesce(
        tidings.holder_of_dedup_id(queue, entry.dedup_id),
        tidings.holder_of_target(queue, live, entry.target, ids));
      IF firsts[entry.position] IS NULL THEN
        UPDATE tidings.dedup d SET
          msg_id = ids[entry.position],
          expires_at = CASE WHEN d.key LIKE 'id:%'
            THEN clock_timestamp() + entry.window_ms * interval '1 millisecond' END
        WHERE d.queue_name = queue AND d.key IN ('id:' || entry.dedup_id, 'target:' || entry.target);
      END IF;
    END LOOP;
  END IF;

  EXECUTE format($sql$
    WITH fresh AS MATERIALIZED (
      SELECT id, e, tidings.due_of(e) AS due
      FROM jsonb_array_elements($1) WITH ORDINALITY AS entries (e, position)
      JOIN unnest($2, $3) WITH ORDINALITY AS results (id, first, position) USING (position)
      WHERE first IS NULL
    ), stored AS (
      INSERT INTO %s (msg_id, vt, message, headers) OVERRIDING SYSTEM VALUE
      SELECT id, due, e -> 'm', nullif(e -> 'h', 'null') FROM fresh
      WHERE due <= clock_timestamp() + interval '1 minute'
      ORDER BY id
    ), postponed AS (
      INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message, headers)
      SELECT $4, id, due, 0, now(), e -> 'm', nullif(e -> 'h', 'null') FROM fresh
      WHERE due > clock_timestamp() + interval '1 minute'
    ), tracked AS (
      INSERT INTO tidings.task (correlation_id, completion_queue, queue_name, held_in, msg_id)
      SELECT e ->> 'c', e ->> 'q', $4, $4, id FROM fresh WHERE e ->> 'c' IS NOT NULL ORDER BY id
    )
    SELECT bool_or(due <= clock_timestamp()), min(due) FILTER (WHERE due > clock_timestamp()) FROM fresh
  $sql$, live) INTO has_ready, next_due USING batch, ids, firsts, queue;

  IF has_ready THEN
    PERFORM tidings.announce(queue, 0);
  END IF;
  IF next_due IS NOT NULL THEN
    PERFORM tidings.announce(queue, tidings.milliseconds_until(next_due)::bigint);
  END IF;

  RETURN QUERY
  SELECT coalesce(first, own)::text, first IS NOT NULL
  FROM unnest(ids, firsts) WITH ORDINALITY AS results (own, first, position)
  ORDER BY position;
END
$$;

-- The message that was sent with this id within its window, or null. The id is locked.
CREATE OR REPLACE FUNCTION tidings.holder_of_dedup_id(queue text, dedup_id text) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT d.msg_id FROM tidings.dedup d
  WHERE d.queue_name = queue AND d.key = 'id:' || dedup_id AND d.expires_at > clock_timestamp()
$$;

-- The message that lives with this target, or null. The target is locked.
-- batch_ids: messages that are about to be stored
CREATE OR REPLACE FUNCTION tidings.holder_of_target(queue text, live regclass, target text, batch_ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  holder bigint;
  alive boolean;
BEGIN
  SELECT d.msg_id INTO holder FROM tidings.dedup d WHERE d.queue_name = queue AND d.key = 'target:' || target;
  IF holder IS NULL OR holder = ANY (batch_ids) THEN
    RETURN holder;
  END IF;
  -- In one statement, which sees what is moved from one place to the other exactly once.
  EXECUTE format($sql$
    SELECT EXISTS (SELECT FROM %s WHERE msg_id = $1)
      OR EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = $2 AND d.msg_id = $1)
  $sql$, live) INTO alive USING holder, queue;
  RETURN CASE WHEN alive THEN holder END;
END
$$;

-- When an entry of a batch becomes ready.
CREATE OR REPLACE FUNCTION tidings.due_of(entry jsonb) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN entry ->> 't' IS NULL
      THEN clock_timestamp() + (entry ->> 'd')::bigint * interval '1 millisecond'
    ELSE greatest(tidings.from_microseconds((entry ->> 't')::bigint * 1000), clock_timestamp())
  END
$$;
