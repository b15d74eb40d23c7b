-- Sending to every queue that a routing key leads to, and to every topic of Tidings.

-- Returns a row a message and queue: queues by name, messages in order.
CREATE OR REPLACE FUNCTION pgmq._tidings_send_topic(routing_key text, msgs jsonb[], headers jsonb[], delay timestamptz)
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  linked text[] := '{}';
BEGIN
  -- Who has PGMQ's rights alone has nothing to do with topics of Tidings.
  IF has_schema_privilege('tidings', 'USAGE')
    AND has_function_privilege('tidings.send_to_topics(text,jsonb[],jsonb[])', 'EXECUTE')
  THEN
    linked := tidings.send_to_topics(routing_key, msgs, headers);
  END IF;
  FOR queue_name IN
    SELECT min(q.name) FROM (
      SELECT b.queue_name AS name FROM pgmq.topic_bindings b WHERE $1 ~ b.compiled_regex
      UNION ALL SELECT unnest(linked)
    ) q GROUP BY lower(q.name) ORDER BY 1
  LOOP
    FOR msg_id IN SELECT s FROM pgmq._send_batch(queue_name, msgs, headers, delay) s LOOP
      RETURN NEXT;
    END LOOP;
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, headers jsonb, delay integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq.validate_routing_key(routing_key);
  IF msg IS NULL THEN
    RAISE EXCEPTION 'msg cannot be NULL';
  ELSIF delay < 0 THEN
    RAISE EXCEPTION 'delay cannot be negative, got: %', delay;
  END IF;
  RETURN (
    SELECT count(*) FROM pgmq._tidings_send_topic(
      routing_key, ARRAY[msg], ARRAY[headers], clock_timestamp() + delay * interval '1 second'));
END
$$;

CREATE OR REPLACE FUNCTION pgmq.send_topic(routing_key text, msg jsonb, delay integer) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_topic(routing_key, msg, NULL::jsonb, delay)
$$;

CREATE OR REPLACE FUNCTION pgmq.send_topic(routing_key text, msg jsonb) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pgmq.send_topic(routing_key, msg, NULL::jsonb, 0)
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay timestamptz)
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq.validate_routing_key(routing_key);
  PERFORM pgmq._validate_batch_params(msgs, headers);
  RETURN QUERY SELECT * FROM pgmq._tidings_send_topic(routing_key, msgs, headers, delay);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay integer)
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, headers, clock_timestamp() + delay * interval '1 second')
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[])
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, headers, clock_timestamp())
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], delay timestamptz)
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL::jsonb[], delay)
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[], delay integer)
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL::jsonb[], delay)
$$;

CREATE OR REPLACE FUNCTION pgmq.send_batch_topic(routing_key text, msgs jsonb[])
RETURNS TABLE (queue_name text, msg_id bigint)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq.send_batch_topic(routing_key, msgs, NULL::jsonb[], clock_timestamp())
$$;
