-- PGMQ's functions, for its clients in other languages, where the schema pgmq is ours and not the extension's. Names,
-- signatures and behaviour are those of PGMQ 1.12; the statements are our own. Left out: partitioned queues, grouped
-- reads, topics and insert triggers.

CREATE OR REPLACE FUNCTION pgmq.create_non_partitioned(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF length(queue_name) > 47 THEN
    RAISE EXCEPTION 'queue name is too long, maximum length is 47 characters';
  END IF;
  IF queue_name ~ '[$;'']|--' THEN
    RAISE EXCEPTION 'queue name contains invalid characters: $, ;, --, or ''';
  END IF;
  PERFORM tidings.create_queue(lower(queue_name));
END
$$;

CREATE OR REPLACE FUNCTION pgmq.create(queue_name text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.create_non_partitioned(queue_name)
$$;

CREATE OR REPLACE FUNCTION pgmq.drop_queue(queue_name text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.drop_queue(lower(queue_name))
$$;

CREATE OR REPLACE FUNCTION pgmq.purge_queue(queue_name text) RETURNS bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.purge_queue(lower(queue_name))
$$;

CREATE OR REPLACE FUNCTION pgmq.list_queues() RETURNS SETOF pgmq.queue_record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT m.queue_name, m.is_partitioned, m.is_unlogged, m.created_at FROM pgmq.meta m
$$;

CREATE OR REPLACE FUNCTION pgmq.metrics(queue_name text) RETURNS pgmq.metrics_result
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT queue_name, s.ready + s.delayed + s.leased, (s.newest_ms / 1000)::integer, (s.oldest_ms / 1000)::integer,
    s.total_sent, clock_timestamp(), s.ready
  FROM tidings.stats(lower(queue_name)) s
$$;

CREATE OR REPLACE FUNCTION pgmq.metrics_all() RETURNS SETOF pgmq.metrics_result
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.* FROM pgmq.meta m CROSS JOIN LATERAL pgmq.metrics(m.queue_name::text) r
$$;
