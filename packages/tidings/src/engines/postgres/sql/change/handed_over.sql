-- After PGMQ was installed: its lists, and the index that it makes on each queue.
DO $$
DECLARE
  one record;
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('pgmq.message_record') AND a.attname = 'last_read_at')
  THEN
    RAISE EXCEPTION 'what was installed is no PGMQ of 1.10 or newer, whose tables are as ours are'
      USING ERRCODE = 'feature_not_supported';
  END IF;
  INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged, created_at)
  SELECT m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at FROM tidings_meta m;
  FOR one IN SELECT 'q_' || lower(m.queue_name) AS name FROM tidings_meta m WHERE NOT m.is_partitioned LOOP
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (vt)', one.name || '_vt_idx', one.name);
  END LOOP;
  IF to_regclass('pgmq.topic_bindings') IS NOT NULL THEN
    INSERT INTO pgmq.topic_bindings (pattern, queue_name, bound_at)
    SELECT b.pattern, b.pgmq_name, b.bound_at FROM tidings.binding b WHERE b.pgmq_name IS NOT NULL;
    DELETE FROM tidings.binding b WHERE b.pgmq_name IS NOT NULL;
  END IF;
  IF to_regprocedure('pgmq.enable_notify_insert(text, integer)') IS NOT NULL THEN
    PERFORM pgmq.enable_notify_insert(t.queue_name::text, t.throttle_interval_ms) FROM tidings_throttle t;
  END IF;
END
$$;
