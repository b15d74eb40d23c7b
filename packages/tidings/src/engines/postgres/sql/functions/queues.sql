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

-- The same without a look at the caller, for a queue that is part of something else. The schema's own function makes the
-- tables, so that every version of PGMQ finds them as it expects them: columns, members of its extension.
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
  IF tidings.owns_pgmq() THEN
    PERFORM pgmq._tidings_create(queue, queue, false);
  ELSE
    -- Whatever another client left behind when it dropped a queue of this name.
    PERFORM tidings.maintain_queue(queue);
    PERFORM pgmq.create(queue);
    BEGIN
      EXECUTE format('ALTER TABLE %s SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)',
        tidings.table_of(queue));
      -- It would keep the updates of claims from staying on their page, and leave an entry behind for each.
      EXECUTE format('DROP INDEX IF EXISTS pgmq.%I', 'q_' || queue || '_vt_idx');
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;
    END;
  END IF;
  PERFORM tidings.register_queue(queue);
  RETURN true;
END
$$;

-- Takes in a queue whose tables are new.
CREATE OR REPLACE FUNCTION tidings.register_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM tidings.queue q WHERE q.queue_name = queue) THEN
    PERFORM tidings.settings_of(queue);
    PERFORM tidings.grant_on_new_queue(queue);
    PERFORM tidings.index_queue(queue);
    -- Now, so that nobody waits for a transaction of an application in which it is first used.
    PERFORM tidings.renew_functions(queue);
  END IF;
END
$$;

-- Makes the indexes behind ordering keys and priorities: partial, so that they hold no plain message. They only make it
-- faster: where a lock cannot be had soon, or this role does not own the table, another call may. And where there are keys,
-- one that holds the others, so that nothing that looks for these walks over what waits behind a key.
CREATE OR REPLACE FUNCTION tidings.index_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  settings tidings.queue := tidings.settings_of(queue);
  outdated regclass;
BEGIN
  IF settings.indexed AND (settings.has_plain_index OR NOT settings.has_keys) THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  settings := tidings.settings_of(queue);
  IF settings.has_keys AND settings.indexed AND NOT settings.has_plain_index THEN
    EXECUTE format($sql$CREATE INDEX ON %s (msg_id) WHERE headers ->> 'x-pgmq-group' IS NULL$sql$, live);
    UPDATE tidings.queue q SET has_plain_index = true WHERE q.queue_name = queue;
  END IF;
  IF settings.indexed THEN
    RETURN;
  END IF;
  FOR outdated IN
    SELECT i.indexrelid FROM pg_index i
    WHERE i.indrelid = live AND pg_get_expr(i.indpred, i.indrelid) ~ 'x-pgmq-group|x-tidings-priority'
      -- That of pgmq.create_fifo_index.
      AND i.indexrelid IS DISTINCT FROM to_regclass(format('pgmq.%I', 'q_' || queue || '_fifo_idx'))
  LOOP
    EXECUTE format('DROP INDEX %s', outdated);
  END LOOP;
  EXECUTE format($sql$
    CREATE INDEX ON %1$s ((headers ->> 'x-pgmq-group') COLLATE "C", msg_id) WHERE headers ? 'x-pgmq-group';
    CREATE INDEX ON %1$s (%2$s DESC, msg_id) WHERE headers ? 'x-tidings-priority'
  $sql$, live, tidings.priority_expression());
  IF settings.has_keys THEN
    EXECUTE format($sql$CREATE INDEX ON %s (msg_id) WHERE headers ->> 'x-pgmq-group' IS NULL$sql$, live);
  END IF;
  UPDATE tidings.queue q SET indexed = true, has_plain_index = settings.has_keys WHERE q.queue_name = queue;
EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
  NULL;
END
$$;

-- Notes that a queue has messages with ordering keys, priorities or groups from now on, and makes what is behind them. Does
-- not wait long for a lock: the transaction that holds it may be the one for which this is done, on another connection.
-- A claim that finds such messages notes it as well.
CREATE OR REPLACE FUNCTION tidings.enable(queue text, keys boolean, priorities boolean, groups boolean = false) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  settings tidings.queue;
BEGIN
  settings := tidings.settings_of(queue);
  IF keys AND NOT settings.has_keys OR priorities AND NOT settings.has_priorities THEN
    UPDATE tidings.queue q SET has_keys = q.has_keys OR keys, has_priorities = q.has_priorities OR priorities
    WHERE q.queue_name = queue;
  END IF;
  IF NOT settings.indexed OR keys AND NOT settings.has_plain_index THEN
    PERFORM tidings.index_queue(queue);
  END IF;
  IF groups AND NOT settings.has_lanes THEN
    PERFORM tidings.enable_lanes(queue);
  END IF;
EXCEPTION WHEN lock_not_available THEN
  NULL;
END
$$;

-- Merges a change into the settings of a queue, and tells who listens to it. Returns all of them.
CREATE OR REPLACE FUNCTION tidings.configure(queue text, change jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  merged jsonb;
BEGIN
  PERFORM tidings.must('manage', queue), tidings.table_of(queue), tidings.settings_of(queue);
  IF change -> 'limits' NOT IN ('null', '[]') OR change -> 'weights' NOT IN ('null', '{}') THEN
    PERFORM tidings.enable_lanes(queue);
  END IF;
  UPDATE tidings.queue q SET configured = tidings.merge_meta(q.configured, change) WHERE q.queue_name = queue
  RETURNING q.configured INTO merged;
  IF change ? 'limits' THEN
    PERFORM tidings.change_limits(queue);
  END IF;
  -- To programs that know no settings it is a message to be read.
  PERFORM pg_notify('tidings.' || queue, 'changed');
  RETURN merged;
END
$$;

-- The settings of all queues that have some, or of one. A function, since not every role that lists queues may read the table.
CREATE OR REPLACE FUNCTION tidings.all_settings(wanted text = NULL) RETURNS TABLE (queue_name text, settings jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF wanted IS NULL THEN
    RETURN QUERY SELECT q.queue_name, q.configured FROM tidings.queue q WHERE q.configured <> '{}';
  ELSE
    RETURN QUERY SELECT q.queue_name, q.configured FROM tidings.queue q WHERE q.queue_name = wanted AND q.configured <> '{}';
  END IF;
END
$$;

-- Removes what belongs to a queue in our own schema.
CREATE OR REPLACE FUNCTION tidings.forget(queue text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM tidings.delayed d WHERE d.queue_name = queue;
  -- PGMQ lets a queue be named like the place of a topic.
  DELETE FROM tidings.dedup d WHERE d.queue_name = queue AND NOT starts_with(queue, 'topic:');
  DELETE FROM tidings.binding b WHERE b.queue_name = queue;
  DELETE FROM tidings.topic_queue l WHERE l.queue_name = queue;
  SELECT tidings.end_tasks(queue, NULL, 'cancelled');
  UPDATE tidings.task t SET msg_id = NULL WHERE t.held_in = queue AND t.msg_id IS NOT NULL;
  DELETE FROM tidings.queue q WHERE q.queue_name = queue;
  DELETE FROM tidings.history h WHERE h.queue_name = queue;
  SELECT tidings.forget_lanes(queue);
  SELECT tidings.renew_functions(queue);
$$;

-- Returns false if there was none. The schema's own function drops the tables: it knows what else belongs to them.
CREATE OR REPLACE FUNCTION tidings.drop_queue(queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  spelling text;
  there boolean := false;
  why text;
  advice text;
  proprietor name;
BEGIN
  PERFORM tidings.must('manage', queue);
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  FOR spelling IN SELECT m.queue_name FROM pgmq.meta m WHERE lower(m.queue_name) = queue LOOP
    there := true;
    BEGIN
      PERFORM pgmq.drop_queue(spelling);
    EXCEPTION WHEN object_not_in_prerequisite_state THEN
      -- An extension that wants its queues as members refuses one that Tidings made by itself, as it did before.
      EXECUTE format('DROP TABLE IF EXISTS pgmq.%I, pgmq.%I', 'q_' || queue, 'a_' || queue);
    END;
    DELETE FROM pgmq.meta m WHERE m.queue_name = spelling;
  END LOOP;
  PERFORM tidings.forget(queue);
  RETURN there;
EXCEPTION WHEN insufficient_privilege THEN
  GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  SELECT pg_get_userbyid(c.relowner) INTO proprietor FROM pg_class c WHERE c.oid = tidings.find_table(queue);
  RAISE EXCEPTION '%', why USING ERRCODE = 'insufficient_privilege',
    HINT = coalesce(nullif(advice, ''),
      format('Queue "%s" belongs to role "%s": do it as that role, or as a member of it.', queue, proprietor));
END
$$;

-- Removes all messages that are not archived. Returns how many.
CREATE OR REPLACE FUNCTION tidings.purge_queue(queue text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  waiting bigint;
  postponed bigint;
  why text;
  advice text;
  proprietor name;
BEGIN
  PERFORM tidings.must('manage', queue);
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', live);
  EXECUTE format('SELECT count(*) FROM %s', live) INTO waiting;
  EXECUTE format('TRUNCATE %s', live);
  DELETE FROM tidings.delayed d WHERE d.queue_name = queue;
  GET DIAGNOSTICS postponed = ROW_COUNT;
  DELETE FROM tidings.slot s WHERE s.queue_name = queue;
  PERFORM tidings.end_tasks(queue, NULL, 'cancelled');
  RETURN waiting + postponed;
EXCEPTION WHEN insufficient_privilege THEN
  GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  SELECT pg_get_userbyid(c.relowner) INTO proprietor FROM pg_class c WHERE c.oid = live;
  RAISE EXCEPTION '%', why USING ERRCODE = 'insufficient_privilege',
    HINT = coalesce(nullif(advice, ''),
      format('Queue "%s" belongs to role "%s": do it as that role, or as a member of it.', queue, proprietor));
END
$$;

-- What lies in a queue, but for its archive, in one pass.
-- most: looks at so many messages from the front, and at as many of those that wait apart. What is behind them is estimated, and
-- counts as ready, or as delayed. null: looks at all
-- behind: how many of the ready ones were not looked at
CREATE OR REPLACE FUNCTION tidings.places(
  queue text, live regclass, most bigint, OUT ready bigint, OUT leased bigint, OUT delayed bigint, OUT ready_since timestamptz,
  OUT newest timestamptz, OUT oldest timestamptz, OUT next_due timestamptz, OUT behind bigint, OUT is_estimate boolean
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
  front constant text := CASE WHEN most IS NULL THEN '' ELSE 'ORDER BY msg_id LIMIT $3' END;
  here bigint;
  reached bigint;
  apart bigint;
BEGIN
  -- No function of ours is called in it, so that it may run in parallel.
  EXECUTE format($sql$
    WITH message AS (
      (SELECT msg_id, enqueued_at, vt, vt <= $2 AS is_ready, read_ct > 0 AS is_read, false AS is_apart FROM %1$s %2$s)
      UNION ALL
      (SELECT msg_id, enqueued_at, due, false, false, true FROM tidings.delayed WHERE queue_name = $1 %2$s)
    )
    SELECT
      count(*) FILTER (WHERE is_ready),
      count(*) FILTER (WHERE NOT is_ready AND is_read),
      count(*) FILTER (WHERE NOT is_ready AND NOT is_read),
      min(greatest(vt, enqueued_at)) FILTER (WHERE is_ready),
      max(enqueued_at), min(enqueued_at),
      min(vt) FILTER (WHERE NOT is_ready AND vt < 'infinity'),
      count(*) FILTER (WHERE NOT is_apart), max(msg_id) FILTER (WHERE NOT is_apart), count(*) FILTER (WHERE is_apart)
    FROM message
  $sql$, live, front) USING queue, moment, most
  INTO ready, leased, delayed, ready_since, newest, oldest, next_due, here, reached, apart;
  behind := 0;
  IF here = most THEN
    EXECUTE format('SELECT msg_id - $1, greatest(enqueued_at, $2) FROM %s ORDER BY msg_id DESC LIMIT 1', live)
    USING reached, newest INTO behind, newest;
    IF behind > 0 THEN
      -- One is there, and no more than there are ids.
      behind := least(behind, greatest(1, tidings.expected_rows(format('SELECT FROM %s', live)) - here));
    END IF;
    ready := ready + behind;
  END IF;
  IF apart = most THEN
    delayed := delayed - apart + greatest(apart,
      tidings.expected_rows(format('SELECT FROM tidings.delayed d WHERE d.queue_name = %L', queue)));
  END IF;
  is_estimate := behind > 0 OR coalesce(apart = most, false);
END
$$;

-- The figures of one queue; ages in milliseconds. The archive is counted up to 100,000, then estimated.
-- most: as tidings.places has it, of the archive and of what is held back, too. null: looks at all
CREATE OR REPLACE FUNCTION tidings.stats(
  queue text, most bigint = NULL, OUT ready bigint, OUT delayed bigint, OUT leased bigint, OUT archived bigint,
  OUT total_sent bigint, OUT oldest_ready_ms double precision, OUT newest_ms double precision, OUT oldest_ms double precision,
  OUT created_at double precision, OUT next_due_ms double precision, OUT held_back bigint, OUT is_estimate boolean
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  archive regclass := tidings.table_of(queue, 'a_');
  most_archived constant bigint := least(most, 100000);
  settings tidings.queue;
  found record;
BEGIN
  PERFORM tidings.must('measure', queue);
  SELECT * INTO settings FROM tidings.queue q WHERE q.queue_name = queue;
  SELECT * INTO found FROM tidings.places(queue, live, most);
  ready := found.ready;
  leased := found.leased;
  delayed := found.delayed;
  oldest_ready_ms := -tidings.milliseconds_until(found.ready_since);
  newest_ms := -tidings.milliseconds_until(found.newest);
  oldest_ms := -tidings.milliseconds_until(found.oldest);
  is_estimate := found.is_estimate;
  next_due_ms := CASE
    -- Of a key only the first message counts.
    WHEN (settings.has_keys OR settings.has_lanes) AND NOT is_estimate THEN tidings.next_due_ms(queue, clock_timestamp())
    WHEN found.next_due IS NOT NULL THEN greatest(tidings.milliseconds_until(found.next_due), 0)
  END;
  held_back := CASE WHEN settings.has_lanes THEN tidings.count_held_back(queue, most) ELSE 0 END;
  IF held_back > 0 AND held_back = ready - found.behind THEN
    held_back := ready;
  END IF;

  EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT $1) counted', archive) INTO archived USING most_archived;
  IF archived = most_archived THEN
    archived := greatest(archived, tidings.expected_rows(format('SELECT FROM %s', archive)));
  END IF;
  EXECUTE format('SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM %s',
    pg_get_serial_sequence(live::text, 'msg_id')) INTO total_sent;
  created_at := tidings.microseconds((tidings.meta_of(queue)).created_at) / 1000;
EXCEPTION WHEN undefined_table OR syntax_error THEN
  -- It was dropped meanwhile; the number of a table that is gone is no name.
  RAISE EXCEPTION 'queue "%" does not exist', queue USING ERRCODE = 'TD404', DETAIL = queue;
END
$$;

-- In how many milliseconds the next message becomes ready. Older programs ask for it by itself.
CREATE OR REPLACE FUNCTION tidings.next_ready_ms(queue text) RETURNS double precision
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('measure', queue);
  RETURN tidings.next_due_ms(queue, clock_timestamp());
END
$$;

-- Queues with messages that are hidden for ever, which no reader will find. Reads all messages.
CREATE OR REPLACE FUNCTION tidings.parked() RETURNS TABLE (queue text, parked bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  FOR queue IN SELECT DISTINCT lower(m.queue_name) FROM pgmq.meta m ORDER BY 1 LOOP
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
