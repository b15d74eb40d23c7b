-- What PGMQ does with a message by its id, whoever has read it.

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt timestamptz)
RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('receive', queue_name);
BEGIN
  PERFORM pgmq._tidings_recall(lower(queue_name), msg_ids);
  RETURN QUERY EXECUTE format($sql$
    UPDATE pgmq.%I SET vt = $2 WHERE msg_id = ANY ($1)
    RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
  $sql$, live) USING msg_ids, vt;
  PERFORM pgmq._tidings_announce(lower(queue_name), vt);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, msg_ids, clock_timestamp() + vt * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt timestamptz)
RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, ARRAY[msg_id], vt)
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, ARRAY[msg_id], clock_timestamp() + vt * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.delete(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('receive', queue_name);
BEGIN
  PERFORM pgmq._tidings_recall(lower(queue_name), msg_ids);
  RETURN QUERY EXECUTE format('DELETE FROM pgmq.%I WHERE msg_id = ANY ($1) RETURNING msg_id', live) USING msg_ids;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) > 0 FROM pgmq.delete(queue_name, ARRAY[msg_id])
$$;

CREATE OR REPLACE FUNCTION pgmq.archive(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('receive', queue_name);
BEGIN
  PERFORM pgmq._tidings_recall(lower(queue_name), msg_ids);
  RETURN QUERY EXECUTE format($sql$
    WITH gone AS (
      DELETE FROM pgmq.%I WHERE msg_id = ANY ($1)
      RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
    )
    INSERT INTO pgmq.%I (msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers)
    SELECT * FROM gone RETURNING msg_id
  $sql$, live, pgmq.format_table_name(queue_name, 'a')) USING msg_ids;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) > 0 FROM pgmq.archive(queue_name, ARRAY[msg_id])
$$;
