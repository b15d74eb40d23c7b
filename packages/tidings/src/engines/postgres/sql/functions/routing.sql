-- Bindings, and publishing to every queue that a routing key leads to.

-- Returns true if it is new. Under the lock of creating and dropping, so that no binding outlives its queue.
CREATE OR REPLACE FUNCTION tidings.bind(wanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('manage', queue);
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  -- Also takes a queue in that another client created, so that upkeep sees when that client drops it.
  PERFORM tidings.table_of(queue), tidings.settings_of(queue);
  INSERT INTO tidings.binding (pattern, queue_name) VALUES (wanted, queue) ON CONFLICT DO NOTHING;
  RETURN FOUND;
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.unbind(unwanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('manage', queue);
  PERFORM tidings.table_of(queue);
  DELETE FROM tidings.binding b WHERE b.pattern = unwanted AND b.queue_name = queue;
  RETURN FOUND;
END
$$;

-- Of one queue, or of all for null.
CREATE OR REPLACE FUNCTION tidings.bindings(queue text)
RETURNS TABLE (pattern text, queue_name text, bound_at double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF queue IS NOT NULL THEN
    PERFORM tidings.table_of(queue);
  END IF;
  RETURN QUERY
  SELECT b.pattern, b.queue_name, tidings.milliseconds(b.bound_at) FROM tidings.binding b
  WHERE (queue IS NULL OR b.queue_name = queue) AND to_regclass(format('pgmq.%I', 'q_' || b.queue_name)) IS NOT NULL
  ORDER BY b.queue_name, b.pattern;
END
$$;

-- Whether a pattern matches a routing key, both valid; the same walk as in src/pattern.ts. A '#' that was passed is
-- the place to come back to, with one segment of the key more behind it; only the last one is ever needed.
CREATE OR REPLACE FUNCTION tidings.matches(pattern text, key text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  rule text[] := string_to_array(pattern, '.');
  segments text[] := string_to_array(key, '.');
  size integer := cardinality(segments);
  in_rule integer := 1;
  in_key integer := 1;
  last_hash integer := 0;
  after_hash integer := 1;
BEGIN
  WHILE in_key <= size LOOP
    IF rule[in_rule] = '#' THEN
      last_hash := in_rule;
      after_hash := in_key;
      in_rule := in_rule + 1;
    ELSIF rule[in_rule] = '*' OR rule[in_rule] = segments[in_key] THEN
      in_rule := in_rule + 1;
      in_key := in_key + 1;
    ELSIF last_hash > 0 THEN
      after_hash := after_hash + 1;
      in_rule := last_hash + 1;
      in_key := after_hash;
    ELSE
      RETURN false;
    END IF;
  END LOOP;
  WHILE rule[in_rule] = '#' LOOP
    in_rule := in_rule + 1;
  END LOOP;
  RETURN in_rule > cardinality(rule);
END
$$;

-- The queues that a routing key leads to, each once.
CREATE OR REPLACE FUNCTION tidings.queues_for(key text) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.queue_name FROM tidings.binding b WHERE b.pattern = key COLLATE "C"
  UNION
  SELECT b.queue_name FROM tidings.binding b
  WHERE (strpos(b.pattern, '*') > 0 OR strpos(b.pattern, '#') > 0) AND tidings.matches(b.pattern, key)
$$;

-- The topics that a routing key leads to, each once.
CREATE OR REPLACE FUNCTION tidings.topics_for(key text) RETURNS SETOF integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT l.topic_id FROM tidings.topic_pattern l WHERE l.pattern = key COLLATE "C"
  UNION
  SELECT l.topic_id FROM tidings.topic_pattern l
  WHERE (strpos(l.pattern, '*') > 0 OR strpos(l.pattern, '#') > 0) AND tidings.matches(l.pattern, key)
$$;

-- Stores a copy of every message in every queue and topic that its routing key leads to.
--
-- batch, plain: as for tidings.send; an entry has its routing key in r
-- enabled: queues that are known to be enabled for ordering keys and priorities; others are asked for that
-- own: in a transaction of the engine's own
-- Returns a row a copy, those in queues first: `at` counts the messages from 1; offset is null where it is not known
-- yet. Or, when queues have to be enabled first (which needs a transaction of its own), nothing is stored and the rows
-- name those queues, with `at` 0.
CREATE OR REPLACE FUNCTION tidings.publish(batch jsonb, plain boolean, enabled text[], own boolean)
RETURNS TABLE (at integer, queue text, topic text, id text, "offset" bigint, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  queues jsonb;
  copies tidings.topic_copy[];
BEGIN
  WITH keys AS MATERIALIZED (
    SELECT e ->> 'r' AS key, array_agg(position) AS positions
    FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) GROUP BY 1
  )
  SELECT coalesce(jsonb_object_agg(found.queue, found.positions), '{}') INTO queues
  FROM (
    SELECT q AS queue, jsonb_agg(position) AS positions
    FROM keys, tidings.queues_for(keys.key) AS q, unnest(keys.positions) AS position GROUP BY q
  ) found;

  WITH keys AS MATERIALIZED (
    SELECT DISTINCT e ->> 'r' AS key FROM jsonb_array_elements(batch) AS entries (e)
  ), targets AS MATERIALIZED (
    SELECT keys.key, t.id, tidings.place_of_topic(t.name) AS place
    FROM keys, tidings.topics_for(keys.key) AS found (id) JOIN tidings.topic t USING (id)
  )
  SELECT array_agg(ROW(
    targets.id, targets.place, position, 'id:' || (e ->> 'k'), (e ->> 'w')::bigint, NULL, NULL, NULL)::tidings.topic_copy)
  INTO copies
  FROM targets JOIN jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) ON e ->> 'r' = targets.key;

  RETURN QUERY SELECT * FROM tidings.distribute(batch, plain, enabled, own, copies, queues);
END
$$;

-- Which messages go into which queues: those that are bound, and those that are linked to a topic that takes them.
CREATE OR REPLACE FUNCTION tidings.queue_routes(copies tidings.topic_copy[], queues jsonb)
RETURNS TABLE (queue text, at bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT bound.key, position::bigint
  FROM jsonb_each(queues) AS bound, jsonb_array_elements_text(bound.value) AS position
  UNION
  SELECT l.queue_name, c.at
  FROM unnest(copies) c JOIN tidings.topic_queue l ON l.topic_id = c.topic_id
  WHERE c.duplicate IS NOT TRUE
$$;

-- Stores what was routed, in three steps, of which each takes its locks in one order for all publishers: dedup ids of
-- topics, queues by name, topics. The last come last, since nobody may have to wait for a topic for long.
--
-- copies: in topics; queues: their names with the positions of messages
-- The rest and what it returns: as for tidings.publish.
CREATE OR REPLACE FUNCTION tidings.distribute(
  batch jsonb, plain boolean, enabled text[], own boolean, copies tidings.topic_copy[], queues jsonb
) RETURNS TABLE (at integer, queue text, topic text, id text, "offset" bigint, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  route record;
  part jsonb;
BEGIN
  IF NOT plain THEN
    RETURN QUERY
    SELECT DISTINCT 0, r.queue, NULL::text, NULL::text, NULL::bigint, NULL::boolean
    FROM tidings.queue_routes(copies, queues) r
    JOIN jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) ON position = r.at
    LEFT JOIN tidings.queue s ON s.queue_name = r.queue
    WHERE r.queue <> ALL (enabled)
      AND (e -> 'h' ? 'x-pgmq-group' AND NOT coalesce(s.has_keys, false)
        OR e -> 'h' ? 'x-tidings-priority' AND NOT coalesce(s.has_priorities, false));
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;

  IF copies IS NOT NULL THEN
    copies := tidings.with_duplicates(copies);
  END IF;

  FOR route IN
    SELECT r.queue, array_agg(r.at ORDER BY r.at) AS positions
    FROM tidings.queue_routes(copies, queues) r GROUP BY r.queue ORDER BY r.queue COLLATE "C"
  LOOP
    BEGIN
      -- Takes the lock by which a queue cannot be dropped any more, by the right to insert alone.
      EXECUTE format('INSERT INTO pgmq.%I (vt) SELECT now() WHERE false', 'q_' || route.queue);
    EXCEPTION WHEN undefined_table THEN
      CONTINUE;
    END;
    SELECT
      jsonb_agg(
        e - 'r' || jsonb_build_object(
          'm', tidings.patched_message(e -> 'm', nullif(e -> 'h', 'null'), own_meta),
          'h', tidings.patched_headers(e -> 'm', nullif(e -> 'h', 'null'), own_meta))
        ORDER BY position)
    INTO part
    FROM unnest(route.positions) AS position
    JOIN jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) USING (position),
      jsonb_build_object('queue_name', route.queue) AS own_meta;
    RETURN QUERY
    SELECT route.positions[sent.n]::integer, route.queue, NULL::text, sent.id, NULL::bigint, sent.duplicate
    FROM tidings.send(route.queue, part, plain) WITH ORDINALITY AS sent (id, duplicate, n);
  END LOOP;

  IF copies IS NOT NULL THEN
    RETURN QUERY
    SELECT s.at, NULL::text, s.topic, NULL::text, s."offset", s.duplicate
    FROM tidings.store_in_topics(batch, copies, own) s;
  END IF;
END
$$;
