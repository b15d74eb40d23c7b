-- Creating, dropping, listing, linking and reading topics.

-- Raises TD405 where there is none.
CREATE OR REPLACE FUNCTION tidings.topic_id(topic text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found integer;
BEGIN
  SELECT t.id INTO found FROM tidings.topic t WHERE t.name = topic;
  IF found IS NULL THEN
    PERFORM tidings.refuse_topic(topic);
  END IF;
  RETURN found;
END
$$;

CREATE OR REPLACE FUNCTION tidings.refuse_topic(topic text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'topic "%" does not exist', topic USING ERRCODE = 'TD405';
END
$$;

-- Its name among queues, where it shares something with them: dedup ids and who waits. No queue can be called so.
CREATE OR REPLACE FUNCTION tidings.place_of_topic(topic text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'topic:' || topic
$$;

-- settings: { description, retention: { maxAgeMs, maxBytes, whenRead } }, either may be missing
-- Returns true if it was created now.
CREATE OR REPLACE FUNCTION tidings.create_topic(topic text, settings jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  retention jsonb := settings -> 'retention';
  is_new boolean;
BEGIN
  INSERT INTO tidings.topic (name) VALUES (topic) ON CONFLICT (name) DO NOTHING;
  is_new := FOUND;
  IF settings <> '{}' THEN
    UPDATE tidings.topic t SET
      description = coalesce(settings ->> 'description', t.description),
      max_age_ms = CASE WHEN retention IS NULL THEN t.max_age_ms ELSE (retention ->> 'maxAgeMs')::bigint END,
      max_bytes = CASE WHEN retention IS NULL THEN t.max_bytes ELSE (retention ->> 'maxBytes')::bigint END,
      when_read = CASE WHEN retention IS NULL THEN t.when_read ELSE (retention ->> 'whenRead')::boolean END
    WHERE t.name = topic;
  END IF;
  RETURN is_new;
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.drop_topic(topic text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  dropped integer;
BEGIN
  SELECT t.id INTO dropped FROM tidings.topic t WHERE t.name = topic;
  IF dropped IS NULL THEN
    RETURN false;
  END IF;
  PERFORM tidings.lock_topic(dropped);
  DELETE FROM tidings.topic t WHERE t.id = dropped;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM tidings.topic_message m WHERE m.topic_id = dropped;
  DELETE FROM tidings.topic_pending p WHERE p.topic_id = dropped;
  DELETE FROM tidings.dedup d WHERE d.queue_name = tidings.place_of_topic(topic);
  RETURN true;
END
$$;

-- One topic, or all for null.
CREATE OR REPLACE FUNCTION tidings.topics(wanted text)
RETURNS TABLE (
  topic text, description text, max_age_ms bigint, max_bytes bigint, when_read boolean, created_at double precision,
  first_offset bigint, last_offset bigint, bytes bigint, subscriptions bigint, patterns text[], queues text[]
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  one integer;
BEGIN
  IF wanted IS NOT NULL THEN
    PERFORM tidings.up_to_date(wanted);
  ELSE
    FOR one IN SELECT DISTINCT p.topic_id FROM tidings.topic_pending p ORDER BY 1 LOOP
      PERFORM tidings.take_in_pending(one);
    END LOOP;
  END IF;
  RETURN QUERY
  SELECT t.name, t.description, t.max_age_ms, t.max_bytes, t.when_read, tidings.milliseconds(t.created_at),
    r.pruned_offset + 1, r.last_offset, r.last_bytes - r.pruned_bytes,
    (SELECT count(*) FROM tidings.subscription s WHERE s.topic_id = t.id),
    ARRAY(SELECT l.pattern FROM tidings.topic_pattern l WHERE l.topic_id = t.id ORDER BY l.pattern),
    ARRAY(
      SELECT l.queue_name FROM tidings.topic_queue l
      WHERE l.topic_id = t.id AND to_regclass(format('pgmq.%I', 'q_' || l.queue_name)) IS NOT NULL
      ORDER BY l.queue_name)
  FROM tidings.topic t JOIN tidings.topic_range r ON r.id = t.id
  WHERE wanted IS NULL OR t.name = wanted
  ORDER BY t.name;
END
$$;

-- Returns true if it is new. One of pattern and queue is null.
CREATE OR REPLACE FUNCTION tidings.link_topic(topic text, wanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  linked integer := tidings.topic_id(topic);
BEGIN
  IF queue IS NULL THEN
    INSERT INTO tidings.topic_pattern (pattern, topic_id) VALUES (wanted, linked) ON CONFLICT DO NOTHING;
  ELSE
    -- As for a binding: no link outlives its queue.
    PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
    PERFORM tidings.table_of(queue), tidings.settings_of(queue);
    INSERT INTO tidings.topic_queue (topic_id, queue_name) VALUES (linked, queue) ON CONFLICT DO NOTHING;
  END IF;
  RETURN FOUND;
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.unlink_topic(topic text, unwanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  linked integer := tidings.topic_id(topic);
BEGIN
  IF queue IS NULL THEN
    DELETE FROM tidings.topic_pattern l WHERE l.topic_id = linked AND l.pattern = unwanted;
  ELSE
    PERFORM tidings.table_of(queue);
    DELETE FROM tidings.topic_queue l WHERE l.topic_id = linked AND l.queue_name = queue;
  END IF;
  RETURN FOUND;
END
$$;

-- Messages after an offset.
CREATE OR REPLACE FUNCTION tidings.read_topic(topic text, after bigint, quantity integer)
RETURNS TABLE ("offset" bigint, data text, meta text, headers text, published_at double precision)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  source integer := tidings.up_to_date(topic);
BEGIN
  RETURN QUERY
  SELECT m."offset",
    CASE WHEN envelope.is_one THEN body.whole -> 'data' ELSE body.whole END::text,
    CASE WHEN envelope.is_one THEN body.whole -> 'meta' ELSE m.headers -> 'x-tidings-meta' END::text,
    m.headers::text,
    floor(round(date_part('epoch', m.published_at) * 1000000) / 1000)
  -- A large body is fetched and unpacked once, not with every mention.
  FROM tidings.topic_message m CROSS JOIN LATERAL (SELECT m.message #> '{}' AS whole OFFSET 0) body
  CROSS JOIN LATERAL (
    -- As in tidings.to_messages.
    SELECT coalesce(
      jsonb_typeof(body.whole) = 'object'
        AND body.whole ? 'data'
        AND jsonb_typeof(body.whole -> 'meta') = 'object'
        AND body.whole - '{data,meta}'::text[] = '{}'
        AND m.headers -> 'x-tidings-meta' IS NULL,
      false) AS is_one OFFSET 0
  ) envelope
  WHERE m.topic_id = source
    AND m."offset" > greatest(after, (SELECT t.pruned_offset FROM tidings.topic t WHERE t.id = source))
  ORDER BY m."offset" LIMIT quantity;
END
$$;

-- Removes what retention asks for, at most 10,000 messages of one topic. Takes no lock that readers or publishers wait
-- for: offsets go on from what is noted in the topic. Returns true if there is more to remove.
CREATE OR REPLACE FUNCTION tidings.prune_topic(topic text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  most constant integer := 10000;
  settings tidings.topic;
  there tidings.topic_range;
  wanted bigint;
  final tidings.topic_message;
BEGIN
  -- One after the other, so that whoever asked for it finds it done.
  SELECT * INTO settings FROM tidings.topic t WHERE t.name = topic FOR NO KEY UPDATE;
  IF settings.id IS NULL THEN
    RETURN false;
  END IF;
  SELECT * INTO there FROM tidings.topic_range r WHERE r.id = settings.id;
  wanted := coalesce(greatest(
    CASE WHEN settings.max_age_ms IS NOT NULL THEN tidings.first_offset_with(
      settings.id, there.pruned_offset + 1, there.last_offset,
      clock_timestamp() - settings.max_age_ms * interval '1 millisecond', NULL) - 1 END,
    CASE WHEN there.last_bytes - settings.max_bytes > there.pruned_bytes THEN tidings.first_offset_with(
      settings.id, there.pruned_offset + 1, there.last_offset, NULL, there.last_bytes - settings.max_bytes) END,
    CASE WHEN settings.when_read THEN
      (SELECT min(s.cursor) FROM tidings.subscription s WHERE s.topic_id = settings.id) END), 0);
  IF wanted <= there.pruned_offset THEN
    RETURN false;
  END IF;

  SELECT * INTO final FROM tidings.topic_message m
  WHERE m.topic_id = settings.id AND m."offset" = least(wanted, there.pruned_offset + most);
  UPDATE tidings.topic t SET
    pruned_offset = final."offset", pruned_bytes = final.total_bytes, pruned_at = final.published_at
  WHERE t.id = settings.id;
  DELETE FROM tidings.topic_message m
  WHERE m.topic_id = settings.id AND m."offset" > there.pruned_offset AND m."offset" <= final."offset";
  RETURN final."offset" < wanted;
END
$$;
