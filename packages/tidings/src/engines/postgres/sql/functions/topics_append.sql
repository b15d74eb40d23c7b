-- How messages get their offsets.
--
-- In a transaction of the engine's own: under the lock of the topic, which ends when the commit is visible. So nobody
-- sees an offset before all lower ones. Whoever has the lock waits for nobody, but for locks of topics of a greater id.
--
-- In a transaction of the application: into tidings.topic_pending, without a lock. Whoever looks at the topic after its
-- commit gives what lies there its offsets.
--
-- Functions that look for messages have enable_seqscan = off: a plan is kept for the session, and one that was made while
-- the table was empty would read it from end to end ever after.

-- Only for functions that a statement of the engine calls, in a transaction of its own.
CREATE OR REPLACE FUNCTION tidings.lock_topic(topic integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- With a snapshot of its own a transaction would not see what was appended while it waited for the lock.
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'topics need transactions with the isolation level read committed';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('tidings.topic'), topic);
END
$$;

-- Adds messages at the end, under the lock. Returns the offset before the first; null if the topic is gone.
CREATE OR REPLACE FUNCTION tidings.add_messages(topic integer, messages jsonb[], headers jsonb[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  there tidings.topic_range;
BEGIN
  SELECT * INTO there FROM tidings.topic_range r WHERE r.id = topic;
  there.last_at := greatest(there.last_at, clock_timestamp());
  INSERT INTO tidings.topic_message (topic_id, "offset", message, headers, published_at, total_bytes)
  SELECT topic, there.last_offset + position, m, h, there.last_at,
    there.last_bytes + sum(pg_column_size(m) + coalesce(pg_column_size(h), 0)) OVER (ORDER BY position)
  FROM unnest(messages, headers) WITH ORDINALITY AS entries (m, h, position)
  WHERE there.id IS NOT NULL;
  RETURN there.last_offset;
END
$$;

-- Gives those pending messages their offsets whose transactions have committed; locks the topic. Their dedup ids stay
-- as they are, since a transaction that is open may have locked them; that it can be known which offset such a message
-- got, that is noted beside them.
-- since: as for tidings.take_in_pending
CREATE OR REPLACE FUNCTION tidings.take_in(topic integer, since xid8 = '0') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  messages jsonb[];
  headers jsonb[];
  ids bigint[];
  dedup_ends timestamptz[];
  before bigint;
BEGIN
  PERFORM tidings.lock_topic(topic);
  WITH taken AS (DELETE FROM tidings.topic_pending p WHERE p.topic_id = topic AND p.xact >= since RETURNING *)
  SELECT array_agg(t.message ORDER BY t.id), array_agg(t.headers ORDER BY t.id), array_agg(t.id ORDER BY t.id),
    array_agg(t.dedup_until ORDER BY t.id)
  INTO messages, headers, ids, dedup_ends FROM taken t;
  IF ids IS NULL THEN
    RETURN;
  END IF;
  before := tidings.add_messages(topic, messages, headers);
  INSERT INTO tidings.dedup (queue_name, key, msg_id, expires_at)
  SELECT tidings.place_of_topic(t.name), 'pending:' || e.id, before + e.position, e.until
  FROM unnest(ids, dedup_ends) WITH ORDINALITY AS e (id, until, position), tidings.topic t
  WHERE t.id = topic AND e.until IS NOT NULL;
END
$$;

-- The id of a topic, with everything in it that was committed. Raises TD405 where there is none.
CREATE OR REPLACE FUNCTION tidings.up_to_date(topic text) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found integer := tidings.topic_id(topic);
BEGIN
  PERFORM tidings.take_in_pending(found);
  RETURN found;
END
$$;

-- Takes no lock where nothing is pending. This is looked for at every read, so it must not pass over dead rows: each
-- session notes up to which transaction all have ended and were taken in. Losing that costs one long look.
CREATE OR REPLACE FUNCTION tidings.take_in_pending(topic integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  note constant text := 'tidings.taken_in_' || topic;
  since constant xid8 := coalesce(nullif(current_setting(note, true), ''), '0')::xid8;
  running_since xid8;
  is_pending boolean;
BEGIN
  SELECT pg_snapshot_xmin(pg_current_snapshot()),
    EXISTS (SELECT FROM tidings.topic_pending p WHERE p.topic_id = topic AND p.xact >= since)
  INTO running_since, is_pending;
  IF is_pending THEN
    PERFORM tidings.take_in(topic, since);
  END IF;
  IF running_since > since THEN
    PERFORM set_config(note, running_since::text, false);
  END IF;
END
$$;

-- Stores messages in their order and tells readers.
-- own: in a transaction of the engine's own
-- dedup_windows: of those with a dedup id, in ms; null for the others
-- Returns a row a message: its offset, or, negative, its number among the pending. No row if the topic is gone.
CREATE OR REPLACE FUNCTION tidings.store_in_topic(
  topic integer, place text, messages jsonb[], headers jsonb[], dedup_windows bigint[], own boolean
) RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before bigint;
BEGIN
  IF own THEN
    PERFORM tidings.lock_topic(topic);
    PERFORM tidings.take_in_pending(topic);
    before := tidings.add_messages(topic, messages, headers);
    RETURN QUERY SELECT before + n FROM generate_series(1, cardinality(messages)) n WHERE before IS NOT NULL;
  ELSE
    RETURN QUERY
    INSERT INTO tidings.topic_pending (topic_id, message, headers, dedup_until)
    SELECT topic, m, h, clock_timestamp() + w * interval '1 millisecond'
    FROM unnest(messages, headers, dedup_windows) WITH ORDINALITY AS entries (m, h, w, position)
    ORDER BY position
    RETURNING -id;
  END IF;
  PERFORM tidings.announce(place, 0);
END
$$;

-- Locks the dedup ids of copies in topics, and finds out which copies are duplicates and of what.
CREATE OR REPLACE FUNCTION tidings.with_duplicates(copies tidings.topic_copy[]) RETURNS tidings.topic_copy[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment timestamptz;
  found tidings.topic_copy[];
BEGIN
  -- A key that nobody has yet is written as one that expired.
  INSERT INTO tidings.dedup (queue_name, key, msg_id, expires_at)
  SELECT DISTINCT c.place, c.key, 0, timestamptz '-infinity' FROM unnest(copies) c WHERE c.key IS NOT NULL
  ORDER BY c.place, c.key
  ON CONFLICT (queue_name, key) DO UPDATE SET key = EXCLUDED.key;
  moment := clock_timestamp();
  SELECT array_agg(ROW(
    c.topic_id, c.place, c.at, c.key, c.window_ms, d.msg_id IS NOT NULL OR c.first_at < c.at,
    d.msg_id, c.first_at)::tidings.topic_copy)
  INTO found
  FROM (
    SELECT k.topic_id, k.place, k.at, k.key, k.window_ms,
      CASE WHEN k.key IS NULL THEN k.at ELSE min(k.at) OVER (PARTITION BY k.topic_id, k.key) END AS first_at
    FROM unnest(copies) k
  ) c
  LEFT JOIN tidings.dedup d ON d.queue_name = c.place AND d.key = c.key AND d.expires_at > moment;
  RETURN found;
END
$$;

-- Stores copies in their topics, but for duplicates. Returns a row a copy, by topic and then by message; none for
-- topics that are gone.
CREATE OR REPLACE FUNCTION tidings.store_in_topics(batch jsonb, copies tidings.topic_copy[], own boolean)
RETURNS TABLE (at integer, topic text, "offset" bigint, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target record;
  fresh record;
  numbers bigint[];
BEGIN
  IF own THEN
    FOR target IN SELECT DISTINCT c.topic_id AS id FROM unnest(copies) c ORDER BY 1 LOOP
      PERFORM tidings.lock_topic(target.id);
    END LOOP;
  END IF;
  FOR target IN
    SELECT t.id, t.name, tidings.place_of_topic(t.name) AS place
    FROM tidings.topic t WHERE t.id IN (SELECT c.topic_id FROM unnest(copies) c) ORDER BY t.name
  LOOP
    SELECT array_agg(e -> 'm' ORDER BY c.at) AS messages, array_agg(nullif(e -> 'h', 'null') ORDER BY c.at) AS headers,
      array_agg(c.window_ms ORDER BY c.at) AS windows, array_agg(c.key ORDER BY c.at) AS keys,
      array_agg(c.at ORDER BY c.at) AS positions
    INTO fresh
    FROM unnest(copies) c JOIN jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) ON position = c.at
    WHERE c.topic_id = target.id AND NOT c.duplicate;
    numbers := '{}';
    IF fresh.messages IS NOT NULL THEN
      numbers := ARRAY(
        SELECT tidings.store_in_topic(target.id, target.place, fresh.messages, fresh.headers, fresh.windows, own));
      UPDATE tidings.dedup d SET
        msg_id = f.number, expires_at = clock_timestamp() + f.window_ms * interval '1 millisecond'
      FROM unnest(fresh.keys, numbers, fresh.windows) AS f (key, number, window_ms)
      WHERE d.queue_name = target.place AND d.key = f.key;
    ELSIF own THEN
      -- What the duplicates are duplicates of may be pending.
      PERFORM tidings.take_in_pending(target.id);
    END IF;
    RETURN QUERY
    SELECT c.at::integer, target.name,
      CASE WHEN coalesce(c.first, f.number) > 0 THEN coalesce(c.first, f.number) ELSE taken_in.msg_id END, c.duplicate
    FROM unnest(copies) c
    LEFT JOIN unnest(fresh.positions, numbers) AS f (at, number) ON f.at = c.first_at
    LEFT JOIN tidings.dedup taken_in ON taken_in.queue_name = target.place AND taken_in.key = 'pending:' || -c.first
    WHERE c.topic_id = target.id
    ORDER BY c.at;
  END LOOP;
END
$$;

-- Puts a batch at the end of a topic.
--
-- batch, plain, enabled: as for tidings.publish; own: in a transaction of the engine's own
-- Returns a row a message, in order: `at` counts from 1, offset is null where it is not known yet. Or rows with `at` 0
-- and a queue, as tidings.publish.
CREATE OR REPLACE FUNCTION tidings.append(topic text, batch jsonb, plain boolean, enabled text[], own boolean)
RETURNS TABLE (at integer, queue text, "offset" bigint, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  target integer := tidings.topic_id(topic);
  place text := tidings.place_of_topic(topic);
  copies tidings.topic_copy[];
BEGIN
  IF NOT EXISTS (SELECT FROM jsonb_array_elements(batch) AS entries (e) WHERE e ->> 'k' IS NOT NULL)
    AND NOT EXISTS (SELECT FROM tidings.topic_queue l WHERE l.topic_id = target)
  THEN
    RETURN QUERY
    SELECT stored.n::integer, NULL::text, CASE WHEN stored.number > 0 THEN stored.number END, false
    FROM (
      SELECT array_agg(e -> 'm' ORDER BY position) AS messages,
        array_agg(nullif(e -> 'h', 'null') ORDER BY position) AS headers
      FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position)
    ) b,
      tidings.store_in_topic(target, place, b.messages, b.headers, NULL, own) WITH ORDINALITY AS stored (number, n);
  ELSE
    SELECT array_agg(ROW(
      target, place, position, 'id:' || (e ->> 'k'), (e ->> 'w')::bigint, NULL, NULL, NULL)::tidings.topic_copy)
    INTO copies
    FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position);
    RETURN QUERY
    SELECT d.at, d.queue, d."offset", d.duplicate
    FROM tidings.distribute(batch, plain, enabled, own, copies, '{}') d WHERE d.topic IS NOT NULL OR d.at = 0;
  END IF;
  IF NOT FOUND THEN
    -- It was dropped in this moment.
    PERFORM tidings.refuse_topic(topic);
  END IF;
END
$$;
