-- Groups that take turns, and limits. A group with messages is a lane (those without one are the lane ''), and a claim takes
-- from lanes by their `pass`, the smallest first; each message that is taken adds 1 / weight. A lane of which nothing can be
-- claimed is shut, and looked at again when its time comes or when there is news of it: something was inserted, or a lease
-- has ended. So a claim costs what the lanes cost that it takes from, however many others wait.
--
-- Claims of one queue come one after the other: each locks the row of the queue in tidings.lane_clock, and waits for nothing
-- else while it has it. Only they change lanes, rates and slots; what others have to tell they insert into tidings.lane_news.

-- What messages of the lane '' have in common, and what those of others.
CREATE OR REPLACE FUNCTION tidings.ungrouped_expression() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $sql$coalesce(headers ->> 'x-tidings-group', '') = ''$sql$
$$;

CREATE OR REPLACE FUNCTION tidings.grouped_expression() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $sql$headers ->> 'x-tidings-group' <> ''$sql$
$$;

-- On every table with lanes: messages come by many ways, also from other clients.
CREATE OR REPLACE FUNCTION tidings.note_inserts() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tidings.lane_news (queue_name, name)
  SELECT DISTINCT substr(TG_TABLE_NAME, 3), n.headers ->> 'x-tidings-group' FROM inserted n
  WHERE n.headers ->> 'x-tidings-group' <> '';
  -- A claim does not see for itself here what else messages have.
  IF EXISTS (
    SELECT FROM inserted n, tidings.queue q
    WHERE q.queue_name = substr(TG_TABLE_NAME, 3)
      AND (n.headers ? 'x-pgmq-group' AND NOT q.has_keys OR n.headers ? 'x-tidings-priority' AND NOT q.has_priorities))
  THEN
    UPDATE tidings.queue q SET
      has_keys = q.has_keys OR EXISTS (SELECT FROM inserted n WHERE n.headers ? 'x-pgmq-group'),
      has_priorities = q.has_priorities OR EXISTS (SELECT FROM inserted n WHERE n.headers ? 'x-tidings-priority')
    WHERE q.queue_name = substr(TG_TABLE_NAME, 3);
  END IF;
  RETURN NULL;
END
$$;

-- Lets the groups of a queue take turns from now on. Its functions become others.
CREATE OR REPLACE FUNCTION tidings.enable_lanes(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
  live constant regclass := tidings.table_of(queue);
BEGIN
  IF (tidings.settings_of(queue)).has_lanes THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue));
  IF (tidings.settings_of(queue)).has_lanes THEN
    RETURN;
  END IF;
  EXECUTE format($sql$
    CREATE TRIGGER tidings_lanes AFTER INSERT ON %1$s REFERENCING NEW TABLE AS inserted
      FOR EACH STATEMENT EXECUTE FUNCTION tidings.note_inserts();
    CREATE INDEX ON %1$s ((headers ->> 'x-tidings-group') COLLATE "C", coalesce(%2$s, 0) DESC, msg_id) WHERE %3$s;
    CREATE INDEX ON %1$s (msg_id) WHERE headers ->> 'x-pgmq-group' IS NULL AND %4$s;
    INSERT INTO tidings.lane_news (queue_name, name) SELECT DISTINCT %5$L, headers ->> 'x-tidings-group' FROM %1$s WHERE %3$s
  $sql$, live, tidings.priority_expression(), tidings.grouped_expression(), tidings.ungrouped_expression(), queue);
  INSERT INTO tidings.lane_clock (queue_name) VALUES (queue) ON CONFLICT DO NOTHING;
  EXECUTE format($sql$
    UPDATE tidings.queue q SET has_lanes = true,
      has_keys = has_keys OR EXISTS (SELECT FROM %1$s WHERE headers ? 'x-pgmq-group'),
      has_priorities = has_priorities OR EXISTS (SELECT FROM %1$s WHERE headers ? 'x-tidings-priority')
    WHERE q.queue_name = $1
  $sql$, live) USING queue;
  PERFORM tidings.renew_functions(queue);
END
$$;

-- After a change of its limits. Ends all holds: the way out of one that was a mistake.
CREATE OR REPLACE FUNCTION tidings.change_limits(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT (tidings.settings_of(queue)).has_lanes THEN
    RETURN;
  END IF;
  PERFORM tidings.lock_lanes(queue);
  UPDATE tidings.lane_clock c SET counting_until = clock_timestamp() + interval '5 seconds' WHERE c.queue_name = queue;
  PERFORM tidings.end_holds(queue, NULL);
END
$$;

-- Ends the hold of the queue, and those of these groups, or of all. Whoever calls it has locked the lanes.
CREATE OR REPLACE FUNCTION tidings.end_holds(queue text, groups text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE tidings.lane_clock c SET held_until = NULL WHERE c.queue_name = queue AND c.held_until IS NOT NULL;
  DELETE FROM tidings.lane_news n WHERE n.queue_name = queue AND n.name IS NULL;
  UPDATE tidings.lane_news n SET held_until = NULL
  WHERE n.queue_name = queue AND n.held_until IS NOT NULL AND (groups IS NULL OR n.name = ANY (groups));
  UPDATE tidings.lane l SET shut_until = NULL, is_held = false, held_until = NULL, pass = greatest(l.pass, c.pass)
  FROM tidings.lane_clock c
  WHERE c.queue_name = queue AND l.queue_name = queue AND l.is_held AND (groups IS NULL OR l.name = ANY (groups));
END
$$;

-- Waits until no other claim of the queue is under way. Every statement after it sees what they did.
CREATE OR REPLACE FUNCTION tidings.lock_lanes(queue text) RETURNS tidings.lane_clock
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  clock tidings.lane_clock;
BEGIN
  SELECT * INTO clock FROM tidings.lane_clock c WHERE c.queue_name = queue FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO tidings.lane_clock (queue_name) VALUES (queue)
    ON CONFLICT (queue_name) DO UPDATE SET queue_name = EXCLUDED.queue_name RETURNING * INTO clock;
  END IF;
  RETURN clock;
END
$$;

-- In PL/pgSQL, which keeps its plan for the session.
CREATE OR REPLACE FUNCTION tidings.has_slots(limits jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN jsonb_path_exists(limits, '$[*].concurrency');
END
$$;

-- After a claim in a queue with limits, or that left something out after all: what it leased is charged, and what it left out is
-- given back to its lanes.
-- picked, reads, lanes, keys: of each message; ids: what was leased of them. leases: whether they take slots
CREATE OR REPLACE FUNCTION tidings.charge(
  queue text, configured jsonb, picked bigint[], reads integer[], lanes text[], keys text[], ids bigint[], leases boolean
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_ms constant double precision := date_part('epoch', clock_timestamp()) * 1000;
  limits constant jsonb := coalesce(configured -> 'limits', '[]');
BEGIN
  IF cardinality(ids) < cardinality(picked) THEN
    UPDATE tidings.lane l SET shut_until = NULL,
      pass = greatest(l.pass - given.count / coalesce((configured -> 'weights' ->> l.name)::double precision, 1), c.pass)
    FROM (
      SELECT p.lane, count(*) FROM unnest(picked, lanes) AS p (id, lane) WHERE p.id <> ALL (ids) GROUP BY 1
    ) given, tidings.lane_clock c
    WHERE c.queue_name = queue AND l.queue_name = queue AND l.name = given.lane;
  END IF;
  IF leases AND tidings.has_slots(limits) THEN
    INSERT INTO tidings.slot (queue_name, msg_id, read_ct, lane)
    SELECT queue, p.id, p.read_ct, p.lane FROM unnest(picked, reads, lanes) AS p (id, read_ct, lane) WHERE p.id = ANY (ids)
    ON CONFLICT (queue_name, msg_id) DO UPDATE SET read_ct = EXCLUDED.read_ct, lane = EXCLUDED.lane;
  END IF;
  IF jsonb_path_exists(limits, '$[*].rate') THEN
    INSERT INTO tidings.rate AS r (queue_name, per, period_ms, key, tat_ms)
    SELECT queue, e ->> 'per', (e -> 'rate' ->> 'periodMs')::bigint, charged.key, now_ms
      + charged.count * (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision
    FROM jsonb_array_elements(limits) e CROSS JOIN LATERAL (
      SELECT CASE e ->> 'per' WHEN 'queue' THEN '' WHEN 'group' THEN nullif(p.lane, '') ELSE p.key END AS key, count(*)
      FROM unnest(picked, lanes, keys) AS p (id, lane, key) WHERE p.id = ANY (ids) GROUP BY 1
    ) charged
    WHERE e ? 'rate' AND charged.key IS NOT NULL
    ON CONFLICT (queue_name, per, period_ms, key) DO UPDATE
      SET tat_ms = greatest(r.tat_ms, now_ms) + (EXCLUDED.tat_ms - now_ms);
  END IF;
END
$$;

-- After the end of leases, or of messages that stood in the way: tells the lanes that may have something to claim now.
-- ended: whose slots are free, or null; headers: of all of them
CREATE OR REPLACE FUNCTION tidings.note_ends(queue text, ended bigint[], headers jsonb[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM tidings.slot s WHERE s.queue_name = queue AND s.msg_id = ANY (ended);
  INSERT INTO tidings.lane_news (queue_name, name)
  SELECT DISTINCT queue, h ->> 'x-tidings-group' FROM unnest(headers) h WHERE h ->> 'x-tidings-group' <> '';
  -- Planned at every call: only for those that have a key.
  IF EXISTS (SELECT FROM unnest(headers) h WHERE h ? 'x-pgmq-group') THEN
    EXECUTE format($sql$
      INSERT INTO tidings.lane_news (queue_name, name)
      SELECT $1, next.lane FROM (SELECT DISTINCT h ->> 'x-pgmq-group' AS key FROM unnest($2) h) keys
      CROSS JOIN LATERAL (
        SELECT headers ->> 'x-tidings-group' AS lane FROM %s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" = keys.key
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
      ) next WHERE next.lane <> ''
    $sql$, tidings.table_of(queue)) USING queue, headers;
  END IF;
  PERFORM tidings.announce(queue, 0);
END
$$;

-- How many ready messages are in a queue, or in groups, of which limits and holds let nothing be claimed now.
-- most: looks at so many messages from the front; null: at all
CREATE OR REPLACE FUNCTION tidings.count_held_back(queue text, most bigint = NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  front constant text := format(
    CASE WHEN most IS NULL THEN '%1$s' ELSE '(SELECT vt, headers FROM %1$s ORDER BY msg_id LIMIT %2$s) front' END,
    tidings.table_of(queue), most);
  moment constant timestamptz := clock_timestamp();
  settings tidings.queue;
  limits jsonb;
  rooms text;
  room bigint;
  lanes text[];
  counts bigint[];
  held bigint;
BEGIN
  PERFORM tidings.must('measure', queue);
  SELECT * INTO settings FROM tidings.queue q WHERE q.queue_name = queue;
  IF settings.has_lanes IS NOT TRUE THEN
    RETURN 0;
  END IF;
  limits := coalesce(settings.configured -> 'limits', '[]');
  rooms := tidings.function_of('rooms', queue);
  EXECUTE format('SELECT room FROM %s($1, ''queue'', ''{""}'', $2)', rooms) INTO room USING limits, moment;
  IF room <= 0
    OR EXISTS (
      SELECT c.held_until FROM tidings.lane_clock c WHERE c.queue_name = queue AND c.held_until > moment
      UNION ALL
      SELECT n.held_until FROM tidings.lane_news n WHERE n.queue_name = queue AND n.name IS NULL AND n.held_until > moment)
  THEN
    EXECUTE format('SELECT count(*) FROM %s WHERE vt <= $1', front) INTO held USING moment;
    RETURN held;
  END IF;
  EXECUTE format(
    $sql$SELECT array_agg(lane), array_agg(count) FROM (
      SELECT headers ->> 'x-tidings-group' AS lane, count(*) FROM %s WHERE vt <= $1 AND %s GROUP BY 1
    ) ready$sql$, front, tidings.grouped_expression()) INTO lanes, counts USING moment;
  EXECUTE format($sql$
    SELECT coalesce(sum(l.count), 0) FROM ROWS FROM (unnest($1), unnest($2), %s($3, 'group', $1, $4)) AS l (name, count, lane, room, opens_at)
    WHERE l.room <= 0 OR EXISTS (
      SELECT FROM tidings.lane h WHERE h.queue_name = $5 AND h.name = l.name AND h.held_until > $4
      UNION ALL
      SELECT FROM tidings.lane_news n WHERE n.queue_name = $5 AND n.name = l.name AND n.held_until > $4)
  $sql$, rooms) INTO held USING lanes, counts, limits, moment, queue;
  RETURN held;
END
$$;

-- Queues with a limit of concurrency, and how many leases in force there take no slot: other clients have read them. In the schema of
-- PGMQ itself a retry that waits looks the same.
CREATE OR REPLACE FUNCTION tidings.unlimited_leases() RETURNS TABLE (queue text, leases bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  FOR queue IN
    SELECT q.queue_name FROM tidings.queue q
    WHERE q.has_lanes AND tidings.has_slots(coalesce(q.configured -> 'limits', '[]')) AND tidings.owns_pgmq() ORDER BY 1
  LOOP
    BEGIN
      EXECUTE format($sql$
        SELECT count(*) FROM %I.%I q WHERE q.vt > $1 AND q.vt < 'infinity' AND q.read_ct > 0
          AND NOT EXISTS (SELECT FROM tidings.slot s WHERE s.queue_name = $2 AND s.msg_id = q.msg_id AND s.read_ct = q.read_ct)
      $sql$, 'pgmq', 'q_' || queue) INTO leases USING clock_timestamp(), queue;
    EXCEPTION WHEN undefined_table OR insufficient_privilege THEN
      CONTINUE;
    END;
    IF leases > 0 THEN
      RETURN NEXT;
    END IF;
  END LOOP;
END
$$;

-- What time asks for: forgets what is of no use any more, and looks for lanes of which nobody told.
CREATE OR REPLACE FUNCTION tidings.maintain_lanes(queue text, live regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
BEGIN
  PERFORM tidings.lock_lanes(queue);
  EXECUTE format($sql$
    DELETE FROM tidings.slot s WHERE s.ctid = ANY (ARRAY(
      SELECT t.ctid FROM tidings.slot t WHERE t.queue_name = $1 AND NOT EXISTS (
        SELECT FROM %1$s q WHERE q.msg_id = t.msg_id AND q.read_ct = t.read_ct AND q.vt > $2)
      FOR UPDATE SKIP LOCKED));
  $sql$, live) USING queue, moment;
  UPDATE tidings.lane l SET pass = c.pass FROM tidings.lane_clock c
  WHERE c.queue_name = queue AND l.queue_name = queue AND l.shut_until IS NULL AND l.pass < c.pass;
  DELETE FROM tidings.rate r WHERE r.queue_name = queue AND r.tat_ms < date_part('epoch', moment) * 1000;
  DELETE FROM tidings.lane l WHERE l.queue_name = queue AND l.shut_until = 'infinity' AND l.name <> ''
    AND l.pass <= (SELECT c.pass FROM tidings.lane_clock c WHERE c.queue_name = queue);
  EXECUTE format($sql$
    WITH RECURSIVE found AS (
      (SELECT (headers ->> 'x-tidings-group') COLLATE "C" AS name FROM %1$s WHERE %2$s ORDER BY 1 LIMIT 1)
      UNION ALL
      SELECT (SELECT (headers ->> 'x-tidings-group') COLLATE "C" FROM %1$s
        WHERE %2$s AND (headers ->> 'x-tidings-group') COLLATE "C" > found.name ORDER BY 1 LIMIT 1)
      FROM found WHERE found.name IS NOT NULL
    )
    INSERT INTO tidings.lane_news (queue_name, name)
    SELECT $1, f.name FROM found f LEFT JOIN tidings.lane l ON l.queue_name = $1 AND l.name = f.name
    WHERE f.name IS NOT NULL AND (l.name IS NULL OR l.shut_until = 'infinity')
  $sql$, live, tidings.grouped_expression()) USING queue;
END
$$;

-- Removes what belongs to the lanes of a queue.
CREATE OR REPLACE FUNCTION tidings.forget_lanes(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM tidings.lane_news n WHERE n.queue_name = queue;
  DELETE FROM tidings.lane l WHERE l.queue_name = queue;
  DELETE FROM tidings.slot s WHERE s.queue_name = queue;
  DELETE FROM tidings.rate r WHERE r.queue_name = queue;
  DELETE FROM tidings.lane_clock c WHERE c.queue_name = queue;
END
$$;
