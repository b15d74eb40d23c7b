-- What time asks for in storage: queue by queue, and what belongs to none, each in a transaction of its own, so that one
-- that fails stops none of the others. Any number of processes may do it at the same time.

-- The queues with listeners that pgmq.enable_notify_insert was called for.
CREATE OR REPLACE FUNCTION tidings.told_queues() RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tidings.owns_pgmq() THEN
    RETURN QUERY EXECUTE 'SELECT DISTINCT lower(t.queue_name) FROM pgmq.notify_insert_throttle t';
  END IF;
END
$$;

-- Tells them of messages that have come due since they were told last: inserting told them too early. Waits for nobody.
CREATE OR REPLACE FUNCTION tidings.tell_due(queue text, live regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format($sql$
    WITH told AS (
      UPDATE pgmq.notify_insert_throttle t SET last_notified_at = $2 WHERE t.queue_name IN (
        SELECT s.queue_name FROM pgmq.notify_insert_throttle s
        WHERE lower(s.queue_name) = $1 AND EXISTS (
          SELECT FROM %s q
          WHERE q.read_ct = 0 AND q.vt > q.enqueued_at + interval '100 ms' AND q.vt > s.last_notified_at AND q.vt <= $2)
        FOR NO KEY UPDATE SKIP LOCKED)
      RETURNING t.queue_name
    )
    SELECT pg_notify(format('pgmq.q_%%s.INSERT', queue_name), '') FROM told
  $sql$, live) USING queue, clock_timestamp();
END
$$;

-- The queues that have something to be done, or that another client dropped.
CREATE OR REPLACE FUNCTION tidings.queues_to_maintain() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE
  -- From name to name, not from message to message.
  delaying AS (
    (SELECT d.queue_name FROM tidings.delayed d ORDER BY d.queue_name LIMIT 1)
    UNION ALL
    SELECT (SELECT d.queue_name FROM tidings.delayed d WHERE d.queue_name > n.queue_name ORDER BY d.queue_name LIMIT 1)
    FROM delaying n WHERE n.queue_name IS NOT NULL
  ), known AS (
    SELECT q.queue_name FROM tidings.queue q
    UNION SELECT b.queue_name FROM tidings.binding b
    UNION SELECT l.queue_name FROM tidings.topic_queue l
    UNION SELECT n.queue_name FROM delaying n WHERE n.queue_name IS NOT NULL
  )
  SELECT k.queue_name FROM known k WHERE tidings.find_table(k.queue_name) IS NULL
  UNION SELECT q.queue_name FROM tidings.queue q WHERE NOT q.indexed OR q.has_keys AND NOT q.has_plain_index OR q.has_lanes
  UNION SELECT n.queue_name FROM delaying n
    WHERE EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = n.queue_name AND d.due <= statement_timestamp())
  UNION SELECT d.queue_name FROM tidings.dedup d WHERE d.expires_at IS NULL
  UNION SELECT t.held_in FROM tidings.task t WHERE t.state = 'pending'
  UNION SELECT told FROM tidings.told_queues() told
  ORDER BY 1
$$;

CREATE OR REPLACE FUNCTION tidings.maintain_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.find_table(queue);
BEGIN
  IF live IS NULL THEN
    -- Under the lock of creating, after which it may be there again, with messages of its own.
    PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
    IF tidings.find_table(queue) IS NULL THEN
      PERFORM tidings.forget(queue);
    END IF;
    RETURN;
  END IF;
  PERFORM tidings.promote(queue, 10000);
  IF queue IN (SELECT tidings.told_queues()) THEN
    PERFORM tidings.tell_due(queue, live);
  END IF;
  IF (tidings.settings_of(queue)).has_lanes THEN
    PERFORM tidings.maintain_lanes(queue, live);
  END IF;
  PERFORM tidings.free_targets(queue, live);
  PERFORM tidings.end_lost_tasks(queue, live);
EXCEPTION WHEN undefined_table OR syntax_error OR SQLSTATE 'TD404' THEN
  -- The queue was dropped meanwhile, which the next time sees. (The name of a table that is gone is its number.)
  NULL;
END
$$;

-- Forgets unique targets whose message is gone. First they are locked, so that no sender takes one any more; then, in a
-- statement that sees what was committed before, it is looked whether the message is still gone.
CREATE OR REPLACE FUNCTION tidings.free_targets(queue text, live regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  is_unused constant text := format($sql$
    d.queue_name = $1 AND d.expires_at IS NULL
    AND NOT EXISTS (SELECT FROM %s q WHERE q.msg_id = d.msg_id)
    AND NOT EXISTS (SELECT FROM tidings.delayed p WHERE p.queue_name = $1 AND p.msg_id = d.msg_id)
  $sql$, live);
  unused text[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(key) FROM (
      SELECT d.key FROM tidings.dedup d WHERE %s ORDER BY d.key FOR UPDATE OF d SKIP LOCKED) locked
  $sql$, is_unused) INTO unused USING queue;
  EXECUTE format('DELETE FROM tidings.dedup d WHERE d.key = ANY ($2) AND %s', is_unused) USING queue, unused;
END
$$;

-- Forgets what belongs to no queue any more.
CREATE OR REPLACE FUNCTION tidings.maintain() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
BEGIN
  -- What a transaction of an application holds is left to the next time.
  DELETE FROM tidings.dedup d WHERE (d.queue_name, d.key) IN (
    SELECT e.queue_name, e.key FROM tidings.dedup e WHERE e.expires_at <= moment FOR UPDATE SKIP LOCKED);
  -- From transactions that committed after their topic was dropped.
  DELETE FROM tidings.topic_pending p WHERE NOT EXISTS (SELECT FROM tidings.topic t WHERE t.id = p.topic_id);
  -- From claims that committed after the end of their process was seen to.
  DELETE FROM tidings.holder_queue q WHERE NOT EXISTS (SELECT FROM tidings.holder h WHERE h.number = q.number);
  PERFORM tidings.forget_correlations();
END
$$;

-- In how many milliseconds the next message of tidings.delayed is due; null if there is none.
CREATE OR REPLACE FUNCTION tidings.next_delayed_ms() RETURNS double precision
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.milliseconds_until(min(next.due)) FROM tidings.queue q
  CROSS JOIN LATERAL (
    SELECT d.due FROM tidings.delayed d WHERE d.queue_name = q.queue_name ORDER BY d.due LIMIT 1) next
$$;

-- Topics with something pending or to prune.
CREATE OR REPLACE FUNCTION tidings.topics_to_maintain() RETURNS TABLE (topic text, prune boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.name, t.max_age_ms IS NOT NULL OR t.max_bytes IS NOT NULL OR t.when_read
  FROM tidings.topic t
  WHERE t.max_age_ms IS NOT NULL OR t.max_bytes IS NOT NULL OR t.when_read
    OR EXISTS (SELECT FROM tidings.topic_pending p WHERE p.topic_id = t.id)
  ORDER BY t.name
$$;
