-- Functions for people and programs that speak SQL, as docs/sql.md describes them. Their names, parameters and results stay:
-- what would change one of them becomes a v2 beside it. What else is in this schema may change with every release.

-- Fails unless it is a name as Tidings takes it.
CREATE OR REPLACE FUNCTION tidings.check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF name !~ '^[a-z0-9_][a-z0-9_.-]*$' OR name LIKE '%--%' OR octet_length(name) > 47 THEN
    RAISE EXCEPTION 'the name % is none for a %', quote_literal(name), what USING ERRCODE = 'invalid_parameter_value',
      HINT = 'At most 47 of a-z, 0-9, _, . and -; the first is a letter, a digit or _, and there is no --.';
  END IF;
END
$$;

-- Returns true if it was created now. description: null leaves it as it is
CREATE OR REPLACE FUNCTION tidings.v1_create_topic(topic text, description text = NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.check_name('topic', topic);
  RETURN tidings.create_topic(topic, jsonb_strip_nulls(jsonb_build_object('description', description)));
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.v1_drop_topic(topic text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.drop_topic(topic)
$$;

-- Returns nothing: a message gets its offset when its transaction commits.
CREATE OR REPLACE FUNCTION tidings.v1_publish(topic text, data jsonb, headers jsonb = NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM jsonb_object_keys(headers) AS names (name) WHERE name ~ '^x-(pgmq|tidings)-') THEN
    RAISE EXCEPTION 'headers that begin with x-pgmq- or x-tidings- are not for publications by SQL'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM tidings.append(topic, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'm', jsonb_build_object('data', coalesce(data, 'null'), 'meta', jsonb_build_object()), 'h', headers, 'd', 0))), true, '{}', false);
END
$$;

-- Returns true if it is new. from_offset: of the first message that it gets; null: what is published from now on
CREATE OR REPLACE FUNCTION tidings.v1_subscribe(topic text, subscription text, from_offset bigint = NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.check_name('subscription', subscription);
  RETURN tidings.subscribe(topic, subscription, coalesce(jsonb_build_object('offset', from_offset), '"latest"'));
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.v1_unsubscribe(topic text, subscription text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.unsubscribe(topic, subscription)
$$;

-- The next messages of a subscription. They stay the next ones until they are acknowledged.
CREATE OR REPLACE FUNCTION tidings.v1_fetch(topic text, subscription text, quantity integer = 1)
RETURNS TABLE ("offset" bigint, data jsonb, meta jsonb, headers jsonb, published_at timestamptz)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT m."offset", m.data::jsonb, m.meta::jsonb, m.headers::jsonb, to_timestamp(m.published_at / 1000)
  FROM tidings.subscriptions(topic, subscription) s, tidings.read_topic(topic, s.cursor, quantity) m
$$;

-- All messages up to this offset are read. It never goes back: that is v1_seek. Returns the offset up to which all are read.
CREATE OR REPLACE FUNCTION tidings.v1_ack(topic text, subscription text, up_to bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.ack_topic(topic, subscription, up_to, NULL);
  RETURN (SELECT s.cursor FROM tidings.subscriptions(topic, subscription) s);
END
$$;

-- The next message will be the one with this offset. subscription: null for all of the topic
-- Returns how many were moved.
CREATE OR REPLACE FUNCTION tidings.v1_seek(topic text, subscription text, to_offset bigint) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.seek_topic(topic, subscription, jsonb_build_object('offset', to_offset))
$$;

-- Leases messages by their ids: those that are ready. Nobody else reads them until `visible_at`. Settle them by pgmq.delete or
-- pgmq.archive; pgmq.set_vt makes the lease longer.
CREATE OR REPLACE FUNCTION tidings.v1_claim(queue text, ids bigint[], lease interval = '30 seconds')
RETURNS TABLE (
  id bigint, data jsonb, meta jsonb, headers jsonb, read_count integer, sent_at timestamptz, visible_at timestamptz
)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.id::bigint, c.data::jsonb, c.meta::jsonb, c.headers::jsonb, c.read_ct, to_timestamp(c.sent_at / 1000),
    to_timestamp(c.visible_at / 1000)
  FROM tidings.claim_ids(queue, cardinality(ids), (date_part('epoch', lease) * 1000)::bigint, ids) c
  WHERE c.id IS NOT NULL
  ORDER BY 1
$$;
