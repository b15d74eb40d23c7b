-- Sending as PGMQ does it. Unlike there, workers that wait are woken.

CREATE OR REPLACE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz)
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('send', lower(queue_name));
  IF coalesce(cardinality(msgs), 0) = 0 THEN
    RAISE EXCEPTION 'msgs cannot be NULL or empty';
  END IF;
  IF headers IS NOT NULL AND cardinality(headers) <> cardinality(msgs) THEN
    RAISE EXCEPTION 'headers array length (%) must match msgs array length (%)', cardinality(headers), cardinality(msgs);
  END IF;
  RETURN QUERY EXECUTE format($sql$
    INSERT INTO pgmq.%I (vt, message, headers)
    SELECT $3, m, h FROM unnest($1, coalesce($2, ARRAY[]::jsonb[])) WITH ORDINALITY AS entries (m, h, position)
    ORDER BY position
    RETURNING msg_id
  $sql$, 'q_' || lower(queue_name)) USING msgs, headers, delay;
  PERFORM tidings.announce(lower(queue_name), greatest(tidings.milliseconds_until(delay), 0)::bigint);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[]) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_batch(queue_name, msgs, NULL::jsonb[], clock_timestamp())
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[]) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_batch(queue_name, msgs, headers, clock_timestamp())
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay integer) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_batch(queue_name, msgs, NULL::jsonb[], clock_timestamp() + delay * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], delay timestamptz) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_batch(queue_name, msgs, NULL::jsonb[], delay)
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay integer)
RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_batch(queue_name, msgs, headers, clock_timestamp() + delay * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb, delay timestamptz) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_batch(queue_name, ARRAY[msg], ARRAY[headers], delay)
$$;

CREATE OR REPLACE FUNCTION pgmq.send(queue_name text, msg jsonb) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send(queue_name, msg, NULL::jsonb, clock_timestamp())
$$;

CREATE OR REPLACE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send(queue_name, msg, headers, clock_timestamp())
$$;

CREATE OR REPLACE FUNCTION pgmq.send(queue_name text, msg jsonb, delay integer) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send(queue_name, msg, NULL::jsonb, clock_timestamp() + delay * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.send(queue_name text, msg jsonb, delay timestamptz) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send(queue_name, msg, NULL::jsonb, delay)
$$;

CREATE OR REPLACE FUNCTION pgmq.send(queue_name text, msg jsonb, headers jsonb, delay integer) RETURNS SETOF bigint
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send(queue_name, msg, headers, clock_timestamp() + delay * interval '1 second')
$$;
