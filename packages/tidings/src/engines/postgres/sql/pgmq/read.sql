-- Reading and finishing as PGMQ does it: by id, without a receipt.

CREATE OR REPLACE FUNCTION pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb = '{}')
RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('receive', lower(queue_name));
  -- What we keep for later is theirs to read as well.
  PERFORM tidings.promote(lower(queue_name), 1000);
  RETURN QUERY EXECUTE format($sql$
    UPDATE pgmq.%1$I SET
      vt = clock_timestamp() + $1 * interval '1 second', read_ct = read_ct + 1, last_read_at = clock_timestamp()
    WHERE msg_id = ANY (ARRAY(
      SELECT msg_id FROM pgmq.%1$I
      WHERE vt <= clock_timestamp() AND ($3 = '{}' OR message @> $3)
      ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
  $sql$, 'q_' || lower(queue_name)) USING vt, qty, conditional;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.read_with_poll(
  queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, poll_interval_ms integer = 100,
  conditional jsonb = '{}'
) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  give_up_at timestamptz := clock_timestamp() + max_poll_seconds * interval '1 second';
BEGIN
  LOOP
    RETURN QUERY SELECT * FROM pgmq.read(queue_name, vt, qty, conditional);
    EXIT WHEN FOUND OR clock_timestamp() >= give_up_at;
    PERFORM pg_sleep(poll_interval_ms / 1000.0);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.pop(queue_name text, qty integer = 1) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('receive', lower(queue_name));
  PERFORM tidings.promote(lower(queue_name), 1000);
  RETURN QUERY EXECUTE format($sql$
    DELETE FROM pgmq.%1$I WHERE msg_id = ANY (ARRAY(
      SELECT msg_id FROM pgmq.%1$I WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
  $sql$, 'q_' || lower(queue_name)) USING qty;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt timestamptz)
RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('receive', lower(queue_name));
  RETURN QUERY EXECUTE format($sql$
    UPDATE pgmq.%I SET vt = $2 WHERE msg_id = ANY ($1)
    RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
  $sql$, 'q_' || lower(queue_name)) USING msg_ids, vt;
  PERFORM tidings.announce(lower(queue_name), greatest(tidings.milliseconds_until(vt), 0)::bigint);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_ids bigint[], vt integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, msg_ids, clock_timestamp() + vt * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt timestamptz) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, ARRAY[msg_id], vt)
$$;

CREATE OR REPLACE FUNCTION pgmq.set_vt(queue_name text, msg_id bigint, vt integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.set_vt(queue_name, ARRAY[msg_id], clock_timestamp() + vt * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.delete(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('receive', lower(queue_name));
  RETURN QUERY EXECUTE format('DELETE FROM pgmq.%I WHERE msg_id = ANY ($1) RETURNING msg_id', 'q_' || lower(queue_name))
    USING msg_ids;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.delete(queue_name text, msg_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) > 0 FROM pgmq.delete(queue_name, ARRAY[msg_id])
$$;

CREATE OR REPLACE FUNCTION pgmq.archive(queue_name text, msg_ids bigint[]) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('receive', lower(queue_name));
  RETURN QUERY EXECUTE format($sql$
    WITH gone AS (
      DELETE FROM pgmq.%I WHERE msg_id = ANY ($1)
      RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
    )
    INSERT INTO pgmq.%I (msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers)
    SELECT * FROM gone RETURNING msg_id
  $sql$, 'q_' || lower(queue_name), 'a_' || lower(queue_name)) USING msg_ids;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.archive(queue_name text, msg_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) > 0 FROM pgmq.archive(queue_name, ARRAY[msg_id])
$$;
