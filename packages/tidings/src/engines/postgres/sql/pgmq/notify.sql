-- Telling who listens that messages were inserted, at most once in an interval. Nobody waits for anybody: who cannot have
-- the row that says when it was told last, since a transaction that is not over told it, tells it once more.

-- With the rights of its owner, so that the right to insert is enough to be heard.
CREATE OR REPLACE FUNCTION pgmq._tidings_notify(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  every_ms integer;
  told_at timestamptz;
BEGIN
  SELECT t.throttle_interval_ms, t.last_notified_at INTO every_ms, told_at
  FROM pgmq.notify_insert_throttle t WHERE t.queue_name = queue;
  IF every_ms IS NULL OR every_ms > 0 AND told_at > clock_timestamp() - every_ms * interval '1 millisecond' THEN
    RETURN;
  END IF;
  -- With a snapshot of its own a transaction would fail on a row that another has changed meanwhile.
  IF every_ms > 0 AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
    UPDATE pgmq.notify_insert_throttle t SET last_notified_at = clock_timestamp()
    WHERE t.queue_name = (
      SELECT s.queue_name FROM pgmq.notify_insert_throttle s WHERE s.queue_name = queue FOR NO KEY UPDATE SKIP LOCKED);
  END IF;
  PERFORM pg_notify(format('pgmq.q_%s.INSERT', queue), '');
  -- Our readers listen by the name of the table.
  IF queue <> lower(queue) THEN
    PERFORM tidings.announce(lower(queue), 0);
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.notify_queue_listeners() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq._tidings_notify(coalesce(TG_ARGV[0], substr(TG_TABLE_NAME, 3)));
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.disable_notify_insert(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('DROP TRIGGER IF EXISTS trigger_notify_queue_insert_listeners ON pgmq.%I',
    pgmq._tidings_table('manage', queue_name));
  DELETE FROM pgmq.notify_insert_throttle t WHERE lower(t.queue_name) = lower(disable_notify_insert.queue_name);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.enable_notify_insert(queue_name text, throttle_interval_ms integer = 250) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('manage', queue_name);
BEGIN
  IF throttle_interval_ms < 0 THEN
    RAISE EXCEPTION 'throttle_interval_ms must be non-negative';
  END IF;
  IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE lower(m.queue_name) = lower(enable_notify_insert.queue_name)) THEN
    RAISE EXCEPTION 'Queue "%" does not exist. Create it first using pgmq.create()', queue_name;
  END IF;
  PERFORM pgmq.disable_notify_insert(queue_name);
  EXECUTE format($sql$
    CREATE CONSTRAINT TRIGGER trigger_notify_queue_insert_listeners AFTER INSERT ON pgmq.%I
    DEFERRABLE FOR EACH ROW EXECUTE FUNCTION pgmq.notify_queue_listeners(%L)
  $sql$, live, queue_name);
  INSERT INTO pgmq.notify_insert_throttle (queue_name, throttle_interval_ms) VALUES ($1, $2);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.update_notify_insert(queue_name text, throttle_interval_ms integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF throttle_interval_ms < 0 THEN
    RAISE EXCEPTION 'throttle_interval_ms must be non-negative, got: %', throttle_interval_ms;
  END IF;
  PERFORM pgmq._tidings_table('manage', queue_name);
  IF NOT EXISTS (SELECT FROM pgmq.meta m WHERE m.queue_name = update_notify_insert.queue_name) THEN
    RAISE EXCEPTION 'Queue "%" does not exist. Create the queue first using pgmq.create()', queue_name;
  END IF;
  UPDATE pgmq.notify_insert_throttle t SET
    throttle_interval_ms = update_notify_insert.throttle_interval_ms, last_notified_at = to_timestamp(0)
  WHERE t.queue_name = update_notify_insert.queue_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'Queue "%" does not have notify_insert enabled. Enable it first using pgmq.enable_notify_insert()',
      queue_name;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.list_notify_insert_throttles()
RETURNS TABLE (queue_name text, throttle_interval_ms integer, last_notified_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.queue_name::text, t.throttle_interval_ms, t.last_notified_at FROM pgmq.notify_insert_throttle t
  ORDER BY t.queue_name
$$;
