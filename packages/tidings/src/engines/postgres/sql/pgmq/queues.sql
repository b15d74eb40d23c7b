-- Creating, dropping, emptying and listing queues as PGMQ does it.

-- Creates a queue of any kind but partitioned, and says of one that is there what PostgreSQL says of its tables. Tables
-- that are there without being known, as DROP EXTENSION leaves them, are a queue again.
-- queue: the name in lower case; given: as it was written
-- lz4, where the server has it, packs and unpacks large bodies several times as fast as the default.
-- fillfactor 50 and no index on vt: the update by which a claim takes a message stays on its page (HOT).
CREATE OR REPLACE FUNCTION pgmq._tidings_create(queue text, given text, unlogged boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  there pgmq.meta;
  one text;
  compression constant text := CASE WHEN pgmq._tidings_has_lz4() THEN 'COMPRESSION lz4' ELSE '' END;
BEGIN
  PERFORM pgmq.acquire_queue_lock(queue);
  SELECT * INTO there FROM pgmq.meta m WHERE lower(m.queue_name) = queue LIMIT 1;
  IF FOUND THEN
    IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE m.queue_name = given) THEN
      INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
      VALUES (given, there.is_partitioned, there.is_unlogged);
    END IF;
    -- We have no index on vt, and nobody misses it.
    FOREACH one IN ARRAY ARRAY['q_' || queue, 'a_' || queue, 'q_' || queue || '_vt_idx', 'archived_at_idx_' || queue] LOOP
      RAISE NOTICE 'relation "%" already exists, skipping', one USING ERRCODE = 'duplicate_table';
    END LOOP;
    RETURN;
  END IF;

  -- Whatever was left behind by a queue of this name.
  PERFORM pgmq._tidings_maintain(queue);
  IF NOT pgmq._tidings_is_table('q_' || queue) THEN
    EXECUTE format($sql$
      CREATE %s TABLE pgmq.%I (
        msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        read_ct integer DEFAULT 0 NOT NULL,
        enqueued_at timestamptz DEFAULT now() NOT NULL,
        last_read_at timestamptz,
        vt timestamptz NOT NULL,
        message jsonb %s,
        headers jsonb
      ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)
    $sql$, CASE WHEN unlogged THEN 'UNLOGGED' ELSE '' END, 'q_' || queue, compression);
  END IF;
  IF NOT pgmq._tidings_is_table('a_' || queue) THEN
    EXECUTE format($sql$
      CREATE TABLE pgmq.%I (
        msg_id bigint PRIMARY KEY,
        read_ct integer DEFAULT 0 NOT NULL,
        enqueued_at timestamptz DEFAULT now() NOT NULL,
        last_read_at timestamptz,
        archived_at timestamptz DEFAULT now() NOT NULL,
        vt timestamptz NOT NULL,
        message jsonb %s,
        headers jsonb
      )
    $sql$, 'a_' || queue, compression);
    EXECUTE format('CREATE INDEX %I ON pgmq.%I (archived_at)', 'archived_at_idx_' || queue, 'a_' || queue);
  END IF;
  INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged)
  SELECT given, c.relkind = 'p', c.relpersistence = 'u' FROM pg_class c
  WHERE c.relnamespace = 'pgmq'::regnamespace AND c.relname = ('q_' || queue)::name;
  PERFORM pgmq._tidings_created(queue);
END
$$;

-- From PostgreSQL 14 on, where it was built with that.
CREATE OR REPLACE FUNCTION pgmq._tidings_has_lz4() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_settings s WHERE s.name = 'default_toast_compression' AND 'lz4' = ANY (s.enumvals))
$$;

-- The same for a caller, who needs no right where there is nothing to do.
CREATE OR REPLACE FUNCTION pgmq._tidings_create_for_caller(queue_name text, unlogged boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE m.queue_name = $1) THEN
    PERFORM pgmq._tidings_must('manage', lower($1));
  END IF;
  PERFORM pgmq._tidings_create(lower($1), $1, unlogged);
END
$$;

-- What else has the name of a table is in the way of it.
CREATE OR REPLACE FUNCTION pgmq._tidings_is_table(wanted text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM pg_class c
    WHERE c.relnamespace = 'pgmq'::regnamespace AND c.relname = wanted::name AND c.relkind IN ('r', 'p'))
$$;

CREATE OR REPLACE FUNCTION pgmq.create_non_partitioned(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Fails on a name with other characters, before its length is looked at.
  live constant text := pgmq.format_table_name(queue_name, 'q');
BEGIN

  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq._tidings_create_for_caller(queue_name, false);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.create(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq.create_non_partitioned(queue_name);
END
$$;

-- A crash of the server empties it.
CREATE OR REPLACE FUNCTION pgmq.create_unlogged(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq.format_table_name(queue_name, 'q');
BEGIN
  PERFORM pgmq.validate_queue_name(queue_name);
  PERFORM pgmq._tidings_create_for_caller(queue_name, true);
END
$$;

-- A queue is known by each spelling of its name that was created: all of them end with its tables.
CREATE OR REPLACE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq.format_table_name(queue_name, 'q');
  queue constant text := lower(queue_name);
  one text;
BEGIN
  PERFORM pgmq._tidings_must('manage', queue);
  PERFORM pgmq.acquire_queue_lock(queue);
  IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE lower(m.queue_name) = queue) THEN
    RAISE NOTICE 'pgmq queue `%` does not exist', queue_name;
    RETURN false;
  END IF;
  FOREACH one IN ARRAY ARRAY[live, pgmq.format_table_name(queue_name, 'a')] LOOP
    IF pgmq._tidings_is_table(one) THEN
      EXECUTE format('DROP TABLE pgmq.%I', one);
    END IF;
  END LOOP;
  IF EXISTS (SELECT FROM pgmq.meta m WHERE lower(m.queue_name) = queue AND m.is_partitioned) THEN
    PERFORM pgmq._tidings_take_from_partman(queue);
  END IF;
  DELETE FROM pgmq.meta m WHERE lower(m.queue_name) = queue;
  PERFORM pgmq._tidings_maintain(queue);
  RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.drop_queue(queue_name text, partitioned boolean) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE WARNING 'drop_queue(queue_name, partitioned) is deprecated and will be removed in PGMQ v2.0. Use drop_queue(queue_name) instead';
  PERFORM pgmq.drop_queue(queue_name);
  RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.detach_archive(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE WARNING 'detach_archive(queue_name) is deprecated and is a no-op. It will be removed in PGMQ v2.0. Archive tables are no longer member objects.';
END
$$;

CREATE OR REPLACE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('manage', queue_name);
  purged bigint;
BEGIN
  EXECUTE format('LOCK TABLE pgmq.%I IN ACCESS EXCLUSIVE MODE', live);
  PERFORM pgmq._tidings_recall(lower(queue_name), NULL);
  EXECUTE format('SELECT count(*) FROM pgmq.%I', live) INTO purged;
  EXECUTE format('TRUNCATE pgmq.%I', live);
  PERFORM pgmq._tidings_purged(lower(queue_name));
  RETURN purged;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at FROM pgmq.meta m
$$;

CREATE OR REPLACE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := format('pgmq.%I', pgmq._tidings_table('measure', queue_name));
  found_metrics pgmq.metrics_result;
BEGIN
  EXECUTE format($sql$
    SELECT $1, q.length + d.length,
      date_part('epoch', clock_timestamp() - greatest(q.newest, d.newest))::integer,
      date_part('epoch', clock_timestamp() - least(q.oldest, d.oldest))::integer,
      coalesce(pg_sequence_last_value(pg_get_serial_sequence($2, 'msg_id')::regclass), 0),
      clock_timestamp(), q.visible + d.visible, pgmq._tidings_default_length($3)
    FROM (
      SELECT count(*) AS length, count(*) FILTER (WHERE vt <= clock_timestamp()) AS visible,
        max(enqueued_at) AS newest, min(enqueued_at) AS oldest
      FROM %s) q, pgmq._tidings_delayed($3) d
  $sql$, live) INTO found_metrics USING queue_name, live, lower(queue_name);
  RETURN found_metrics;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.metrics_all() RETURNS SETOF pgmq.metrics_result
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.* FROM pgmq.meta m CROSS JOIN LATERAL pgmq.metrics(m.queue_name::text) r
$$;
