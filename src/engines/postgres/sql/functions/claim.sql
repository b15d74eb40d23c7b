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
-- Returns a row a message. A sweep adds a row with id null and next_due_ms (null if nothing is known to come) and
-- promoted_id, the smallest id that was moved in.
CREATE OR REPLACE FUNCTION tidings.claim(
  queue text, quantity integer, lease_ms bigint, mark bigint, last_key text, sweep boolean
) RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  promoted bigint;
  claimed integer;
BEGIN
  -- A claim promises nothing durable: if a crash forgets it, the messages are simply there again.
  PERFORM set_config('synchronous_commit', 'off', true);
  IF sweep THEN
    promoted := tidings.promote(queue, 1000);
  END IF;
  RETURN QUERY SELECT * FROM tidings.take(
    queue, lease_ms, tidings.pick(queue, quantity, CASE WHEN sweep THEN 0 ELSE mark END, last_key));
  GET DIAGNOSTICS claimed = ROW_COUNT;
  IF sweep THEN
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::integer, NULL::text,
      NULL::double precision, NULL::double precision, NULL::double precision, NULL::double precision,
      -- With messages left over there is no need to know what comes later.
      CASE WHEN claimed < quantity THEN tidings.next_due_ms(queue) END,
      promoted::text;
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
  PERFORM set_config('synchronous_commit', 'off', true);
  PERFORM tidings.promote(queue, 1000);
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT q.msg_id FROM %1$s q
      WHERE q.msg_id = ANY ($1) AND q.vt <= clock_timestamp()
        AND (q.headers IS NULL OR NOT q.headers ? 'x-pgmq-group' OR NOT EXISTS (
          SELECT FROM %1$s e
          WHERE e.headers ? 'x-pgmq-group' AND e.headers ->> 'x-pgmq-group' = q.headers ->> 'x-pgmq-group'
            AND e.msg_id < q.msg_id
          UNION ALL
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = $3 AND d.headers ? 'x-pgmq-group'
            AND d.headers ->> 'x-pgmq-group' = q.headers ->> 'x-pgmq-group' AND d.msg_id < q.msg_id))
      ORDER BY coalesce((q.headers ->> 'x-tidings-priority')::integer, 0) DESC, q.msg_id
      LIMIT $2 FOR UPDATE OF q SKIP LOCKED
    ) ready
  $sql$, tidings.table_of(queue)) INTO picked USING ids, quantity, queue;
  RETURN QUERY SELECT * FROM tidings.take(queue, lease_ms, picked);
END
$$;

-- Removes and returns messages.
CREATE OR REPLACE FUNCTION tidings.pop(queue text, quantity integer, mark bigint, last_key text, sweep boolean)
RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  picked bigint[];
  promoted bigint;
BEGIN
  IF sweep THEN
    promoted := tidings.promote(queue, 1000);
  END IF;
  picked := tidings.pick(queue, quantity, CASE WHEN sweep THEN 0 ELSE mark END, last_key);
  RETURN QUERY SELECT * FROM tidings.take(queue, 0, picked);
  EXECUTE format('DELETE FROM %s WHERE msg_id = ANY ($1)', tidings.table_of(queue)) USING picked;
  IF sweep THEN
    RETURN QUERY SELECT NULL::text, NULL::text, NULL::text, NULL::text, NULL::integer, NULL::text,
      NULL::double precision, NULL::double precision, NULL::double precision, NULL::double precision,
      CASE WHEN cardinality(picked) < quantity THEN tidings.next_due_ms(queue) END,
      promoted::text;
  END IF;
END
$$;

-- Locks the next messages that are ready. Returns their ids in the order of reading.
CREATE OR REPLACE FUNCTION tidings.pick(queue text, quantity integer, mark bigint, last_key text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  settings tidings.queue := tidings.settings_of(queue);
  ids bigint[] := '{}';
BEGIN
  IF settings.has_priorities THEN
    ids := tidings.pick_priority(live, quantity, 1, 100);
  END IF;
  IF settings.has_keys THEN
    -- Beginning after the key that came last, then from the start.
    ids := ids || tidings.pick_heads(queue, live, quantity - cardinality(ids), last_key, NULL);
    IF last_key IS NOT NULL THEN
      ids := ids || tidings.pick_heads(queue, live, quantity - cardinality(ids), NULL, last_key);
    END IF;
  END IF;
  IF cardinality(ids) < quantity THEN
    ids := ids || tidings.pick_plain(live, quantity - cardinality(ids), mark,
      settings.has_keys OR settings.has_priorities);
  END IF;
  IF settings.has_priorities THEN
    ids := ids || tidings.pick_priority(live, quantity - cardinality(ids), -100, -1);
  END IF;
  RETURN ids;
END
$$;

CREATE OR REPLACE FUNCTION tidings.pick_plain(live regclass, quantity integer, mark bigint, mixed boolean)
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT msg_id FROM %s
      WHERE msg_id > $1 AND vt <= clock_timestamp()
        AND (NOT $3 OR headers IS NULL OR NOT headers ?| '{x-pgmq-group,x-tidings-priority}')
      ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED
    ) ready
  $sql$, live) INTO ids USING mark, quantity, mixed;
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
      SELECT msg_id FROM %s
      WHERE headers ? 'x-tidings-priority' AND NOT headers ? 'x-pgmq-group'
        AND (headers ->> 'x-tidings-priority')::integer BETWEEN $1 AND $2
        AND vt <= clock_timestamp()
      ORDER BY (headers ->> 'x-tidings-priority')::integer DESC, msg_id LIMIT $3 FOR UPDATE SKIP LOCKED
    ) ready
  $sql$, live) INTO ids USING lowest, highest, quantity;
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
      (SELECT headers ->> 'x-pgmq-group' AS key, msg_id, vt FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND ($2 IS NULL OR headers ->> 'x-pgmq-group' > $2)
        ORDER BY headers ->> 'x-pgmq-group', msg_id LIMIT 1)
      UNION ALL
      SELECT next.* FROM head CROSS JOIN LATERAL (
        SELECT headers ->> 'x-pgmq-group' AS key, msg_id, vt FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND headers ->> 'x-pgmq-group' > head.key
        ORDER BY headers ->> 'x-pgmq-group', msg_id LIMIT 1
      ) next
      WHERE $3 IS NULL OR head.key <= $3
    ), free AS (
      SELECT head.msg_id FROM head
      WHERE head.vt <= clock_timestamp() AND ($3 IS NULL OR head.key <= $3)
        AND NOT EXISTS (
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = $4 AND d.headers ? 'x-pgmq-group' AND d.headers ->> 'x-pgmq-group' = head.key
            AND d.msg_id < head.msg_id)
      LIMIT $1
    ), locked AS (
      SELECT q.msg_id, q.headers ->> 'x-pgmq-group' AS key FROM %1$s q
      WHERE q.msg_id = ANY (ARRAY(SELECT msg_id FROM free)) AND q.vt <= clock_timestamp()
      FOR UPDATE SKIP LOCKED
    )
    SELECT array_agg(msg_id ORDER BY key) FROM locked
  $sql$, live) INTO ids USING quantity, after_key, up_to_key, queue;
  RETURN coalesce(ids, '{}');
END
$$;

-- Leases the locked messages and returns them in the order of `ids`.
-- When a message is read again, the time of its first read goes into a header: PGMQ keeps only the last.
CREATE OR REPLACE FUNCTION tidings.take(queue text, lease_ms bigint, ids bigint[]) RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  settings tidings.queue := tidings.settings_of(queue);
BEGIN
  IF coalesce(cardinality(ids), 0) = 0 THEN
    RETURN;
  END IF;
  IF NOT settings.has_last_read THEN
    RETURN QUERY SELECT * FROM tidings.take_without_last_read(queue, lease_ms, ids);
    RETURN;
  END IF;
  RETURN QUERY EXECUTE format($sql$
    WITH taken AS (
      UPDATE %s SET
        vt = clock_timestamp() + $2 * interval '1 millisecond',
        read_ct = read_ct + 1,
        last_read_at = clock_timestamp(),
        headers = CASE
          WHEN read_ct = 0 OR last_read_at IS NULL OR coalesce(headers ? 'x-tidings-first-read', false) THEN headers
          ELSE coalesce(headers, '{}')
            || jsonb_build_object('x-tidings-first-read', tidings.microseconds(last_read_at) / 1000)
        END
      WHERE msg_id = ANY ($1)
      RETURNING *
    )
    SELECT m.* FROM unnest($1) WITH ORDINALITY AS wanted (msg_id, position)
    JOIN taken t USING (msg_id)
    CROSS JOIN LATERAL tidings.to_message(
      t.msg_id, t.read_ct, t.enqueued_at, t.last_read_at, t.vt, t.message, t.headers) m
    ORDER BY position
  $sql$, tidings.table_of(queue)) USING ids, lease_ms;
END
$$;

-- The same for tables of PGMQ from before it had last_read_at: the first read goes into the header at once.
CREATE OR REPLACE FUNCTION tidings.take_without_last_read(queue text, lease_ms bigint, ids bigint[])
RETURNS SETOF tidings.message
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY EXECUTE format($sql$
    WITH taken AS (
      UPDATE %s SET
        vt = clock_timestamp() + $2 * interval '1 millisecond',
        read_ct = read_ct + 1,
        headers = CASE
          WHEN coalesce(headers ? 'x-tidings-first-read', false) THEN headers
          ELSE coalesce(headers, '{}')
            || jsonb_build_object('x-tidings-first-read', tidings.microseconds(clock_timestamp()) / 1000)
        END
      WHERE msg_id = ANY ($1)
      RETURNING *
    )
    SELECT m.* FROM unnest($1) WITH ORDINALITY AS wanted (msg_id, position)
    JOIN taken t USING (msg_id)
    CROSS JOIN LATERAL tidings.to_message(
      t.msg_id, t.read_ct, t.enqueued_at, clock_timestamp(), t.vt, t.message, t.headers) m
    ORDER BY position
  $sql$, tidings.table_of(queue)) USING ids, lease_ms;
END
$$;

-- Moves messages that have come due from tidings.delayed into the queue's table. Returns the smallest id, or null.
CREATE OR REPLACE FUNCTION tidings.promote(queue text, quantity integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  smallest bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = queue AND d.due <= clock_timestamp()) THEN
    RETURN NULL;
  END IF;
  EXECUTE format($sql$
    WITH due AS (
      DELETE FROM tidings.delayed d
      WHERE d.queue_name = $1 AND d.msg_id = ANY (ARRAY(
        SELECT msg_id FROM tidings.delayed
        WHERE queue_name = $1 AND due <= clock_timestamp()
        ORDER BY due, msg_id LIMIT $2 FOR UPDATE SKIP LOCKED))
      RETURNING *
    ), moved AS (
      INSERT INTO %1$s (msg_id, read_ct, enqueued_at, vt, message, headers %2$s) OVERRIDING SYSTEM VALUE
      SELECT msg_id, read_ct, enqueued_at, due, message, headers %2$s FROM due
      RETURNING msg_id
    )
    SELECT min(msg_id) FROM moved
  $sql$, tidings.table_of(queue), tidings.last_read_column(queue))
  INTO smallest USING queue, quantity;
  RETURN smallest;
END
$$;

-- Milliseconds until the next message that is not ready becomes so: delayed, or with a lease that runs out. Null if
-- there is none.
CREATE OR REPLACE FUNCTION tidings.next_due_ms(queue text) RETURNS double precision
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  soonest timestamptz;
BEGIN
  EXECUTE format('SELECT min(vt) FROM %s WHERE vt > clock_timestamp()', tidings.table_of(queue)) INTO soonest;
  SELECT least(soonest, min(due)) INTO soonest FROM (
    SELECT d.due FROM tidings.delayed d WHERE d.queue_name = queue ORDER BY d.due LIMIT 1) next;
  RETURN CASE WHEN soonest IS NOT NULL THEN greatest(tidings.milliseconds_until(soonest), 0) END;
END
$$;
