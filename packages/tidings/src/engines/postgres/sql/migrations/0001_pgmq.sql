-- PGMQ's schema, where it is not there already as an extension or a plain install: the registry of queues and the
-- types whose column order is the wire contract of PGMQ's clients. (Facts: PGMQ 1.12.)
DO $$
BEGIN
  IF to_regclass('pgmq.meta') IS NOT NULL THEN
    RETURN;
  END IF;

  CREATE SCHEMA IF NOT EXISTS pgmq;
  -- By this comment we know later that its functions are ours to provide.
  COMMENT ON SCHEMA pgmq IS 'PGMQ''s tables and functions, by Tidings';

  CREATE TABLE pgmq.meta (
    queue_name varchar UNIQUE NOT NULL,
    is_partitioned boolean NOT NULL,
    is_unlogged boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
  );

  CREATE TYPE pgmq.message_record AS (
    msg_id bigint, read_ct integer, enqueued_at timestamptz, last_read_at timestamptz, vt timestamptz,
    message jsonb, headers jsonb
  );
  CREATE TYPE pgmq.queue_record AS (
    queue_name varchar, is_partitioned boolean, is_unlogged boolean, created_at timestamptz
  );
  CREATE TYPE pgmq.metrics_result AS (
    queue_name text, queue_length bigint, newest_msg_age_sec integer, oldest_msg_age_sec integer,
    total_messages bigint, scrape_time timestamptz, queue_visible_length bigint
  );
END
$$;
