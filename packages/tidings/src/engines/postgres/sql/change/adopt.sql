-- Makes the schema of PGMQ itself (1.5 or newer, no extension any more) one of Tidings, with all queues and messages. The
-- functions come afterwards. tidings.pgmq_functions: the names of those, separated by commas.
DO $$
DECLARE
  one record;
  command text;
BEGIN
  -- What is left over from clients that were told of inserts; they are told again below.
  FOR one IN
    SELECT t.tgname, t.tgrelid::regclass AS live FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'pgmq'::regnamespace AND t.tgname = 'trigger_notify_queue_insert_listeners'
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, one.live);
  END LOOP;
  CREATE TEMP TABLE tidings_adopted (pattern text, queue_name text, bound_at timestamptz) ON COMMIT DROP;
  IF to_regclass('pgmq.topic_bindings') IS NOT NULL THEN
    INSERT INTO tidings_adopted SELECT b.pattern, b.queue_name, b.bound_at FROM pgmq.topic_bindings b;
    DROP TABLE pgmq.topic_bindings;
  END IF;
  IF to_regclass('pgmq.notify_insert_throttle') IS NULL THEN
    CREATE TABLE pgmq.notify_insert_throttle (
      queue_name varchar UNIQUE NOT NULL REFERENCES pgmq.meta (queue_name) ON DELETE CASCADE,
      throttle_interval_ms integer NOT NULL DEFAULT 0,
      last_notified_at timestamptz NOT NULL DEFAULT to_timestamp(0)
    );
  ELSE
    -- A crash must not empty it.
    ALTER TABLE pgmq.notify_insert_throttle SET LOGGED;
  END IF;

  -- Other results, defaults or overloads would be in the way. What something of the user's depends on stays, and is
  -- replaced where it has the same form.
  FOR one IN
    SELECT p.oid::regprocedure AS signature FROM pg_proc p
    WHERE p.pronamespace = 'pgmq'::regnamespace
      AND p.proname = ANY (string_to_array(current_setting('tidings.pgmq_functions'), ','))
  LOOP
    BEGIN
      EXECUTE format('DROP FUNCTION %s', one.signature);
    EXCEPTION WHEN dependent_objects_still_exist THEN
      NULL;
    END;
  END LOOP;

  -- The columns of the types, in their order; changed, not made anew, for the functions of users that return them.
  FOR one IN
    SELECT w.type, string_agg(w.name || ' ' || w.of, ', ' ORDER BY w.position) AS wanted, (
      SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
      FROM pg_attribute a WHERE a.attrelid = w.type::regclass AND a.attnum > 0 AND NOT a.attisdropped) AS found
    FROM (VALUES
      ('pgmq.message_record', 1, 'msg_id', 'bigint'), ('pgmq.message_record', 2, 'read_ct', 'integer'),
      ('pgmq.message_record', 3, 'enqueued_at', 'timestamp with time zone'),
      ('pgmq.message_record', 4, 'last_read_at', 'timestamp with time zone'),
      ('pgmq.message_record', 5, 'vt', 'timestamp with time zone'), ('pgmq.message_record', 6, 'message', 'jsonb'),
      ('pgmq.message_record', 7, 'headers', 'jsonb'),
      ('pgmq.metrics_result', 1, 'queue_name', 'text'), ('pgmq.metrics_result', 2, 'queue_length', 'bigint'),
      ('pgmq.metrics_result', 3, 'newest_msg_age_sec', 'integer'),
      ('pgmq.metrics_result', 4, 'oldest_msg_age_sec', 'integer'),
      ('pgmq.metrics_result', 5, 'total_messages', 'bigint'),
      ('pgmq.metrics_result', 6, 'scrape_time', 'timestamp with time zone'),
      ('pgmq.metrics_result', 7, 'queue_visible_length', 'bigint'),
      ('pgmq.metrics_result', 8, 'default_partition_length', 'bigint')
    ) w (type, position, name, of)
    GROUP BY w.type
  LOOP
    CONTINUE WHEN one.found = one.wanted;
    FOR command IN
      SELECT format('ALTER TYPE %s DROP ATTRIBUTE %I', one.type, a.attname) FROM pg_attribute a
      WHERE a.attrelid = one.type::regclass AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
      EXECUTE command;
    END LOOP;
    EXECUTE format('ALTER TYPE %s ADD ATTRIBUTE %s', one.type, replace(one.wanted, ', ', ', ADD ATTRIBUTE '));
  END LOOP;

  -- Tables of queues as Tidings makes them; the order of columns does not matter to it.
  FOR one IN
    SELECT c.oid::regclass AS live, c.relkind, left(c.relname, 2) AS prefix, c.relname FROM pg_class c
    WHERE c.relnamespace = 'pgmq'::regnamespace AND c.relname IN (
      SELECT p.prefix || lower(m.queue_name) FROM pgmq.meta m, (VALUES ('q_'), ('a_')) p (prefix))
  LOOP
    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS last_read_at timestamptz', one.live);
    IF one.prefix = 'q_' AND one.relkind = 'r' THEN
      EXECUTE format('ALTER TABLE %s SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)',
        one.live);
      EXECUTE format('DROP INDEX IF EXISTS pgmq.%I', one.relname || '_vt_idx');
    END IF;
  END LOOP;
  COMMENT ON SCHEMA pgmq IS 'PGMQ''s tables and functions, by Tidings';
END
$$;
