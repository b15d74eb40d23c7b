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
  UPDATE tidings.lane_clock c SET held_until = NULL, counting_until = clock_timestamp() + interval '5 seconds'
  WHERE c.queue_name = queue;
  DELETE FROM tidings.lane_news n WHERE n.queue_name = queue AND n.name IS NULL;
  UPDATE tidings.lane_news n SET held_until = NULL WHERE n.queue_name = queue AND n.held_until IS NOT NULL;
  UPDATE tidings.lane l SET shut_until = NULL, is_held = false, held_until = NULL, pass = greatest(l.pass, c.pass)
  FROM tidings.lane_clock c WHERE c.queue_name = queue AND l.queue_name = queue AND l.is_held;
END
$$;

-- Waits until no other claim of the queue is under way. Every statement after it sees what they did.
CREATE OR REPLACE FUNCTION tidings.lock_lanes(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM tidings.lane_clock c WHERE c.queue_name = queue FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO tidings.lane_clock (queue_name) VALUES (queue)
    ON CONFLICT (queue_name) DO UPDATE SET queue_name = EXCLUDED.queue_name;
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION tidings.has_slots(limits jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT limits @> '[{}]' AND EXISTS (SELECT FROM jsonb_array_elements(limits) e WHERE e ? 'concurrency')
$$;

CREATE OR REPLACE FUNCTION tidings.weight_of(configured jsonb, lane text) RETURNS double precision
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((configured -> 'weights' ->> lane)::double precision, 1)
$$;

-- For how many messages the limits of one kind have room, null if for any number; and if for none, when they may have again,
-- null if that is not known.
CREATE OR REPLACE FUNCTION tidings.room_of(
  queue text, live regclass, limits jsonb, kind text, wanted_key text, moment timestamptz, OUT room bigint, OUT opens_at timestamptz
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_ms constant double precision := date_part('epoch', moment) * 1000;
  bound jsonb;
  free bigint;
  opens timestamptz;
  every double precision;
  burst double precision;
  tat double precision;
BEGIN
  FOR bound IN SELECT e FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = kind LOOP
    IF bound ? 'concurrency' THEN
      EXECUTE format($sql$
        SELECT count(*), min(q.vt) FROM tidings.slot s JOIN %s q ON q.msg_id = s.msg_id AND q.read_ct = s.read_ct
        WHERE s.queue_name = $1 AND ($2 IS NULL OR s.lane = $2) AND q.vt > $3
      $sql$, live) INTO free, opens USING queue, CASE WHEN kind = 'group' THEN wanted_key END, moment;
      free := (bound ->> 'concurrency')::bigint - free;
      room := least(room, free);
      IF free <= 0 THEN
        opens_at := greatest(opens_at, opens);
      END IF;
    END IF;
    IF bound ? 'rate' THEN
      every := (bound -> 'rate' ->> 'periodMs')::double precision / (bound -> 'rate' ->> 'count')::double precision;
      burst := coalesce((bound ->> 'burst')::double precision, 1);
      SELECT r.tat_ms INTO tat FROM tidings.rate r
      WHERE r.queue_name = queue AND r.per = kind AND r.period_ms = (bound -> 'rate' ->> 'periodMs')::bigint
        AND r.key = wanted_key;
      -- Sums of fractions are not exact.
      free := floor(least(burst - (greatest(coalesce(tat, 0), now_ms) - now_ms - 0.001) / every, 1e9))::bigint;
      room := least(room, free);
      IF free <= 0 THEN
        opens_at := greatest(opens_at, to_timestamp((tat - (burst - 1) * every) / 1000));
      END IF;
    END IF;
  END LOOP;
  -- Null stays null.
  IF room < 0 THEN
    room := 0;
  END IF;
END
$$;

-- The same of many groups at once, as far as they had no room of these messages already; waits: one without room has ready ones.
CREATE OR REPLACE FUNCTION tidings.rooms_of_groups(
  queue text, live regclass, limits jsonb, lanes text[], moment timestamptz, besides bigint[]
) RETURNS TABLE (lane text, room bigint, opens_at timestamptz, waits boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most constant bigint := (
    SELECT (e ->> 'concurrency')::bigint FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = 'group' AND e ? 'concurrency');
  has_rates constant boolean := EXISTS (
    SELECT FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = 'group' AND e ? 'rate');
  now_ms constant double precision := date_part('epoch', moment) * 1000;
  with_slots text[];
  free bigint[];
  opens timestamptz[];
BEGIN
  -- Statements that name a table are planned at every call: they are kept small.
  IF most IS NOT NULL THEN
    EXECUTE format($sql$
      SELECT array_agg(lane), array_agg($4 - count), array_agg(min) FROM (
        SELECT s.lane, count(*), min(q.vt) FROM tidings.slot s JOIN %s q ON q.msg_id = s.msg_id
        WHERE s.queue_name = $1 AND s.lane = ANY ($2) AND q.read_ct = s.read_ct AND q.vt > $3 GROUP BY s.lane
      ) counted
    $sql$, live) INTO with_slots, free, opens USING queue, lanes, moment, most;
  END IF;
  FOR lane, room, opens_at IN
    SELECT n.name, least(CASE WHEN most IS NOT NULL THEN coalesce(c.free, most) END, r.free)::bigint,
      greatest(CASE WHEN c.free <= 0 THEN c.opens END, r.opens)
    FROM unnest(lanes) AS n (name) LEFT JOIN unnest(with_slots, free, opens) AS c (name, free, opens) ON c.name = n.name
    LEFT JOIN LATERAL (
      SELECT min(left_over.free) AS free,
        to_timestamp(max(t.tat_ms - (burst - 1) * every) FILTER (WHERE left_over.free <= 0) / 1000) AS opens
      FROM jsonb_array_elements(limits) e
      CROSS JOIN LATERAL (
        SELECT (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision AS every,
          coalesce((e ->> 'burst')::double precision, 1) AS burst) figures
      LEFT JOIN tidings.rate t ON t.queue_name = queue AND t.per = 'group' AND t.key = n.name
        AND t.period_ms = (e -> 'rate' ->> 'periodMs')::bigint
      CROSS JOIN LATERAL (
        -- As tidings.room_of has it.
        SELECT floor(least(burst - (greatest(coalesce(t.tat_ms, 0), now_ms) - now_ms - 0.001) / every, 1e9)) AS free) left_over
      WHERE e ->> 'per' = 'group' AND e ? 'rate'
    ) r ON has_rates
  LOOP
    waits := NULL;
    IF room <= cardinality(besides) THEN
      waits := tidings.any_ready(live, lane, moment, besides);
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;

-- What picks no message whose ordering key has no room: a part of a WHERE, with the key as it is called there.
CREATE OR REPLACE FUNCTION tidings.rated_keys(queue text, limits jsonb, moment timestamptz, key text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (
    SELECT coalesce(string_agg(format(
      ' AND NOT EXISTS (SELECT FROM tidings.rate r WHERE r.queue_name = %L AND r.per = ''orderingKey'' AND r.period_ms = %s
        AND r.key = %s AND r.tat_ms > %s)',
      queue, (e -> 'rate' ->> 'periodMs')::bigint, key,
      date_part('epoch', moment) * 1000 + 0.001 + (coalesce((e ->> 'burst')::double precision, 1) - 1)
        * (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision), ''), '')
    FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = 'orderingKey' AND e ? 'rate');
END
$$;

-- The next messages of a group, locked. besides: not these.
CREATE OR REPLACE FUNCTION tidings.pick_of_group(
  queue text, live regclass, name text, quantity integer, moment timestamptz, besides bigint[], has_keys boolean, rated text
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT q.msg_id FROM %1$s q
      WHERE %2$s AND (headers ->> 'x-tidings-group') COLLATE "C" = $1 AND vt <= $3 AND msg_id <> ALL ($4) %4$s
      ORDER BY (headers ->> 'x-tidings-group') COLLATE "C", coalesce(%3$s, 0) DESC, msg_id LIMIT $2 FOR UPDATE OF q SKIP LOCKED
    ) ready
  $sql$, live, tidings.grouped_expression(), tidings.priority_expression(), CASE WHEN has_keys THEN format($sql$
    AND (headers ->> 'x-pgmq-group' IS NULL OR NOT EXISTS (
      SELECT FROM %s e
      WHERE e.headers ? 'x-pgmq-group'
        AND (e.headers ->> 'x-pgmq-group') COLLATE "C" = (q.headers ->> 'x-pgmq-group') COLLATE "C" AND e.msg_id < q.msg_id
      UNION ALL
      SELECT FROM tidings.delayed d
      WHERE d.queue_name = $5 AND d.headers ? 'x-pgmq-group'
        AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = (q.headers ->> 'x-pgmq-group') COLLATE "C"
        AND d.msg_id < q.msg_id) %s)$sql$, live, rated) ELSE '' END)
  INTO ids USING name, quantity, moment, besides, queue;
  RETURN coalesce(ids, '{}');
END
$$;

-- Whether there are ready messages besides these, of a group or of the whole queue.
CREATE OR REPLACE FUNCTION tidings.any_ready(live regclass, name text, moment timestamptz, besides bigint[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found_one boolean;
BEGIN
  EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %s AND vt <= $2 AND msg_id <> ALL ($3))', live, CASE
      WHEN name IS NULL THEN 'msg_id > 0'
      ELSE tidings.grouped_expression() || $sql$ AND (headers ->> 'x-tidings-group') COLLATE "C" = $1$sql$
    END) INTO found_one USING name, moment, besides;
  RETURN found_one;
END
$$;

-- Takes in what was told since the last claim, and opens the lanes whose time has come.
CREATE OR REPLACE FUNCTION tidings.hear_news(queue text, moment timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  WITH heard AS (
    DELETE FROM tidings.lane_news n WHERE n.ctid = ANY (ARRAY(
      SELECT t.ctid FROM tidings.lane_news t WHERE t.queue_name = queue LIMIT 10000))
    RETURNING n.name, n.held_until
  ), merged AS (
    SELECT h.name, max(h.held_until) AS held_until FROM heard h GROUP BY h.name
  ), of_queue AS (
    UPDATE tidings.lane_clock c SET held_until = greatest(c.held_until, m.held_until) FROM merged m
    WHERE c.queue_name = queue AND m.name IS NULL
  )
  INSERT INTO tidings.lane AS l (queue_name, name, pass, held_until, shut_until, is_held)
  SELECT queue, m.name, c.pass, m.held_until, m.held_until, m.held_until IS NOT NULL
  FROM merged m JOIN tidings.lane_clock c ON c.queue_name = queue WHERE m.name IS NOT NULL
  ON CONFLICT (queue_name, name) DO UPDATE SET
    held_until = greatest(l.held_until, EXCLUDED.held_until),
    shut_until = greatest(l.held_until, EXCLUDED.held_until),
    is_held = greatest(l.held_until, EXCLUDED.held_until) IS NOT NULL,
    pass = greatest(l.pass, EXCLUDED.pass);
  UPDATE tidings.lane l SET shut_until = NULL, is_held = false, held_until = NULL, pass = greatest(l.pass, c.pass)
  FROM tidings.lane_clock c WHERE c.queue_name = queue AND l.queue_name = queue AND l.shut_until <= moment;
END
$$;

-- Shuts a lane of which nothing more can be claimed: until the next of its messages comes up.
CREATE OR REPLACE FUNCTION tidings.shut_lane(queue text, live regclass, lane text, moment timestamptz, ids bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  soonest timestamptz;
  waits boolean;
BEGIN
  EXECUTE format($sql$
    SELECT min(vt) FILTER (WHERE vt > $2), bool_or(vt <= $2 AND msg_id <> ALL ($3)) FROM %s
    WHERE %s AND (headers ->> 'x-tidings-group') COLLATE "C" = $1
  $sql$, live, tidings.grouped_expression()) INTO soonest, waits USING lane, moment, ids;
  -- Somebody has locked it, or it waits for its ordering key.
  IF waits THEN
    soonest := least(soonest, moment + interval '1 second');
  END IF;
  UPDATE tidings.lane l SET shut_until = coalesce(soonest, 'infinity') WHERE l.queue_name = queue AND l.name = lane;
END
$$;

-- Locks the next messages of a queue with lanes, as many as its limits allow. Its lanes are locked.
-- wanted: only these, which are locked; lanes play no role then
-- Returns ids; held_back: ready ones were left because of limits or holds, or since nothing is read ahead; exhausted: nothing
-- else could be claimed; opens_at: when to come again
CREATE OR REPLACE FUNCTION tidings.pick_from_lanes(
  queue text, quantity integer, at_once integer, mark bigint, last_key text, freed text[], sweep boolean, wanted bigint[],
  OUT ids bigint[], OUT held_back boolean, OUT exhausted boolean, OUT opens_at timestamptz
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant regclass := tidings.table_of(queue);
  moment constant timestamptz := clock_timestamp();
  settings tidings.queue;
  clock tidings.lane_clock;
  limits jsonb;
  rated text;
  target integer := quantity;
  room bigint;
  opens timestamptz;
  one record;
  names text[];
  passes double precision[];
  rooms integer[];
  share double precision;
  taken jsonb := '{}';
  picked bigint[];
  plain_ended boolean := false;
  shut_one boolean := false;
  nearest text[];
  nearest_passes double precision[];
  began double precision;
  visited text[] := '{}';
BEGIN
  ids := '{}';
  held_back := false;
  exhausted := false;
  SELECT * INTO settings FROM tidings.queue q WHERE q.queue_name = queue;
  limits := coalesce(settings.configured -> 'limits', '[]');
  rated := tidings.rated_keys(queue, limits, moment, $sql$(q.headers ->> 'x-pgmq-group')$sql$);
  PERFORM tidings.hear_news(queue, moment);
  SELECT * INTO clock FROM tidings.lane_clock c WHERE c.queue_name = queue;
  began := clock.pass;
  IF clock.counting_until > moment AND tidings.has_slots(limits) THEN
    -- Not those that a transaction is about to end: it would be waited for.
    EXECUTE format($sql$
      INSERT INTO tidings.slot AS s (queue_name, msg_id, read_ct, lane)
      SELECT $1, msg_id, read_ct, coalesce(headers ->> 'x-tidings-group', '') FROM %s q
      WHERE vt > $2 AND read_ct > 0
        AND NOT EXISTS (SELECT FROM tidings.slot s WHERE s.queue_name = $1 AND s.msg_id = q.msg_id AND s.read_ct = q.read_ct)
      ON CONFLICT (queue_name, msg_id) DO UPDATE SET read_ct = EXCLUDED.read_ct WHERE s.read_ct <> EXCLUDED.read_ct
    $sql$, live) USING queue, moment;
  END IF;

  IF clock.held_until > moment THEN
    target := 0;
    opens_at := clock.held_until;
  ELSE
    SELECT r.room, r.opens_at INTO room, opens_at FROM tidings.room_of(queue, live, limits, 'queue', '', moment) r;
    target := least(target, room);
    IF limits <> '[]' THEN
      target := least(target, at_once);
    END IF;
  END IF;

  IF wanted IS NOT NULL THEN
    FOR one IN EXECUTE format($sql$
      SELECT q.msg_id, coalesce(headers ->> 'x-tidings-group', '') AS lane FROM %s q
      WHERE msg_id = ANY ($1) %s ORDER BY coalesce(%s, 0) DESC, msg_id
    $sql$, live, rated, tidings.priority_expression()) USING wanted LOOP
      EXIT WHEN cardinality(ids) >= target;
      IF one.lane <> '' THEN
        IF NOT taken ? one.lane THEN
          SELECT r.room, r.opens_at INTO room, opens FROM tidings.room_of(queue, live, limits, 'group', one.lane, moment) r;
          IF EXISTS (
            SELECT FROM tidings.lane l WHERE l.queue_name = queue AND l.name = one.lane AND l.held_until > moment)
          THEN
            room := 0;
          END IF;
          taken := taken || jsonb_build_object(one.lane, coalesce(room, target));
          opens_at := least(opens_at, opens);
        END IF;
        CONTINUE WHEN (taken ->> one.lane)::bigint <= 0;
        taken := taken || jsonb_build_object(one.lane, (taken ->> one.lane)::bigint - 1);
      END IF;
      ids := ids || one.msg_id;
    END LOOP;
    held_back := cardinality(ids) < cardinality(wanted);
    RETURN;
  END IF;

  WHILE cardinality(ids) < target LOOP
    SELECT coalesce(array_agg(near.name ORDER BY near.pass), '{}'), coalesce(array_agg(near.pass ORDER BY near.pass), '{}')
    INTO names, passes FROM (
      SELECT l.name, l.pass FROM tidings.lane l
      -- None is behind the clock; there the index has what was open before, until vacuum comes.
      WHERE l.queue_name = queue AND l.shut_until IS NULL AND l.name <> '' AND l.pass >= began
      ORDER BY l.pass LIMIT CASE WHEN shut_one THEN 100 ELSE least(target - cardinality(ids), 100) END
    ) near;
    rooms := array_fill(target - cardinality(ids), ARRAY[cardinality(names)]);
    shut_one := false;
    IF limits @> '[{"per": "group"}]' AND names <> '{}' THEN
      nearest := '{}';
      nearest_passes := '{}';
      rooms := '{}';
      FOR one IN
        SELECT l.name, l.pass, r.room - coalesce((taken ->> l.name)::integer, 0) AS room, r.opens_at, r.waits
        FROM unnest(names, passes) WITH ORDINALITY AS l (name, pass, n)
        JOIN tidings.rooms_of_groups(queue, live, limits, names, moment, ids) r ON r.lane = l.name ORDER BY n
      LOOP
        IF one.room > 0 OR one.room IS NULL THEN
          nearest := nearest || one.name;
          nearest_passes := nearest_passes || one.pass;
          rooms := rooms || least(one.room, target - cardinality(ids))::integer;
          CONTINUE;
        END IF;
        shut_one := true;
        IF one.waits THEN
          UPDATE tidings.lane l SET shut_until = coalesce(one.opens_at, moment + interval '1 second'), is_held = true
          WHERE l.queue_name = queue AND l.name = one.name;
        ELSE
          PERFORM tidings.shut_lane(queue, live, one.name, moment, ids);
        END IF;
      END LOOP;
      names := nearest;
      passes := nearest_passes;
    END IF;
    CONTINUE WHEN shut_one AND names = '{}';
    visited := visited || names;
    IF NOT plain_ended THEN
      names := names || ''::text;
      passes := passes || coalesce(
        (SELECT CASE WHEN l.shut_until IS NULL THEN l.pass ELSE greatest(l.pass, clock.pass) END
          FROM tidings.lane l WHERE l.queue_name = queue AND l.name = ''), clock.pass);
      rooms := rooms || target - cardinality(ids);
    END IF;
    IF names = '{}' THEN
      exhausted := true;
      EXIT;
    END IF;
    -- Each lane gets one message after the other at its pass; what comes first of all that is what they get.
    FOR one IN
      SELECT turn.name, turn.pass, count(*)::integer AS quantity FROM (
        SELECT l.name, l.pass FROM unnest(names, passes, rooms) AS l (name, pass, room), generate_series(0, l.room - 1) n
        ORDER BY l.pass + n / tidings.weight_of(settings.configured, l.name) LIMIT target - cardinality(ids)
      ) turn GROUP BY turn.name, turn.pass ORDER BY turn.pass
    LOOP
      IF one.name = '' THEN
        picked := tidings.pick(queue, settings, one.quantity, mark, last_key, freed, sweep,
          format(' AND %s AND msg_id <> ALL (%L::bigint[])', tidings.ungrouped_expression(), ids),
          tidings.rated_keys(queue, limits, moment, 'head.key'));
      ELSE
        picked := tidings.pick_of_group(queue, live, one.name, one.quantity, moment, ids, settings.has_keys, rated);
      END IF;
      share := 1 / tidings.weight_of(settings.configured, one.name);
      IF picked <> '{}' THEN
        ids := ids || picked;
        taken := taken || jsonb_build_object(one.name, coalesce((taken ->> one.name)::integer, 0) + cardinality(picked));
        INSERT INTO tidings.lane AS l (queue_name, name, pass) VALUES (queue, one.name, one.pass + cardinality(picked) * share)
        ON CONFLICT (queue_name, name) DO UPDATE SET pass = EXCLUDED.pass, shut_until = NULL;
        clock.pass := greatest(clock.pass, one.pass + (cardinality(picked) - 1) * share);
      END IF;
      IF cardinality(picked) < one.quantity THEN
        IF one.name = '' THEN
          plain_ended := true;
          UPDATE tidings.lane l SET shut_until = 'infinity' WHERE l.queue_name = queue AND l.name = '';
        ELSE
          PERFORM tidings.shut_lane(queue, live, one.name, moment, ids);
        END IF;
      END IF;
    END LOOP;
  END LOOP;
  IF clock.pass > began THEN
    UPDATE tidings.lane_clock c SET pass = clock.pass WHERE c.queue_name = queue;
    -- Where limits had no room for their whole share.
    UPDATE tidings.lane l SET pass = clock.pass
    WHERE l.queue_name = queue AND l.name = ANY (visited) AND l.shut_until IS NULL AND l.pass < clock.pass;
  END IF;

  opens_at := least(opens_at,
    (SELECT l.shut_until FROM tidings.lane l
      WHERE l.queue_name = queue AND l.shut_until < 'infinity' ORDER BY l.shut_until LIMIT 1),
    CASE WHEN rated <> '' AND exhausted THEN (
      SELECT min(to_timestamp((r.tat_ms - (coalesce((e ->> 'burst')::double precision, 1) - 1)
        * (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision) / 1000))
      FROM jsonb_array_elements(limits) e JOIN tidings.rate r
        ON r.queue_name = queue AND r.per = 'orderingKey' AND r.period_ms = (e -> 'rate' ->> 'periodMs')::bigint
      WHERE e ->> 'per' = 'orderingKey' AND e ? 'rate' AND r.tat_ms > date_part('epoch', moment) * 1000) END);
  held_back := held_back OR EXISTS (SELECT FROM tidings.lane l WHERE l.queue_name = queue AND l.is_held)
    OR (target < quantity OR rated <> '') AND cardinality(ids) < quantity AND tidings.any_ready(live, NULL, moment, ids);
END
$$;

-- After a claim: what it leased is charged, and what it left out after all is given back to its lanes.
CREATE OR REPLACE FUNCTION tidings.charge(queue text, ids bigint[], left_out bigint[], leases boolean, until timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_ms constant double precision := date_part('epoch', clock_timestamp()) * 1000;
  configured constant jsonb := (SELECT q.configured FROM tidings.queue q WHERE q.queue_name = queue);
  limits constant jsonb := coalesce(configured -> 'limits', '[]');
  picked bigint[];
  reads integer[];
  lanes text[];
  keys text[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id), array_agg(read_ct), array_agg(coalesce(headers ->> 'x-tidings-group', '')),
      array_agg(headers ->> 'x-pgmq-group')
    FROM %s WHERE msg_id = ANY ($1)
  $sql$, tidings.table_of(queue)) INTO picked, reads, lanes, keys USING ids || left_out;
  IF left_out <> '{}' THEN
    UPDATE tidings.lane l SET shut_until = NULL,
      pass = greatest(l.pass - given.count / tidings.weight_of(configured, l.name), c.pass)
    FROM (
      SELECT p.lane, count(*) FROM unnest(picked, lanes) AS p (id, lane) WHERE p.id = ANY (left_out) GROUP BY 1
    ) given, tidings.lane_clock c
    WHERE c.queue_name = queue AND l.queue_name = queue AND l.name = given.lane;
  END IF;
  IF leases AND tidings.has_slots(limits) THEN
    INSERT INTO tidings.slot (queue_name, msg_id, read_ct, lane)
    SELECT queue, p.id, p.read_ct, p.lane FROM unnest(picked, reads, lanes) AS p (id, read_ct, lane) WHERE p.id = ANY (ids)
    ON CONFLICT (queue_name, msg_id) DO UPDATE SET read_ct = EXCLUDED.read_ct, lane = EXCLUDED.lane;
  END IF;
  IF limits <> '[]' THEN
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
  -- When these leases run out, their lanes are worth a look.
  UPDATE tidings.lane l SET shut_until = until
  WHERE l.queue_name = queue AND l.shut_until > until AND l.name <> '' AND l.name = ANY (lanes);
END
$$;

-- After the end of leases, or of messages that stood in the way: tells the lanes that may have something to claim now.
-- ended: whose slots are free, or null; headers: of all of them
CREATE OR REPLACE FUNCTION tidings.note_ends(queue text, ended bigint[], headers jsonb[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM tidings.slot s WHERE s.queue_name = queue AND s.msg_id = ANY (ended);
  EXECUTE format($sql$
    INSERT INTO tidings.lane_news (queue_name, name)
    SELECT $1, h ->> 'x-tidings-group' FROM unnest($2) h WHERE h ->> 'x-tidings-group' <> ''
    UNION
    SELECT $1, next.lane FROM (SELECT DISTINCT h ->> 'x-pgmq-group' AS key FROM unnest($2) h) keys
    CROSS JOIN LATERAL (
      SELECT headers ->> 'x-tidings-group' AS lane FROM %s
      WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" = keys.key
      ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
    ) next WHERE next.lane <> ''
  $sql$, tidings.table_of(queue)) USING queue, headers;
  PERFORM tidings.announce(queue, 0);
END
$$;

-- How many ready messages are in a queue, or in groups, of which limits and holds let nothing be claimed now.
CREATE OR REPLACE FUNCTION tidings.count_held_back(queue text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant regclass := tidings.table_of(queue);
  moment constant timestamptz := clock_timestamp();
  settings tidings.queue;
  limits jsonb;
  one record;
  held bigint := 0;
BEGIN
  PERFORM tidings.must('measure', queue);
  SELECT * INTO settings FROM tidings.queue q WHERE q.queue_name = queue;
  IF settings.has_lanes IS NOT TRUE THEN
    RETURN 0;
  END IF;
  limits := coalesce(settings.configured -> 'limits', '[]');
  IF (SELECT r.room FROM tidings.room_of(queue, live, limits, 'queue', '', moment) r) = 0
    OR EXISTS (
      SELECT c.held_until FROM tidings.lane_clock c WHERE c.queue_name = queue AND c.held_until > moment
      UNION ALL
      SELECT n.held_until FROM tidings.lane_news n WHERE n.queue_name = queue AND n.name IS NULL AND n.held_until > moment)
  THEN
    EXECUTE format('SELECT count(*) FROM %s WHERE vt <= $1', live) INTO held USING moment;
    RETURN held;
  END IF;
  FOR one IN EXECUTE format(
    $sql$SELECT headers ->> 'x-tidings-group' AS lane, count(*) FROM %s WHERE vt <= $1 AND %s GROUP BY 1$sql$,
    live, tidings.grouped_expression()) USING moment
  LOOP
    IF (SELECT r.room FROM tidings.room_of(queue, live, limits, 'group', one.lane, moment) r) = 0
      OR EXISTS (
        SELECT FROM tidings.lane l WHERE l.queue_name = queue AND l.name = one.lane AND l.held_until > moment
        UNION ALL
        SELECT FROM tidings.lane_news n WHERE n.queue_name = queue AND n.name = one.lane AND n.held_until > moment)
    THEN
      held := held + one.count;
    END IF;
  END LOOP;
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
