-- Makes all that Tidings has in its schemas belong to extension pgmq, which is being created: but no queue, so that DROP
-- EXTENSION leaves those. What is in our tables belongs into dumps; the list of migrations is part of the script itself.
DO $$
DECLARE
  one record;
BEGIN
  IF obj_description('pgmq'::regnamespace, 'pg_namespace') IS NULL
    OR obj_description('pgmq'::regnamespace, 'pg_namespace') NOT LIKE '%by Tidings'
  THEN
    RAISE EXCEPTION 'the schema pgmq is of another PGMQ' USING ERRCODE = 'object_not_in_prerequisite_state',
      HINT = 'Run tidings migrate --adopt first.';
  END IF;
  FOR one IN
    WITH ours AS (
      SELECT 'pg_class'::regclass AS class, c.oid FROM pg_class c
      WHERE c.relkind IN ('r', 'v', 'S') AND (c.relnamespace = 'tidings'::regnamespace
        OR c.relnamespace = 'pgmq'::regnamespace AND c.relname IN ('meta', 'notify_insert_throttle', 'topic_bindings'))
      UNION ALL
      SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
      WHERE c.relkind = 'c' AND (t.typnamespace = 'tidings'::regnamespace OR t.typnamespace = 'pgmq'::regnamespace
        AND t.typname IN ('message_record', 'queue_record', 'metrics_result'))
      UNION ALL
      SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p
      WHERE p.pronamespace = 'tidings'::regnamespace AND position(':' IN p.proname) = 0 OR p.pronamespace = 'pgmq'::regnamespace
        AND p.proname = ANY (string_to_array(current_setting('tidings.pgmq_functions'), ','))
      UNION ALL
      SELECT 'pg_namespace'::regclass, n.oid FROM pg_namespace n WHERE n.nspname = 'tidings'
    )
    SELECT o.type, o.identity FROM ours CROSS JOIN LATERAL pg_identify_object(ours.class, ours.oid, 0) o
    WHERE NOT EXISTS (
      SELECT FROM pg_depend d WHERE d.classid = ours.class AND d.objid = ours.oid AND d.deptype = 'e')
  LOOP
    EXECUTE format('ALTER EXTENSION pgmq ADD %s %s',
      CASE one.type WHEN 'composite type' THEN 'type' ELSE one.type END, one.identity);
  END LOOP;
  FOR one IN
    SELECT c.oid FROM pg_class c
    WHERE c.relkind IN ('r', 'S') AND (c.relnamespace = 'tidings'::regnamespace AND c.relname NOT IN ('migration', 'role')
      OR c.relnamespace = 'pgmq'::regnamespace AND c.relname IN ('meta', 'notify_insert_throttle'))
  LOOP
    PERFORM pg_extension_config_dump(one.oid, '');
  END LOOP;
END
$$;
