-- How PGMQ's functions reach what Tidings keeps beside its tables. Like PGMQ's own, they may be called by everybody who may
-- use the schema pgmq, and their statements on queues run with the rights of the caller: table rights and row level
-- security decide. Such a caller may not use the schema tidings, so these do. Those with the rights of their owner may be
-- called by everybody, too: they tell nothing, and change no message, but move it from one place to the other, or do what
-- the caller could do in the table. With roles,
-- PGMQ's functions run as the owner, and nobody else may call these.

-- With roles, whether the caller may do this with a queue; see tidings.must. Without roles PostgreSQL itself decides, and
-- says of a missing queue what is said here with roles.
CREATE OR REPLACE FUNCTION pgmq._tidings_must(what text, queue text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF has_schema_privilege('tidings', 'USAGE') AND has_function_privilege('tidings.must(text,text,text)', 'EXECUTE') THEN
    PERFORM tidings.must(what, queue);
  END IF;
EXCEPTION WHEN SQLSTATE 'TD404' THEN
  RAISE EXCEPTION 'relation "pgmq.%" does not exist', 'q_' || queue USING ERRCODE = 'undefined_table';
END
$$;

-- Whether the owner of these functions owns the table of a queue: it inserts into no other, whose triggers would run with
-- its rights.
CREATE OR REPLACE FUNCTION pgmq._tidings_owns(queue text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    WHERE c.relnamespace = 'pgmq'::regnamespace AND c.relname = 'q_' || queue AND c.relkind IN ('r', 'p')
      AND r.rolname = current_user);
END
$$;

-- Tells who waits for messages of a queue.
CREATE OR REPLACE FUNCTION pgmq._tidings_announce(queue text, due timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.announce(queue, greatest(tidings.milliseconds_until(due), 0)::bigint);
END
$$;

-- Moves what has come due from tidings.delayed into the table of the queue.
CREATE OR REPLACE FUNCTION pgmq._tidings_promote(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pgmq._tidings_owns(queue) THEN
    PERFORM tidings.promote(queue, 1000);
  END IF;
END
$$;

-- Stores messages that are due later in tidings.delayed, as Tidings does with its own: no reader has to walk over them. Only
-- for a caller whose insert into the table would do just that: with the right to it, without row level security or a trigger.
-- Returns their ids; none where the table has to take them.
CREATE OR REPLACE FUNCTION pgmq._tidings_postpone(queue text, msgs jsonb[], headers jsonb[], due timestamptz)
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant regclass := tidings.find_table(queue);
BEGIN
  IF NOT isfinite(due) OR due <= tidings.near_until() OR NOT pgmq._tidings_owns(queue)
    OR NOT has_table_privilege(tidings.caller(), live, 'INSERT')
    OR EXISTS (
      SELECT FROM pg_class c
      WHERE c.oid = live AND c.relrowsecurity AND NOT pg_has_role(tidings.caller(), c.relowner, 'USAGE'))
    OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = live AND NOT t.tgisinternal)
  THEN
    RETURN;
  END IF;
  -- The lock by which a queue cannot be dropped any more.
  EXECUTE format('INSERT INTO %s (vt) SELECT now() WHERE false', live);
  RETURN QUERY
  INSERT INTO tidings.delayed AS d (queue_name, msg_id, due, read_ct, enqueued_at, message, headers)
  SELECT queue, nextval(pg_get_serial_sequence(live::text, 'msg_id')::regclass), _tidings_postpone.due, 0, now(), m, h
  FROM unnest(msgs, coalesce(_tidings_postpone.headers, '{}')) WITH ORDINALITY AS entries (m, h, position)
  ORDER BY position
  RETURNING d.msg_id;
  PERFORM tidings.announce(queue, tidings.milliseconds_until(due)::bigint);
END
$$;

-- Moves messages from tidings.delayed into the table of the queue, where they stay hidden until they are due.
-- ids: null for all. Returns how many.
CREATE OR REPLACE FUNCTION pgmq._tidings_recall(queue text, ids bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE WHEN pgmq._tidings_owns(queue) THEN tidings.recall(queue, ids) ELSE 0 END;
END
$$;

-- The messages of a queue that are in tidings.delayed, for a caller who may see figures of it.
CREATE OR REPLACE FUNCTION pgmq._tidings_delayed(
  queue text, OUT length bigint, OUT visible bigint, OUT newest timestamptz, OUT oldest timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
BEGIN
  -- Of a table with row level security only its owner sees all.
  IF EXISTS (
    SELECT FROM pg_class c
    WHERE c.oid = tidings.find_table(queue) AND has_column_privilege(tidings.caller(), c.oid, 'enqueued_at', 'SELECT')
      AND (NOT c.relrowsecurity OR pg_has_role(tidings.caller(), c.relowner, 'USAGE')))
  THEN
    SELECT count(*), count(*) FILTER (WHERE d.due <= moment), max(d.enqueued_at), min(d.enqueued_at)
    INTO length, visible, newest, oldest FROM tidings.delayed d WHERE d.queue_name = queue;
  ELSE
    length := 0;
    visible := 0;
  END IF;
END
$$;

-- What upkeep does for a queue: forgets what belongs to one that is gone.
CREATE OR REPLACE FUNCTION pgmq._tidings_maintain(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tidings.find_table(queue) IS NULL OR pgmq._tidings_owns(queue) THEN
    PERFORM tidings.maintain_queue(queue);
  END IF;
END
$$;

-- After a purge: what was pending in the queue is cancelled.
CREATE OR REPLACE FUNCTION pgmq._tidings_purged(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  is_empty boolean;
BEGIN
  IF pgmq._tidings_owns(queue) THEN
    EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', tidings.table_of(queue)) INTO is_empty;
    IF is_empty AND NOT EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = queue) THEN
      PERFORM tidings.end_tasks(queue, NULL, 'cancelled');
    END IF;
  END IF;
END
$$;

-- Takes a new queue in, where the caller may; else its first use does.
CREATE OR REPLACE FUNCTION pgmq._tidings_created(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF has_schema_privilege('tidings', 'USAGE') AND has_function_privilege('tidings.register_queue(text)', 'EXECUTE') THEN
    PERFORM tidings.register_queue(queue);
  END IF;
END
$$;
