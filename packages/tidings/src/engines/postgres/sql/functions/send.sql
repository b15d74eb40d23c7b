-- Stores a batch of messages in their order.
--
-- batch: a JSON array of {
--   m: the body, h: headers or null, d: delay in ms, t: not before, in ms since 1970, or null,
--   k: dedup id or null, w: its window in ms, or null: as long as nobody has read the message,
--   x: true to replace the data of a message with this id that nobody has read, e: true to move its time too, a: by at most
--   so many ms from when it was sent, or null; u: unique target or null,
--   c: the correlation that it is a task of, or null, q: its completion queue or null }
-- plain: no message of the batch uses anything but m and h
-- Returns a row a message, in order: the id (of the first message, for a duplicate and a replacement) and whether it is a
-- duplicate: null where it replaced the data of the first.
CREATE OR REPLACE FUNCTION tidings.send(queue text, batch jsonb, plain boolean)
RETURNS TABLE (id text, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF plain THEN
    RETURN QUERY EXECUTE format($sql$
      SELECT unnest(string_to_array(%s(jsonb_agg(e -> 'm'), jsonb_agg(e -> 'h')), ',')), false FROM jsonb_array_elements($1) e
    $sql$, tidings.function_of('send', queue)) USING batch;
  ELSE
    PERFORM tidings.must('send', queue);
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
CREATE OR REPLACE FUNCTION tidings.send_special(queue text, batch jsonb)
RETURNS TABLE (id text, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  sequence regclass := pg_get_serial_sequence(live::text, 'msg_id');
  size integer := jsonb_array_length(batch);
  ids bigint[] := ARRAY(SELECT nextval(sequence) FROM generate_series(1, size));
  -- Per entry: null, or the message that it is a duplicate of, or whose data it replaces.
  firsts bigint[] := array_fill(NULL::bigint, ARRAY[size]);
  replaced boolean[] := array_fill(false, ARRAY[size]);
  keys text[];
  -- Of these, dedup ids without a window.
  lasting text[];
  has_ready boolean;
  next_due timestamptz;
  entry record;
  first_at integer;
BEGIN
  SELECT array_agg(DISTINCT key) INTO keys
  FROM jsonb_array_elements(batch) AS entries (e),
    LATERAL (VALUES ('id:' || (e ->> 'k')), ('target:' || (e ->> 'u'))) AS wanted (key)
  WHERE key IS NOT NULL;
  IF keys IS NOT NULL THEN
    -- All keys are locked first, in one order for all senders, so that two batches never wait for each other in a
    -- circle. A key that nobody has yet is written as one that expired. In one statement: between two, upkeep could
    -- remove what has expired.
    WITH locked AS (
      INSERT INTO tidings.dedup (queue_name, key, msg_id, expires_at)
      SELECT queue, key, 0, '-infinity' FROM unnest(keys) AS wanted (key) ORDER BY key
      ON CONFLICT (queue_name, key) DO UPDATE SET key = EXCLUDED.key
      RETURNING key, expires_at
    )
    SELECT array_agg(l.key) INTO lasting FROM locked l WHERE l.expires_at IS NULL AND l.key LIKE 'id:%';

    FOR entry IN
      SELECT position, e, e ->> 'k' AS dedup_id, (e ->> 'w')::bigint AS window_ms, e ->> 'u' AS target
      FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position)
      WHERE e ->> 'k' IS NOT NULL OR e ->> 'u' IS NOT NULL
      ORDER BY position
    LOOP
      firsts[entry.position] := coalesce(
        tidings.holder_of_dedup_id(queue, entry.dedup_id),
        CASE WHEN 'id:' || entry.dedup_id = ANY (lasting)
          THEN tidings.holder_of_lasting_id(queue, live, entry.dedup_id, ids) END,
        tidings.holder_of_target(queue, live, entry.target, ids));
      IF entry.e ? 'x' AND firsts[entry.position] IS NOT NULL THEN
        first_at := array_position(ids, firsts[entry.position]);
        IF first_at IS NOT NULL THEN
          batch := jsonb_set(batch, ARRAY[(first_at - 1)::text], tidings.replaced_entry(batch -> (first_at - 1), entry.e));
        ELSIF NOT tidings.replace_unread(queue, live, firsts[entry.position], entry.e) THEN
          firsts[entry.position] := NULL;
        END IF;
        replaced[entry.position] := firsts[entry.position] IS NOT NULL;
        IF replaced[entry.position] AND entry.e ? 'e' THEN
          lasting := lasting || CASE WHEN entry.window_ms IS NULL THEN 'id:' || entry.dedup_id END;
          UPDATE tidings.dedup d SET expires_at = clock_timestamp() + entry.window_ms * interval '1 millisecond'
          WHERE d.queue_name = queue AND d.key = 'id:' || entry.dedup_id;
        END IF;
      END IF;
      IF firsts[entry.position] IS NULL THEN
        lasting := lasting || CASE WHEN entry.window_ms IS NULL THEN 'id:' || entry.dedup_id END;
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
      WHERE due <= $5
      ORDER BY id
    ), postponed AS (
      INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message, headers)
      SELECT $4, id, due, 0, now(), e -> 'm', nullif(e -> 'h', 'null') FROM fresh
      WHERE due > $5
    ), tracked AS (
      INSERT INTO tidings.task (correlation_id, completion_queue, milestones, queue_name, held_in, msg_id)
      SELECT e ->> 'c', e ->> 'q', e -> 'o', $4, $4, id FROM fresh WHERE e ->> 'c' IS NOT NULL ORDER BY id
    )
    SELECT bool_or(due <= clock_timestamp()), min(due) FILTER (WHERE due > clock_timestamp()) FROM fresh
  $sql$, live) INTO has_ready, next_due USING batch, ids, firsts, queue, tidings.near_until();

  IF has_ready THEN
    PERFORM tidings.announce(queue, 0);
  END IF;
  IF next_due IS NOT NULL THEN
    PERFORM tidings.announce(queue, tidings.milliseconds_until(next_due)::bigint);
  END IF;

  RETURN QUERY
  SELECT coalesce(first, own)::text, CASE WHEN NOT was_replaced THEN first IS NOT NULL END
  FROM unnest(ids, firsts, replaced) WITH ORDINALITY AS results (own, first, was_replaced, position)
  ORDER BY position;
END
$$;

-- The message that was sent with this id within its window, or null. The id is locked.
CREATE OR REPLACE FUNCTION tidings.holder_of_dedup_id(queue text, dedup_id text) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT d.msg_id FROM tidings.dedup d
  WHERE d.queue_name = queue AND d.key = 'id:' || dedup_id AND d.expires_at > clock_timestamp()
$$;

-- The message that was sent with this id without a window, and that nobody has read; or null. The id is locked.
-- batch_ids: messages that are about to be stored
CREATE OR REPLACE FUNCTION tidings.holder_of_lasting_id(queue text, live regclass, dedup_id text, batch_ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  holder bigint;
  unread boolean;
BEGIN
  SELECT d.msg_id INTO holder FROM tidings.dedup d
  WHERE d.queue_name = queue AND d.key = 'id:' || dedup_id AND d.expires_at IS NULL;
  IF holder IS NULL OR holder = ANY (batch_ids) THEN
    RETURN holder;
  END IF;
  EXECUTE format($sql$
    SELECT EXISTS (SELECT FROM %s WHERE msg_id = $1 AND read_ct = 0)
      OR EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = $2 AND d.msg_id = $1 AND d.read_ct = 0)
  $sql$, live) INTO unread USING holder, queue;
  RETURN CASE WHEN unread THEN holder END;
END
$$;

-- Gives a message that nobody has read the data of an entry of a batch, and with e its time. A reader that has it at this
-- moment is waited for; one that comes later passes it over until the transaction ends. Returns false if somebody has read
-- it, or it is gone. First where long waits are, from where messages move into the table.
CREATE OR REPLACE FUNCTION tidings.replace_unread(queue text, live regclass, holder bigint, entry jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  wanted constant timestamptz := CASE WHEN entry ? 'e' THEN tidings.due_of(entry) END;
  latest constant interval := (entry ->> 'a')::bigint * interval '1 millisecond';
  due timestamptz;
BEGIN
  UPDATE tidings.delayed d SET
    message = entry -> 'm', headers = tidings.replaced_headers(d.headers, entry -> 'h'),
    due = CASE WHEN wanted IS NULL THEN d.due ELSE greatest(least(wanted, d.enqueued_at + latest), clock_timestamp()) END
  WHERE d.queue_name = queue AND d.msg_id = holder AND d.read_ct = 0
  RETURNING d.due INTO due;
  IF due IS NULL THEN
    EXECUTE format($sql$
      UPDATE %s q SET
        message = $2 -> 'm', headers = tidings.replaced_headers(q.headers, $2 -> 'h'),
        vt = CASE WHEN $3 IS NULL THEN q.vt ELSE greatest(least($3, q.enqueued_at + $4), clock_timestamp()) END
      WHERE q.msg_id = $1 AND q.read_ct = 0
      RETURNING q.vt
    $sql$, live) INTO due USING holder, entry, wanted, latest;
  END IF;
  IF due IS NOT NULL THEN
    PERFORM tidings.announce(queue, greatest(tidings.milliseconds_until(due), 0)::bigint);
  END IF;
  RETURN due IS NOT NULL;
END
$$;

-- The headers of a message, those of its place from before, and the others from now.
CREATE OR REPLACE FUNCTION tidings.replaced_headers(before jsonb, now jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT nullif(coalesce(nullif(now, 'null') - place, '{}') || coalesce((
    SELECT jsonb_object_agg(key, value) FROM jsonb_each(CASE jsonb_typeof(before) WHEN 'object' THEN before ELSE '{}' END)
    WHERE key = ANY (place)), '{}'), '{}')
  FROM (VALUES ('{x-pgmq-group,x-tidings-group,x-tidings-priority,x-tidings-tracked,x-tidings-first-read}'::text[])) AS kept (place)
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

-- An entry of a batch that is stored with the data, and with e the time, of a later one.
CREATE OR REPLACE FUNCTION tidings.replaced_entry(first jsonb, later jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT first
    || jsonb_build_object('m', later -> 'm', 'h', tidings.replaced_headers(first -> 'h', later -> 'h'))
    || CASE WHEN NOT later ? 'e' THEN '{}' ELSE jsonb_build_object(
      't', floor(date_part('epoch', least(
        tidings.due_of(later), clock_timestamp() + (later ->> 'a')::bigint * interval '1 millisecond')) * 1000)) END
$$;
