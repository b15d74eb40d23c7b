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
-- Returns a row a message, in no order. A sweep adds a row with id null and next_due_ms (null if nothing is known to
-- come) and sweep_ms, what it cost.
CREATE OR REPLACE FUNCTION tidings.claim(
  queue text, quantity integer, lease_ms bigint, mark bigint, last_key text, sweep boolean
) RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  started_at timestamptz := clock_timestamp();
  taken tidings.stored[];
BEGIN
  PERFORM tidings.must('receive', queue);
  -- A claim promises nothing durable: if a crash forgets it, the messages are simply there again.
  PERFORM set_config('synchronous_commit', 'off', true);
  IF sweep THEN
    PERFORM tidings.promote(queue, 1000);
  END IF;
  taken := tidings.take_next(queue, quantity, lease_ms, CASE WHEN sweep THEN 0 ELSE mark END, last_key);
  RETURN QUERY SELECT * FROM tidings.to_messages(taken);
  IF sweep THEN
    RETURN QUERY SELECT * FROM tidings.sweep_summary(queue, coalesce(cardinality(taken), 0) < quantity, started_at);
  END IF;
END
$$;

-- Claims messages by their ids, those of them that are ready. One with an ordering key does not jump its line.
CREATE OR REPLACE FUNCTION tidings.claim_ids(queue text, quantity integer, lease_ms bigint, ids bigint[])
RETURNS SETOF tidings.message
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
  RETURN QUERY SELECT * FROM tidings.to_messages(
    tidings.take(tidings.table_of(queue), tidings.settings_of(queue), lease_ms, picked));
END
$$;

-- Removes and returns messages.
CREATE OR REPLACE FUNCTION tidings.pop(queue text, quantity integer, mark bigint, last_key text, sweep boolean)
RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  started_at timestamptz := clock_timestamp();
  taken tidings.stored[];
  tracked bigint[];
BEGIN
  PERFORM tidings.must('receive', queue);
  IF sweep THEN
    PERFORM tidings.promote(queue, 1000);
  END IF;
  taken := tidings.take_next(queue, quantity, 0, CASE WHEN sweep THEN 0 ELSE mark END, last_key);
  EXECUTE format('DELETE FROM %s WHERE msg_id = ANY ($1)', tidings.table_of(queue))
  USING ARRAY(SELECT t.msg_id FROM unnest(taken) t);
  SELECT array_agg(t.msg_id) INTO tracked FROM unnest(taken) t WHERE t.headers ? 'x-tidings-tracked';
  IF tracked IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, tracked, 'done');
  END IF;
  RETURN QUERY SELECT * FROM tidings.to_messages(taken);
  IF sweep THEN
    RETURN QUERY SELECT * FROM tidings.sweep_summary(queue, coalesce(cardinality(taken), 0) < quantity, started_at);
  END IF;
END
$$;

-- The last row of a sweep. With messages left over there is no need to know what comes later.
CREATE OR REPLACE FUNCTION tidings.sweep_summary(queue text, short boolean, started_at timestamptz)
RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  next_due_ms double precision := CASE WHEN short THEN tidings.next_due_ms(queue, started_at) END;
BEGIN
  RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::integer, NULL::text,
    NULL::double precision, NULL::double precision, NULL::double precision, NULL::double precision,
    next_due_ms, date_part('epoch', clock_timestamp() - started_at) * 1000;
END
$$;

-- Leases the next messages that are ready.
CREATE OR REPLACE FUNCTION tidings.take_next(
  queue text, quantity integer, lease_ms bigint, mark bigint, last_key text
) RETURNS tidings.stored[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  settings tidings.queue := tidings.settings_of(queue);
  live regclass := tidings.table_of(queue);
  next record;
BEGIN
  -- The usual case.
  IF NOT settings.has_keys AND NOT settings.has_priorities THEN
    SELECT * INTO next FROM tidings.pick_next(live, quantity, mark);
    IF next.found_keys IS NOT TRUE AND next.found_priorities IS NOT TRUE THEN
      RETURN tidings.take(live, settings, lease_ms, next.ids);
    END IF;
    -- Other clients send them without a word, and our own senders may have begun at this moment.
    UPDATE tidings.queue q SET
      has_keys = q.has_keys OR coalesce(next.found_keys, false),
      has_priorities = q.has_priorities OR coalesce(next.found_priorities, false)
    WHERE q.queue_name = queue RETURNING * INTO settings;
  END IF;
  RETURN tidings.take(live, settings, lease_ms, tidings.pick(queue, settings, quantity, mark, last_key));
END
$$;

-- Locks the next messages of a queue with keys or priorities. Returns their ids.
CREATE OR REPLACE FUNCTION tidings.pick(
  queue text, settings tidings.queue, quantity integer, mark bigint, last_key text
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  ids bigint[] := '{}';
BEGIN
  IF settings.has_priorities THEN
    ids := tidings.pick_priority(live, quantity, 1, 999);
  END IF;
  IF settings.has_keys THEN
    -- Beginning after the key that came last, then from the start.
    ids := ids || tidings.pick_heads(queue, live, quantity - cardinality(ids), last_key, NULL);
    IF last_key IS NOT NULL THEN
      ids := ids || tidings.pick_heads(queue, live, quantity - cardinality(ids), NULL, last_key);
    END IF;
  END IF;
  ids := ids || tidings.pick_plain(live, quantity - cardinality(ids), mark);
  IF settings.has_priorities THEN
    ids := ids || tidings.pick_priority(live, quantity - cardinality(ids), -999, -1);
  END IF;
  RETURN ids;
END
$$;

CREATE OR REPLACE FUNCTION tidings.pick_plain(live regclass, quantity integer, mark bigint) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT msg_id FROM %1$s
      WHERE msg_id > $1 AND vt <= clock_timestamp()
        AND (headers IS NULL OR headers ->> 'x-pgmq-group' IS NULL AND coalesce(%2$s, 0) = 0)
      ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED
    ) ready
  $sql$, live, tidings.priority_expression()) INTO ids USING mark, quantity;
  RETURN coalesce(ids, '{}');
END
$$;

CREATE OR REPLACE FUNCTION tidings.pick_priority(live regclass, quantity integer, lowest integer, highest integer)
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT msg_id FROM %1$s
      WHERE headers ? 'x-tidings-priority' AND headers ->> 'x-pgmq-group' IS NULL
        AND %2$s BETWEEN $1 AND $2
        AND vt <= clock_timestamp()
      ORDER BY %2$s DESC, msg_id LIMIT $3 FOR UPDATE SKIP LOCKED
    ) ready
  $sql$, live, tidings.priority_expression()) INTO ids USING lowest, highest, quantity;
  RETURN coalesce(ids, '{}');
END
$$;

-- The first message of each ordering key, if it is ready. A key whose first message is leased or delayed waits.
-- Walks from key to key (a loose index scan), so its cost is that of the keys it passes, not of their messages.
-- after_key, up_to_key: which keys; null for no bound.
CREATE OR REPLACE FUNCTION tidings.pick_heads(
  queue text, live regclass, quantity integer, after_key text, up_to_key text
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  IF quantity <= 0 THEN
    RETURN '{}';
  END IF;
  EXECUTE format($sql$
    WITH RECURSIVE head AS (
      (SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS key, msg_id, vt FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" IS NOT NULL
          AND ($2 IS NULL OR (headers ->> 'x-pgmq-group') COLLATE "C" > $2)
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1)
      UNION ALL
      SELECT next.* FROM head CROSS JOIN LATERAL (
        SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS key, msg_id, vt FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" > head.key
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
      ) next
      WHERE $3 IS NULL OR head.key <= $3
    ), free AS (
      SELECT head.msg_id FROM head
      WHERE head.vt <= clock_timestamp() AND ($3 IS NULL OR head.key <= $3)
        AND NOT EXISTS (
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = $4 AND d.headers ? 'x-pgmq-group'
            AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = head.key AND d.msg_id < head.msg_id)
      LIMIT $1
    ), locked AS (
      SELECT q.msg_id FROM %1$s q
      WHERE q.msg_id = ANY (ARRAY(SELECT msg_id FROM free)) AND q.vt <= clock_timestamp()
      FOR UPDATE SKIP LOCKED
    )
    SELECT array_agg(msg_id) FROM locked
  $sql$, live) INTO ids USING quantity, after_key, up_to_key, queue;
  RETURN coalesce(ids, '{}');
END
$$;

-- Locks the next messages after the mark, where they are all plain; otherwise it says what is among them.
CREATE OR REPLACE FUNCTION tidings.pick_next(
  live regclass, quantity integer, mark bigint, OUT ids bigint[], OUT found_keys boolean, OUT found_priorities boolean
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id), bool_or(headers ->> 'x-pgmq-group' IS NOT NULL), bool_or(headers ? 'x-tidings-priority')
    FROM (
      SELECT msg_id, headers FROM %s WHERE msg_id > $1 AND vt <= $2 ORDER BY msg_id LIMIT $3 FOR UPDATE SKIP LOCKED
    ) next
  $sql$, live) INTO ids, found_keys, found_priorities USING mark, clock_timestamp(), quantity;
END
$$;

-- Leases messages that are locked already. When a message is read again, the time of its first read goes into a header:
-- PGMQ keeps only the last, and tables from before it had last_read_at not even that.
CREATE OR REPLACE FUNCTION tidings.take(
  live regclass, settings tidings.queue, lease_ms bigint, ids bigint[]
) RETURNS tidings.stored[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  taken tidings.stored[];
BEGIN
  IF ids IS NULL OR ids = '{}' THEN
    RETURN NULL;
  END IF;
  IF settings.has_last_read THEN
    EXECUTE format($sql$
      WITH taken AS (
        UPDATE %s SET
          vt = clock_timestamp() + $2 * interval '1 millisecond', read_ct = read_ct + 1,
          last_read_at = clock_timestamp(),
          headers = CASE WHEN read_ct = 0 THEN headers ELSE tidings.with_first_read(headers, last_read_at) END
        WHERE msg_id = ANY ($1)
        RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers, NULL::timestamptz
      )
      SELECT array_agg(taken::tidings.stored) FROM taken
    $sql$, live) INTO taken USING ids, lease_ms;
  ELSE
    EXECUTE format($sql$
      WITH taken AS (
        UPDATE %s SET
          vt = clock_timestamp() + $2 * interval '1 millisecond', read_ct = read_ct + 1,
          headers = tidings.with_first_read(headers, clock_timestamp())
        WHERE msg_id = ANY ($1)
        RETURNING msg_id, read_ct, enqueued_at, clock_timestamp(), vt, message, headers, NULL::timestamptz
      )
      SELECT array_agg(taken::tidings.stored) FROM taken
    $sql$, live) INTO taken USING ids, lease_ms;
  END IF;
  RETURN taken;
END
$$;

CREATE OR REPLACE FUNCTION tidings.with_first_read(headers jsonb, moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN moment IS NULL OR headers ? 'x-tidings-first-read' OR jsonb_typeof(headers) <> 'object' THEN headers
    ELSE coalesce(headers, '{}') || jsonb_build_object('x-tidings-first-read', tidings.milliseconds(moment))
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

-- Milliseconds until the next message becomes ready that was not at the time `since`, when a sweep began: delayed, or
-- with a lease that runs out. 0 if it has become ready meanwhile, since the sweep may have passed it before. Null if
-- there is none. In one statement, which sees what is moved from one place to the other exactly once.
CREATE OR REPLACE FUNCTION tidings.next_due_ms(queue text, since timestamptz) RETURNS double precision
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  soonest timestamptz;
BEGIN
  EXECUTE format($sql$
    SELECT least(
      (SELECT min(vt) FROM %s WHERE vt > $1 AND vt < 'infinity'),
      (SELECT due FROM tidings.delayed WHERE queue_name = $2 ORDER BY due LIMIT 1))
  $sql$, tidings.table_of(queue)) INTO soonest USING since, queue;
  RETURN CASE WHEN soonest IS NOT NULL THEN greatest(tidings.milliseconds_until(soonest), 0) END;
END
$$;
