-- Reading as PGMQ does it, without a receipt.

CREATE OR REPLACE FUNCTION pgmq.read(queue_name text, vt integer, qty integer, conditional jsonb = '{}')
RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('receive', queue_name);
BEGIN
  -- What we keep for later is theirs to read as well.
  PERFORM pgmq._tidings_promote(lower(queue_name));
  RETURN QUERY EXECUTE format($sql$
    UPDATE pgmq.%1$I SET
      vt = clock_timestamp() + $1 * interval '1 second', read_ct = read_ct + 1, last_read_at = clock_timestamp()
    WHERE msg_id = ANY (ARRAY(
      SELECT msg_id FROM pgmq.%1$I
      WHERE vt <= clock_timestamp() AND ($3 = '{}' OR message @> $3)
      ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
  $sql$, live) USING vt, qty, coalesce(conditional, '{}');
END
$$;

-- The deadline is looked at first: with no seconds nothing is read.
CREATE OR REPLACE FUNCTION pgmq.read_with_poll(
  queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, poll_interval_ms integer = 100,
  conditional jsonb = '{}'
) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  give_up_at constant timestamptz := clock_timestamp() + max_poll_seconds * interval '1 second';
BEGIN
  WHILE clock_timestamp() < give_up_at LOOP
    RETURN QUERY SELECT * FROM pgmq.read(queue_name, vt, qty, conditional);
    EXIT WHEN FOUND;
    PERFORM pg_sleep(poll_interval_ms / 1000.0);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.pop(queue_name text, qty integer = 1) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('receive', queue_name);
BEGIN
  PERFORM pgmq._tidings_promote(lower(queue_name));
  RETURN QUERY EXECUTE format($sql$
    DELETE FROM pgmq.%1$I WHERE msg_id = ANY (ARRAY(
      SELECT msg_id FROM pgmq.%1$I WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
  $sql$, live) USING qty;
END
$$;
