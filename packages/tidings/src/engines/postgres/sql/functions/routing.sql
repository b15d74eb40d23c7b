-- Bindings, and publishing to every queue that a routing key leads to.

-- Returns true if it is new. Under the lock of creating and dropping, so that no binding outlives its queue. One that
-- pgmq.bind_topic made follows our rule from now on, which matches as much or more.
CREATE OR REPLACE FUNCTION tidings.bind(wanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  is_new boolean;
BEGIN
  PERFORM tidings.must('manage', queue);
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  -- Also takes a queue in that another client created, so that upkeep sees when that client drops it.
  PERFORM tidings.table_of(queue), tidings.settings_of(queue);
  INSERT INTO tidings.binding (pattern, queue_name) VALUES (wanted, queue) ON CONFLICT DO NOTHING;
  is_new := FOUND;
  UPDATE tidings.binding b SET pgmq_name = NULL
  WHERE b.pattern = wanted AND b.queue_name = queue AND b.pgmq_name IS NOT NULL;
  IF tidings.has_list_of_pgmq() THEN
    EXECUTE 'INSERT INTO pgmq.topic_bindings (pattern, queue_name) VALUES ($1, $2) ON CONFLICT DO NOTHING'
    USING wanted, (tidings.meta_of(queue)).queue_name;
  END IF;
  RETURN is_new;
END
$$;

-- Returns false if there was none.
CREATE OR REPLACE FUNCTION tidings.unbind(unwanted text, queue text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  was_there boolean;
BEGIN
  PERFORM tidings.must('manage', queue);
  -- Of several at once, one finds it.
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  PERFORM tidings.table_of(queue);
  SELECT true INTO was_there FROM tidings.all_bindings() b WHERE b.pattern = unwanted AND b.queue_name = queue;
  DELETE FROM tidings.binding b WHERE b.pattern = unwanted AND b.queue_name = queue;
  IF tidings.has_list_of_pgmq() THEN
    EXECUTE 'DELETE FROM pgmq.topic_bindings WHERE pattern = $1 AND lower(queue_name) = $2' USING unwanted, queue;
  END IF;
  RETURN coalesce(was_there, false);
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
  SELECT b.pattern, b.queue_name, tidings.milliseconds(min(b.bound_at)) FROM tidings.all_bindings() b
  WHERE (queue IS NULL OR b.queue_name = queue) AND to_regclass(format('pgmq.%I', 'q_' || b.queue_name)) IS NOT NULL
  GROUP BY b.pattern, b.queue_name ORDER BY b.queue_name, b.pattern;
END
$$;

-- Whether PGMQ 1.10 or newer keeps a list of its own. Where its schema is ours, both sides use tidings.binding.
-- In PL/pgSQL, like others below, which keeps its plan for the session.
CREATE OR REPLACE FUNCTION tidings.has_list_of_pgmq() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM pg_class c
    WHERE c.relnamespace = 'pgmq'::regnamespace AND c.relname = 'topic_bindings' AND c.relkind = 'r');
END
$$;

-- The bindings of both sides.
CREATE OR REPLACE FUNCTION tidings.all_bindings() RETURNS SETOF tidings.binding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT * FROM tidings.binding;
  IF tidings.has_list_of_pgmq() THEN
    RETURN QUERY EXECUTE
      'SELECT pattern COLLATE "C", lower(queue_name) COLLATE "C", bound_at, queue_name::text, compiled_regex FROM pgmq.topic_bindings';
  END IF;
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

-- The bindings that a routing key leads to.
CREATE OR REPLACE FUNCTION tidings.bindings_for(key text) RETURNS SETOF tidings.binding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT * FROM tidings.binding b WHERE b.pattern = key COLLATE "C"
  UNION ALL
  SELECT * FROM tidings.binding b
  WHERE (strpos(b.pattern, '*') > 0 OR strpos(b.pattern, '#') > 0)
    AND CASE
      WHEN b.pgmq_name IS NULL THEN tidings.matches(b.pattern, key)
      ELSE key ~ b.compiled_regex
    END;
  IF tidings.has_list_of_pgmq() THEN
    RETURN QUERY EXECUTE $sql$
      SELECT pattern COLLATE "C", lower(queue_name) COLLATE "C", bound_at, queue_name::text, compiled_regex
      FROM pgmq.topic_bindings
      WHERE $1 ~ compiled_regex
    $sql$ USING key;
  END IF;
END
$$;

-- The queues that a routing key leads to, each once.
CREATE OR REPLACE FUNCTION tidings.queues_for(key text) RETURNS SETOF text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT DISTINCT b.queue_name FROM tidings.bindings_for(key) b;
END
$$;

-- The topics that a routing key leads to, each once.
CREATE OR REPLACE FUNCTION tidings.topics_for(key text) RETURNS SETOF integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT l.topic_id FROM tidings.topic_pattern l WHERE l.pattern = key COLLATE "C"
  UNION
  SELECT l.topic_id FROM tidings.topic_pattern l
  WHERE (strpos(l.pattern, '*') > 0 OR strpos(l.pattern, '#') > 0) AND tidings.matches(l.pattern, key);
END
$$;

-- The copies of a batch that go into topics by the routing keys of its messages; null for none. Raises TD409 with the name
-- of a topic if one of them replaces: a topic keeps what it took.
CREATE OR REPLACE FUNCTION tidings.topic_copies(batch jsonb) RETURNS tidings.topic_copy[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  copies tidings.topic_copy[];
  keeper text;
BEGIN
  WITH keys AS MATERIALIZED (
    SELECT DISTINCT e ->> 'r' AS key FROM jsonb_array_elements(batch) AS entries (e)
  ), targets AS MATERIALIZED (
    SELECT keys.key, t.id, t.name, tidings.place_of_topic(t.name) AS place
    FROM keys, tidings.topics_for(keys.key) AS found (id) JOIN tidings.topic t USING (id)
  )
  SELECT array_agg(ROW(
    targets.id, targets.place, position, 'id:' || (e ->> 'k'), (e ->> 'w')::bigint, NULL, NULL, NULL)::tidings.topic_copy),
    min(targets.name) FILTER (WHERE e ? 'x')
  INTO copies, keeper FROM targets JOIN jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) ON e ->> 'r' = targets.key;
  IF keeper IS NOT NULL THEN
    RAISE EXCEPTION 'topic "%"', keeper USING ERRCODE = 'TD409';
  END IF;
  RETURN copies;
END
$$;

-- For PGMQ's send_topic: puts messages into the topics that a routing key leads to. Returns the queues that take from them.
CREATE OR REPLACE FUNCTION tidings.send_to_topics(routing_key text, msgs jsonb[], headers jsonb[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  batch constant jsonb := (
    SELECT jsonb_agg(jsonb_build_object('r', routing_key, 'm', m, 'h', h) ORDER BY position)
    FROM unnest(msgs, headers) WITH ORDINALITY AS entries (m, h, position));
  copies tidings.topic_copy[] := tidings.topic_copies(batch);
BEGIN
  IF copies IS NOT NULL THEN
    PERFORM tidings.must('publish', NULL);
    copies := tidings.with_duplicates(copies);
    PERFORM FROM tidings.store_in_topics(batch, copies, false);
  END IF;
  RETURN ARRAY(SELECT DISTINCT r.queue FROM tidings.queue_routes(copies, '{}') r);
END
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

  RETURN QUERY SELECT * FROM tidings.distribute(
    batch, plain, enabled, own, tidings.topic_copies(batch), queues);
END
$$;

-- Which messages go into which queues: those that are bound, and those that are linked to a topic that takes them.
CREATE OR REPLACE FUNCTION tidings.queue_routes(copies tidings.topic_copy[], queues jsonb)
RETURNS TABLE (queue text, at bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT bound.key, position::bigint
  FROM jsonb_each(queues) AS bound, jsonb_array_elements_text(bound.value) AS position
  UNION
  SELECT l.queue_name, c.at
  FROM unnest(copies) c JOIN tidings.topic_queue l ON l.topic_id = c.topic_id
  WHERE c.duplicate IS NOT TRUE;
END
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
  -- The messages of the batch, and whether each is an envelope.
  bodies jsonb[];
  heads jsonb[];
  are_envelopes boolean[];
  has_heads boolean;
  gone text[] := '{}';
  part jsonb;
  part_heads jsonb;
  part_ids text[];
  part_duplicates boolean[];
  positions bigint[];
  queue_names text[];
  ids text[];
  duplicates boolean[];
BEGIN
  IF NOT plain THEN
    RETURN QUERY
    SELECT DISTINCT 0, r.queue, NULL::text, NULL::text, NULL::bigint, NULL::boolean
    FROM tidings.queue_routes(copies, queues) r
    JOIN jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position) ON position = r.at
    LEFT JOIN tidings.queue s ON s.queue_name = r.queue
    WHERE r.queue <> ALL (enabled)
      AND (e -> 'h' ? 'x-pgmq-group' AND NOT coalesce(s.has_keys, false)
        OR e -> 'h' ? 'x-tidings-priority' AND NOT coalesce(s.has_priorities, false)
        OR e -> 'h' ? 'x-tidings-group' AND NOT coalesce(s.has_lanes, false));
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;

  IF copies IS NOT NULL THEN
    copies := tidings.with_duplicates(copies);
  END IF;

  SELECT array_agg(e -> 'm' ORDER BY position), array_agg(e -> 'h' ORDER BY position),
    array_agg(tidings.is_envelope(e -> 'm', nullif(e -> 'h', 'null')) ORDER BY position)
  INTO bodies, heads, are_envelopes FROM jsonb_array_elements(batch) WITH ORDINALITY AS entries (e, position);
  has_heads := NOT true = ALL (are_envelopes) OR EXISTS (SELECT FROM unnest(heads) h WHERE h <> 'null');
  LOOP
    BEGIN
      positions := '{}';
      queue_names := '{}';
      ids := '{}';
      duplicates := '{}';
      FOR route IN
        SELECT r.queue, array_agg(r.at ORDER BY r.at) AS positions
        FROM tidings.queue_routes(copies, queues) r WHERE r.queue <> ALL (gone)
        GROUP BY r.queue ORDER BY r.queue COLLATE "C"
      LOOP
        IF plain THEN
          -- As tidings.patched_message and tidings.patched_headers have it, which would be planned for each queue.
          SELECT
            jsonb_agg(CASE WHEN is_envelope THEN jsonb_set(m, '{meta,queue_name}', to_jsonb(route.queue)) ELSE m END
              ORDER BY position),
            jsonb_agg(CASE
              WHEN is_envelope THEN h
              ELSE tidings.patched_headers(m, nullif(h, 'null'), jsonb_build_object('queue_name', route.queue))
            END ORDER BY position) FILTER (WHERE has_heads)
          INTO part, part_heads
          FROM unnest(route.positions) AS position
          JOIN unnest(bodies, heads, are_envelopes) WITH ORDINALITY AS entries (m, h, is_envelope, position) USING (position);
          EXECUTE format($sql$SELECT string_to_array(%s($1, $2), ',')$sql$, tidings.function_of('send', route.queue))
          INTO part_ids USING part, part_heads;
          part_duplicates := array_fill(false, ARRAY[cardinality(part_ids)]);
        ELSE
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
          -- Takes the lock by which the queue cannot be dropped any more.
          EXECUTE format('INSERT INTO pgmq.%I (vt) SELECT now() WHERE false', 'q_' || route.queue);
          SELECT array_agg(sent.id ORDER BY n), array_agg(sent.duplicate ORDER BY n) INTO part_ids, part_duplicates
          FROM tidings.send(route.queue, part, false) WITH ORDINALITY AS sent (id, duplicate, n);
        END IF;
        positions := positions || route.positions;
        queue_names := queue_names || array_fill(route.queue::text, ARRAY[cardinality(part_ids)]);
        ids := ids || part_ids;
        duplicates := duplicates || part_duplicates;
      END LOOP;
      EXIT;
    EXCEPTION WHEN undefined_table OR syntax_error OR undefined_function OR internal_error OR SQLSTATE 'TD404' THEN
      -- Dropped meanwhile, or by another client that left the binding. All others once more, in the same order of locks.
      IF tidings.find_table(route.queue) IS NULL THEN
        gone := gone || route.queue::text;
      ELSE
        RAISE;
      END IF;
    END;
  END LOOP;
  RETURN QUERY
  SELECT s.at::integer, s.queue, NULL::text, s.id, NULL::bigint, s.duplicate
  FROM unnest(positions, queue_names, ids, duplicates) AS s (at, queue, id, duplicate);

  IF copies IS NOT NULL THEN
    RETURN QUERY
    SELECT s.at, NULL::text, s.topic, NULL::text, s."offset", s.duplicate
    FROM tidings.store_in_topics(batch, copies, own) s;
  END IF;
END
$$;
