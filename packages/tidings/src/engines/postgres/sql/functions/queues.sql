-- Creating, dropping, listing and emptying queues.

-- What PGMQ knows of a queue; null if it knows nothing. Only names with capitals, which PGMQ keeps as they were given,
-- take more than a look into the index.
CREATE OR REPLACE FUNCTION tidings.meta_of(queue text) RETURNS pgmq.meta
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_meta pgmq.meta;
BEGIN
  SELECT * INTO found_meta FROM pgmq.meta m WHERE m.queue_name = queue;
  IF NOT FOUND AND tidings.find_table(queue) IS NOT NULL THEN
    SELECT * INTO found_meta FROM pgmq.meta m WHERE lower(m.queue_name) = queue;
  END IF;
  RETURN found_meta;
END
$$;

-- Creates a queue where it is missing. Returns true if it did.
CREATE OR REPLACE FUNCTION tidings.create_queue(queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (tidings.meta_of(queue)).queue_name IS NULL THEN
    PERFORM tidings.must('manage', queue);
  END IF;
  RETURN tidings.make_queue(queue);
END
$$;

-- The same without a look at the caller, for a queue that is part of something else.
-- fillfactor 50 and no index on vt: the update by which a claim takes a message stays on its page (HOT).
CREATE OR REPLACE FUNCTION tidings.make_queue(queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (tidings.meta_of(queue)).queue_name IS NOT NULL THEN
    PERFORM tidings.settings_of(queue);
    RETURN false;
  END IF;
  -- The lock that PGMQ's own create takes.
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  IF (tidings.meta_of(queue)).queue_name IS NOT NULL THEN
    RETURN false;
  END IF;

  EXECUTE format($sql$
    CREATE TABLE pgmq.%I (
      msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
      read_ct integer DEFAULT 0 NOT NULL,
      enqueued_at timestamptz DEFAULT now() NOT NULL,
      last_read_at timestamptz,
      vt timestamptz NOT NULL,
      message jsonb,
      headers jsonb
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)
  $sql$, 'q_' || queue);
  EXECUTE format($sql$
    CREATE TABLE pgmq.%I (
      msg_id bigint PRIMARY KEY,
      read_ct integer DEFAULT 0 NOT NULL,
      enqueued_at timestamptz DEFAULT now() NOT NULL,
      last_read_at timestamptz,
      archived_at timestamptz DEFAULT now() NOT NULL,
      vt timestamptz NOT NULL,
      message jsonb,
      headers jsonb
    )
  $sql$, 'a_' || queue);
  EXECUTE format('CREATE INDEX %I ON pgmq.%I (archived_at)', 'archived_at_idx_' || queue, 'a_' || queue);

  INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES (queue, false, false);
  -- Whatever another client left behind when it dropped a queue of this name.
  PERFORM tidings.forget(queue);
  INSERT INTO tidings.queue (queue_name) VALUES (queue);
  PERFORM tidings.grant_on_new_queue(queue);
  PERFORM tidings.index_queue(queue);
  RETURN true;
END
$$;

-- Makes the indexes behind ordering keys and priorities: partial, so that they hold no plain message. They only make it
-- faster: where a lock cannot be had soon, or this role does not own the table, another call may.
CREATE OR REPLACE FUNCTION tidings.index_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  outdated regclass;
BEGIN
  IF (tidings.settings_of(queue)).indexed THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  FOR outdated IN
    SELECT i.indexrelid FROM pg_index i
    WHERE i.indrelid = live AND pg_get_expr(i.indpred, i.indrelid) ~ 'x-pgmq-group|x-tidings-priority'
  LOOP
    EXECUTE format('DROP INDEX %s', outdated);
  END LOOP;
  EXECUTE format($sql$
    CREATE INDEX ON %1$s ((headers ->> 'x-pgmq-group') COLLATE "C", msg_id) WHERE headers ? 'x-pgmq-group';
    CREATE INDEX ON %1$s (%2$s DESC, msg_id) WHERE headers ? 'x-tidings-priority'
  $sql$, live, tidings.priority_expression());
  UPDATE tidings.queue q SET indexed = true WHERE q.queue_name = queue;
EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
  NULL;
END
$$;

-- Notes that a queue has messages with ordering keys or priorities from now on, and makes the indexes behind them. Does
-- not wait long for a lock: the transaction that holds it may be the one for which this is done, on another connection.
-- A claim that finds such messages notes it as well.
CREATE OR REPLACE FUNCTION tidings.enable(queue text, keys boolean, priorities boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  settings tidings.queue;
BEGIN
  settings := tidings.settings_of(queue);
  IF NOT settings.indexed THEN
    PERFORM tidings.index_queue(queue);
  END IF;
  IF keys AND NOT settings.has_keys OR priorities AND NOT settings.has_priorities THEN
    UPDATE tidings.queue q SET has_keys = q.has_keys OR keys, has_priorities = q.has_priorities OR priorities
    WHERE q.queue_name = queue;
  END IF;
EXCEPTION WHEN lock_not_available THEN
  NULL;
END
$$;

-- Removes what belongs to a queue in our own schema.
CREATE OR REPLACE FUNCTION tidings.forget(queue text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM tidings.delayed d WHERE d.queue_name = queue;
  DELETE FROM tidings.dedup d WHERE d.queue_name = queue;
  DELETE FROM tidings.binding b WHERE b.queue_name = queue;
  DELETE FROM tidings.topic_queue l WHERE l.queue_name = queue;
  SELECT tidings.end_tasks(queue, NULL, 'cancelled');
  UPDATE tidings.task t SET msg_id = NULL WHERE t.held_in = queue AND t.msg_id IS NOT NULL;
  DELETE FROM tidings.queue q WHERE q.queue_name = queue;
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.drop_queue(queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  there boolean;
BEGIN
  PERFORM tidings.must('manage', queue);
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  EXECUTE format('DROP TABLE IF EXISTS pgmq.%I, pgmq.%I', 'q_' || queue, 'a_' || queue);
  DELETE FROM pgmq.meta m WHERE lower(m.queue_name) = queue;
  there := FOUND;
  PERFORM tidings.forget(queue);
  RETURN there;
END
$$;

-- Removes all messages that are not archived. Returns how many.
CREATE OR REPLACE FUNCTION tidings.purge_queue(queue text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  waiting bigint;
  postponed bigint;
BEGIN
  PERFORM tidings.must('manage', queue);
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', live);
  EXECUTE format('SELECT count(*) FROM %s', live) INTO waiting;
  EXECUTE format('TRUNCATE %s', live);
  DELETE FROM tidings.delayed d WHERE d.queue_name = queue;
  GET DIAGNOSTICS postponed = ROW_COUNT;
  PERFORM tidings.end_tasks(queue, NULL, 'cancelled');
  RETURN waiting + postponed;
END
$$;

-- The figures of one queue; ages in milliseconds. The archive is counted up to 100,000, then estimated.
CREATE OR REPLACE FUNCTION tidings.stats(
  queue text, OUT ready bigint, OUT delayed bigint, OUT leased bigint, OUT archived bigint, OUT total_sent bigint,
  OUT oldest_ready_ms double precision, OUT newest_ms double precision, OUT oldest_ms double precision,
  OUT created_at double precision
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  archive regclass := tidings.table_of(queue, 'a_');
  sequence text := pg_get_serial_sequence(live::text, 'msg_id');
BEGIN
  PERFORM tidings.must('measure', queue);
  EXECUTE format($sql$
    WITH place AS (
      SELECT enqueued_at, vt, vt <= clock_timestamp() AS is_ready, read_ct > 0 AS is_read FROM %1$s
      UNION ALL
      SELECT enqueued_at, due, false, false FROM tidings.delayed d WHERE d.queue_name = $1
    )
    SELECT
      count(*) FILTER (WHERE is_ready),
      count(*) FILTER (WHERE NOT is_ready AND NOT is_read),
      count(*) FILTER (WHERE NOT is_ready AND is_read),
      -tidings.milliseconds_until(min(greatest(vt, enqueued_at)) FILTER (WHERE is_ready)),
      -tidings.milliseconds_until(max(enqueued_at)),
      -tidings.milliseconds_until(min(enqueued_at))
    FROM place
  $sql$, live) USING queue INTO ready, delayed, leased, oldest_ready_ms, newest_ms, oldest_ms;

  EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT 100000) counted', archive) INTO archived;
  IF archived = 100000 THEN
    SELECT greatest(archived, c.reltuples::bigint) INTO archived FROM pg_class c WHERE c.oid = archive;
  END IF;
  EXECUTE format('SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM %s', sequence) INTO total_sent;
  created_at := tidings.microseconds((tidings.meta_of(queue)).created_at) / 1000;
END
$$;

-- Queues with messages that are hidden for ever, which no reader will find. Reads all messages.
CREATE OR REPLACE FUNCTION tidings.parked() RETURNS TABLE (queue text, parked bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  FOR queue IN SELECT lower(m.queue_name) FROM pgmq.meta m ORDER BY 1 LOOP
    BEGIN
      EXECUTE format($sql$SELECT count(*) FROM pgmq.%I WHERE vt = 'infinity'$sql$, 'q_' || queue) INTO parked;
    EXCEPTION WHEN undefined_table OR insufficient_privilege THEN
      CONTINUE;
    END;
    IF parked > 0 THEN
      RETURN NEXT;
    END IF;
  END LOOP;
END
$$;
