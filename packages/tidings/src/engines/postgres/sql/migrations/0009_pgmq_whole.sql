-- What PGMQ 1.13 has beside its queues, where its schema is ours: who is told of what is inserted. (Where this table is
-- unlogged, as upstream, a crash empties it and nobody is told any more.)
DO $$
BEGIN
  IF coalesce(obj_description('pgmq'::regnamespace, 'pg_namespace'), '') NOT LIKE '%by Tidings' THEN
    RETURN;
  END IF;
  ALTER TYPE pgmq.metrics_result ADD ATTRIBUTE default_partition_length bigint;
  CREATE TABLE pgmq.notify_insert_throttle (
    queue_name varchar UNIQUE NOT NULL REFERENCES pgmq.meta (queue_name) ON DELETE CASCADE,
    throttle_interval_ms integer NOT NULL DEFAULT 0,
    last_notified_at timestamptz NOT NULL DEFAULT to_timestamp(0)
  );
  -- As with PGMQ: what protects queues is USAGE on the schema and the rights on their tables. (Roles take it back.)
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgmq TO PUBLIC;
END
$$;

-- pgmq_name: the queue as pgmq.bind_topic was told it, whose rule the pattern follows; null: bound by Tidings, by its own
-- rule. To PGMQ a # stands for any characters, and a wildcard need not be a whole segment; to us # stands for whole
-- segments, also none.
ALTER TABLE tidings.binding ADD COLUMN pgmq_name text;
ALTER TABLE tidings.binding ADD COLUMN compiled_regex text COLLATE "C" GENERATED ALWAYS AS (
  '^' || CASE
    WHEN pgmq_name IS NOT NULL
      THEN replace(replace(replace(pattern, '.', chr(92) || '.'), '*', '[^.]+'), '#', '.*')
    ELSE
      CASE
        WHEN pattern ~ '^#([.]#)*$' THEN '.*'
        WHEN starts_with(pattern, '#') THEN '(.*' || chr(92) || '.)?'
        ELSE ''
      END || replace(
        replace(replace(regexp_replace(pattern, '^#([.]#)*([.]|$)', ''), '.', chr(92) || '.'), '*', '[^.]+'),
        chr(92) || '.#', '(' || chr(92) || '..*)?')
  END || '$') STORED;
