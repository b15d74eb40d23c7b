-- Bindings, and publishing to every queue that a routing key leads to.

-- Returns true if it is new. Under the lock of creating and dropping, so that no binding outlives its queue.
CREATE OR REPLACE FUNCTION tidings.bind(wanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
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

-- Stores a copy of every message in every queue that its routing key leads to.
--
-- batch, plain: as for tidings.send; an entry has its routing key in r
-- enabled: queues that are known to be enabled for ordering keys and priorities; others are asked for that
-- Returns a row a copy: `at` counts the messages from 1. Or, when queues have to be enabled first (which needs a
-- transaction of its own), nothing is stored and the rows name those queues, with `at` 0.
CREATE OR REPLACE FUNCTION tidings.publish(batch jsonb, plain boolean, enabled text[])
RETURNS TABLE (at integer, queue text, id text, duplicate boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  routes jsonb;
  route record;
  part jsonb;
  positions integer[];
BEGIN
  SELECT coalesce(jsonb_object_agg(found.queue, found.keys), '{}') INTO routes
  FROM (
    SELECT q AS queue, jsonb_agg(wanted.key) AS keys
    FROM (SELECT DISTINCT e ->> 'r' AS key FROM jsonb_array_elements(batch) AS entries (e)) wanted,
      tidings.queues_for(wanted.key) AS q
    GROUP BY q
  ) found;

  IF NOT plain THEN
    RETURN QUERY
    SELECT 0, r.key, NULL::text, NULL::boolean
    FROM jsonb_each(routes) r LEFT JOIN tidings.queue s ON s.queue_name = r.key
    WHERE r.key <> ALL (enabled) AND EXISTS (
      SELECT FROM jsonb_array_elements(batch) AS entries (e)
      WHERE r.value ? (e ->> 'r')
        AND (e -> 'h' ? 'x-pgmq-group' AND NOT coalesce(s.has_keys, false)
          OR e -> 'h' ? 'x-tidings-priority' AND NOT coalesce(s.has_priorities, false)));
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;

  -- In one order for all publishers, so that two of them never wait for each other in a circle.
  FOR route IN SELECT r.key AS queue, r.value AS keys FROM jsonb_each(routes) r ORDER BY r.key COLLATE "C" LOOP
    BEGIN
      -- Takes the lock by which a queue cannot be dropped any more, by the right to insert alone.
      EXECUTE format('INSERT INTO pgmq.%I (vt) SELECT now() WHERE false', 'q_' || route.queue);
    EXCEPTION WHEN undefined_table THEN
      CONTINUE;
    END;
    SELECT
      jsonb_agg(
        e - 'r' || jsonb_build_object(
          'm', tidings.patched_message(e -> 'm', nullif(e -> 'h', 'null'), own.meta),
          'h', tidings.patched_headers(e -> 'm', nullif(e -> 'h', 'null'), own.meta))
        ORDER BY position),
      array_agg(position ORDER BY position)
    INTO part, positions
    FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position),
      jsonb_build_object('queue_name', route.queue) AS own (meta)
    WHERE route.keys ? (e ->> 'r');
    RETURN QUERY
    SELECT positions[sent.n], route.queue, sent.id, sent.duplicate
    FROM tidings.send(route.queue, part, plain) WITH ORDINALITY AS sent (id, duplicate, n);
  END LOOP;
END
$$;
