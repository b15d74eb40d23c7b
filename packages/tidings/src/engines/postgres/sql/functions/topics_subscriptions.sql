-- Subscriptions: cursors on topics, and who holds them. A receipt is the id of the subscription and its epoch, which
-- grows with every other consumer and every move by `seek`.

-- Raises TD405 or TD406 where there is no such topic or subscription.
CREATE OR REPLACE FUNCTION tidings.must_be_subscribed(topic text, wanted text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := tidings.topic_id(topic);
BEGIN
  IF NOT EXISTS (SELECT FROM tidings.subscription s WHERE s.topic_id = source AND s.name = wanted) THEN
    RAISE EXCEPTION 'subscription "%" of topic "%" does not exist', wanted, topic
      USING ERRCODE = 'TD406';
  END IF;
END
$$;

-- The first of the offsets from `low` to `high` that was published at a time or later, or with which the topic reached
-- a size; high + 1 if there is none. Null for what is not looked for.
CREATE OR REPLACE FUNCTION tidings.first_offset_with(topic integer, low bigint, high bigint, since timestamptz, size bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  middle bigint;
  is_enough boolean;
BEGIN
  WHILE low <= high LOOP
    middle := (low + high) / 2;
    SELECT coalesce(m.published_at >= since, false) OR coalesce(m.total_bytes >= size, false) INTO is_enough
    FROM tidings.topic_message m WHERE m.topic_id = topic AND m."offset" = middle;
    IF is_enough THEN
      high := middle - 1;
    ELSE
      low := middle + 1;
    END IF;
  END LOOP;
  RETURN low;
END
$$;

-- The cursor that a place means; place is a position as in the port. STABLE, so that all it looks at is of one moment.
CREATE OR REPLACE FUNCTION tidings.cursor_at(topic integer, place jsonb, cursor bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
  SELECT greatest(r.pruned_offset, least(r.last_offset, CASE
    WHEN place = '"earliest"' THEN r.pruned_offset
    WHEN place = '"latest"' THEN r.last_offset
    WHEN place ? 'offset' THEN (place ->> 'offset')::bigint - 1
    WHEN place ? 'time' THEN tidings.first_offset_with(
      topic, r.pruned_offset + 1, r.last_offset, tidings.from_microseconds((place ->> 'time')::bigint * 1000), NULL) - 1
    ELSE cursor - (place ->> 'back')::bigint
  END))
  FROM tidings.topic_range r WHERE r.id = topic
$$;

-- Returns true if it is new.
CREATE OR REPLACE FUNCTION tidings.subscribe(topic text, wanted text, place jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := tidings.up_to_date(topic);
BEGIN
  INSERT INTO tidings.subscription (topic_id, name, cursor)
  VALUES (source, wanted, tidings.cursor_at(source, place, 0))
  ON CONFLICT (topic_id, name) DO NOTHING;
  RETURN FOUND;
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.unsubscribe(topic text, unwanted text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := tidings.topic_id(topic);
BEGIN
  DELETE FROM tidings.subscription s WHERE s.topic_id = source AND s.name = unwanted;
  RETURN FOUND;
END
$$;

-- One subscription, or all for null.
CREATE OR REPLACE FUNCTION tidings.subscriptions(topic text, wanted text)
RETURNS TABLE (
  subscription text, cursor bigint, lag bigint, missed bigint, created_at double precision, moved_at double precision,
  consumer text
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  source integer := tidings.up_to_date(topic);
BEGIN
  IF wanted IS NOT NULL THEN
    PERFORM tidings.must_be_subscribed(topic, wanted);
  END IF;
  RETURN QUERY
  SELECT s.name, s.cursor, r.last_offset - greatest(s.cursor, r.pruned_offset), greatest(r.pruned_offset - s.cursor, 0),
    tidings.milliseconds(s.created_at), tidings.milliseconds(s.moved_at),
    CASE WHEN s.consumer_until > clock_timestamp() THEN s.consumer END
  FROM tidings.subscription s JOIN tidings.topic_range r ON r.id = s.topic_id
  WHERE s.topic_id = source AND (wanted IS NULL OR s.name = wanted)
  ORDER BY s.name;
END
$$;

-- Returns receipt, cursor and how many vanished before if the subscription is the consumer's now, else in how many
-- milliseconds it may be. Who has left is no consumer any more; so another one that is there has vanished.
-- process: the number of the process with which the hold ends, or null
CREATE OR REPLACE FUNCTION tidings.hold_subscription(
  topic text, wanted text, who text, lease_ms bigint, process integer = NULL,
  OUT receipt text, OUT cursor bigint, OUT vanished integer, OUT retry_ms double precision
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  source integer := tidings.topic_id(topic);
BEGIN
  UPDATE tidings.subscription s SET
    epoch = s.epoch + CASE WHEN s.consumer = who THEN 0 ELSE 1 END,
    consumer = who,
    holder = tidings.present(process),
    consumer_until = clock_timestamp() + lease_ms * interval '1 millisecond',
    vanished = CASE WHEN s.vanished_after = greatest(s.cursor, r.pruned_offset) THEN s.vanished ELSE 0 END
      + CASE WHEN s.consumer <> who AND greatest(s.cursor, r.pruned_offset) < r.last_offset THEN 1 ELSE 0 END,
    vanished_after = greatest(s.cursor, r.pruned_offset)
  FROM tidings.topic_range r
  WHERE r.id = source AND s.topic_id = source AND s.name = wanted
    AND (s.consumer IS NULL OR s.consumer = who OR s.consumer_until <= clock_timestamp())
  RETURNING s.id || '.' || s.epoch, s.cursor, s.vanished INTO receipt, cursor, vanished;
  IF NOT FOUND THEN
    PERFORM tidings.must_be_subscribed(topic, wanted);
    SELECT greatest(coalesce(tidings.milliseconds_until(s.consumer_until), 0), 1) INTO retry_ms
    FROM tidings.subscription s WHERE s.topic_id = source AND s.name = wanted;
  END IF;
END
$$;

-- Returns false if the receipt was stale.
CREATE OR REPLACE FUNCTION tidings.leave_subscription(topic text, wanted text, proof text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := tidings.topic_id(topic);
BEGIN
  PERFORM tidings.must_be_subscribed(topic, wanted);
  UPDATE tidings.subscription s SET consumer = NULL, consumer_until = NULL
  WHERE s.topic_id = source AND s.name = wanted
    AND s.id || '.' || s.epoch = proof AND s.consumer IS NOT NULL;
  IF FOUND THEN
    PERFORM tidings.announce(tidings.place_of_topic(topic), 0);
    RETURN true;
  END IF;
  RETURN false;
END
$$;

-- Returns false if the receipt was stale; null as a receipt never is.
CREATE OR REPLACE FUNCTION tidings.ack_topic(topic text, wanted text, upto bigint, proof text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  source integer := tidings.topic_id(topic);
  target bigint;
BEGIN
  SELECT least(upto, r.last_offset) INTO target FROM tidings.topic_range r WHERE r.id = source;
  UPDATE tidings.subscription s SET cursor = target, moved_at = clock_timestamp()
  WHERE s.topic_id = source AND s.name = wanted AND s.cursor < target
    AND (proof IS NULL OR s.id || '.' || s.epoch = proof);
  IF FOUND THEN
    RETURN true;
  END IF;
  PERFORM tidings.must_be_subscribed(topic, wanted);
  RETURN proof IS NULL OR EXISTS (
    SELECT FROM tidings.subscription s
    WHERE s.topic_id = source AND s.name = wanted AND s.id || '.' || s.epoch = proof);
END
$$;

-- One subscription, or all for null. Returns how many.
CREATE OR REPLACE FUNCTION tidings.seek_topic(topic text, wanted text, place jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := tidings.up_to_date(topic);
  moved integer;
BEGIN
  IF wanted IS NOT NULL THEN
    PERFORM tidings.must_be_subscribed(topic, wanted);
  END IF;
  -- In one order, so that two who move all never wait for each other in a circle.
  PERFORM FROM tidings.subscription s
  WHERE s.topic_id = source AND (wanted IS NULL OR s.name = wanted) ORDER BY s.name FOR UPDATE;
  UPDATE tidings.subscription s SET
    cursor = tidings.cursor_at(source, place, s.cursor), epoch = s.epoch + 1, moved_at = clock_timestamp(),
    vanished = 0
  WHERE s.topic_id = source AND (wanted IS NULL OR s.name = wanted);
  GET DIAGNOSTICS moved = ROW_COUNT;
  PERFORM tidings.announce(tidings.place_of_topic(topic), 0);
  RETURN moved;
END
$$;

-- What the same call of seek_topic would do.
CREATE OR REPLACE FUNCTION tidings.plan_seek(topic text, wanted text, place jsonb)
RETURNS TABLE (subscription text, was bigint, becomes bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := tidings.up_to_date(topic);
BEGIN
  IF wanted IS NOT NULL THEN
    PERFORM tidings.must_be_subscribed(topic, wanted);
  END IF;
  RETURN QUERY
  SELECT s.name::text, s.cursor, tidings.cursor_at(source, place, s.cursor) FROM tidings.subscription s
  WHERE s.topic_id = source AND (wanted IS NULL OR s.name = wanted) ORDER BY s.name COLLATE "C";
END
$$;
