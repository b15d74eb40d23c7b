-- Takes what is ours out of the schema pgmq, so that PGMQ itself can be installed in it, in this transaction: its functions,
-- types and lists. The tables of queues stay. tidings.pgmq_functions: the names of our functions, separated by commas.
DO $$
DECLARE
  one record;
BEGIN
  CREATE TEMP TABLE tidings_meta ON COMMIT DROP AS SELECT * FROM pgmq.meta;
  CREATE TEMP TABLE tidings_throttle ON COMMIT DROP AS SELECT * FROM pgmq.notify_insert_throttle;
  DROP VIEW pgmq.topic_bindings;
  FOR one IN
    SELECT t.tgname, t.tgrelid::regclass AS live FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'pgmq'::regnamespace AND t.tgname = 'trigger_notify_queue_insert_listeners'
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', one.tgname, one.live);
  END LOOP;
  FOR one IN
    SELECT p.oid::regprocedure AS signature FROM pg_proc p
    WHERE p.pronamespace = 'pgmq'::regnamespace
      AND p.proname = ANY (string_to_array(current_setting('tidings.pgmq_functions'), ','))
  LOOP
    EXECUTE format('DROP FUNCTION %s', one.signature);
  END LOOP;
  -- Comes again with our other functions.
  DROP FUNCTION tidings.meta_of(text);
  DROP TABLE pgmq.notify_insert_throttle, pgmq.meta;
  DROP TYPE pgmq.message_record, pgmq.queue_record, pgmq.metrics_result;
  COMMENT ON SCHEMA pgmq IS NULL;
END
$$;
