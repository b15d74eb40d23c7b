-- How a claim takes from a queue with lanes: as many messages as its limits have room for, from the lanes whose turn it is. What
-- lanes are, and who changes them, stands in lanes.sql; how functions of a queue are made, in of_queue.sql.

-- Messages q of one lane, whose name is an expression: those that are ready but for these ids, and the time at which the next one is,
-- as far as that is known.
CREATE OR REPLACE FUNCTION tidings.ready_expression(name text, besides text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN format($sql$%s AND (headers ->> 'x-tidings-group') COLLATE "C" = %s AND vt <= moment AND msg_id <> ALL (%s)$sql$,
    tidings.grouped_expression(), name, besides);
END
$$;

CREATE OR REPLACE FUNCTION tidings.soonest_expression(live text, name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN format($sql$coalesce((SELECT min(vt) FROM %s
    WHERE %s AND (headers ->> 'x-tidings-group') COLLATE "C" = %s AND vt > moment), 'infinity')$sql$,
    live, tidings.grouped_expression(), name);
END
$$;

-- What picks no message whose ordering key has no room: a part of a WHERE, with the key as it is called there.
CREATE OR REPLACE FUNCTION tidings.rated_expression(queue text, key text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format($sql$ AND (rated_periods IS NULL OR NOT EXISTS (
      SELECT FROM unnest(rated_periods, rated_until) AS rated (period_ms, tat_ms) JOIN tidings.rate r
        ON r.queue_name = %L AND r.per = 'orderingKey' AND r.period_ms = rated.period_ms AND r.key = %s AND r.tat_ms > rated.tat_ms
    ))$sql$, queue, key)
$$;

-- From which time of a key on it has no room, for each rate of ordering keys; null if there is none.
CREATE OR REPLACE FUNCTION tidings.rates_of_keys(limits jsonb, moment timestamptz, OUT periods bigint[], OUT until double precision[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  SELECT array_agg((e -> 'rate' ->> 'periodMs')::bigint),
    array_agg(date_part('epoch', moment) * 1000 + 0.001 + (coalesce((e ->> 'burst')::double precision, 1) - 1)
      * (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision)
  INTO periods, until FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = 'orderingKey' AND e ? 'rate';
END
$$;

-- The body of "rooms:<queue>": for how many messages the limits of one kind have room, of the queue, or of each of these lanes
-- and in their order; null if for any number. And if for none, when they may have again, null if that is not known.
CREATE OR REPLACE FUNCTION tidings.rooms_text(queue text, live text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $text$
DECLARE
  slots constant text := format('SELECT count(*) AS number, min(q.vt) AS soonest
    FROM tidings.slot s JOIN %s q ON q.msg_id = s.msg_id AND q.read_ct = s.read_ct AND q.vt > moment
    WHERE s.queue_name = %L', live, queue);
BEGIN
  RETURN format($body$
DECLARE
  now_ms constant double precision := date_part('epoch', moment) * 1000;
  most constant bigint := (
    SELECT min((e ->> 'concurrency')::bigint) FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = kind);
  has_rates constant boolean := EXISTS (SELECT FROM jsonb_array_elements(limits) e WHERE e ->> 'per' = kind AND e ? 'rate');
BEGIN
  RETURN QUERY
  SELECT n.name, least(most - c.number, r.free)::bigint,
    greatest(CASE WHEN c.number >= most THEN c.soonest END, to_timestamp(r.opens / 1000))
  FROM unnest(lanes) WITH ORDINALITY AS n (name, place)
  LEFT JOIN LATERAL (
    SELECT counted.* FROM (%1$s) counted WHERE kind = 'queue'
    UNION ALL
    SELECT counted.* FROM (%1$s AND s.lane = n.name) counted WHERE kind = 'group'
  ) c ON most IS NOT NULL
  LEFT JOIN LATERAL (
    SELECT min(left_over.free) AS free,
      max(t.tat_ms - (figures.burst - 1) * figures.every) FILTER (WHERE left_over.free <= 0) AS opens
    FROM jsonb_array_elements(limits) e
    CROSS JOIN LATERAL (
      SELECT (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision AS every,
        coalesce((e ->> 'burst')::double precision, 1) AS burst) figures
    LEFT JOIN tidings.rate t ON t.queue_name = %2$L AND t.per = kind AND t.key = n.name
      AND t.period_ms = (e -> 'rate' ->> 'periodMs')::bigint
    CROSS JOIN LATERAL (
      -- Sums of fractions are not exact.
      SELECT floor(least(
        figures.burst - (greatest(coalesce(t.tat_ms, 0), now_ms) - now_ms - 0.001) / figures.every, 1e9)) AS free) left_over
    WHERE e ->> 'per' = kind AND e ? 'rate'
  ) r ON has_rates
  ORDER BY n.place;
END
$body$, slots, queue);
END
$text$;

-- The body of "turns:<queue>": locks the next messages, as many as the limits allow. The lanes are locked.
-- wanted: only these, which are locked; lanes play no role then
-- Returns ids; held_back: ready ones were left because of limits or holds, or since nothing is read ahead; exhausted: nothing
-- else could be claimed; opens_at: when to come again, not always where all was claimed that was asked for
CREATE OR REPLACE FUNCTION tidings.turns_text(queue text, live text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $text$
DECLARE
  grouped constant text := tidings.grouped_expression();
  priority constant text := tidings.priority_expression();
  -- To begin a statement costs by its length, also for what it does not come to. So this is twice there, with and without ordering keys.
  picking constant text := $part$SELECT array_agg(found.msg_id), array_agg(t.n::integer) INTO picked, places
      FROM unnest(names, quantities) WITH ORDINALITY AS t (name, quantity, n) CROSS JOIN LATERAL (
        SELECT q.msg_id FROM %1$s q
        WHERE %2$s AND (headers ->> 'x-tidings-group') COLLATE "C" = t.name AND vt <= moment AND msg_id <> ALL (ids) %3$s
        ORDER BY (headers ->> 'x-tidings-group') COLLATE "C", coalesce(%4$s, 0) DESC, msg_id
        LIMIT t.quantity FOR UPDATE OF q SKIP LOCKED
      ) found;$part$;
  is_first_of_key constant text := format($part$AND (headers ->> 'x-pgmq-group' IS NULL OR NOT EXISTS (
          SELECT FROM %1$s e
          WHERE e.headers ? 'x-pgmq-group'
            AND (e.headers ->> 'x-pgmq-group') COLLATE "C" = (q.headers ->> 'x-pgmq-group') COLLATE "C" AND e.msg_id < q.msg_id
          UNION ALL
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = %2$L AND d.headers ? 'x-pgmq-group'
            AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = (q.headers ->> 'x-pgmq-group') COLLATE "C"
            AND d.msg_id < q.msg_id) %3$s)$part$, live, queue,
    tidings.rated_expression(queue, $sql$(q.headers ->> 'x-pgmq-group')$sql$));
BEGIN
  RETURN format($body$
<<turns>>
DECLARE
  moment constant timestamptz := clock_timestamp();
  limits constant jsonb := coalesce(settings.configured -> 'limits', '[]');
  weights constant jsonb := coalesce(settings.configured -> 'weights', '{}');
  is_limited_by_group constant boolean := limits @> '[{"per": "group"}]';
  -- When these leases run out, their lanes are worth a look.
  lease_end constant timestamptz := CASE WHEN lease_ms > 0 THEN moment + lease_ms * interval '1 millisecond' END;
  began double precision;
  pass double precision := clock.pass;
  held_until timestamptz := clock.held_until;
  heard text[];
  holds timestamptz[];
  target integer := quantity;
  rated_periods bigint[];
  rated_until double precision[];
  names text[];
  passes double precision[];
  rooms bigint[];
  quantities integer[];
  full_names text[];
  full_opens timestamptz[];
  plain_quantity integer;
  plain_pass double precision;
  plain_is_open boolean;
  plain_ended boolean := false;
  missing integer;
  picked bigint[];
  places integer[];
  counts integer[];
  share double precision;
  taken jsonb := '{}';
  visited text[] := '{}';
BEGIN
  ids := '{}';
  held_back := false;
  exhausted := false;
  began := pass;
  -- What was told since the last claim, and the lanes whose time has come.
  WITH heard AS (
    DELETE FROM tidings.lane_news n WHERE n.ctid = ANY (ARRAY(
      SELECT t.ctid FROM tidings.lane_news t WHERE t.queue_name = %2$L LIMIT 10000))
    RETURNING n.name, n.held_until
  )
  SELECT array_agg(m.name), array_agg(m.held_until) INTO heard, holds
  FROM (SELECT h.name, max(h.held_until) AS held_until FROM heard h GROUP BY h.name) m;
  IF array_position(heard, NULL) IS NOT NULL THEN
    held_until := greatest(held_until, holds[array_position(heard, NULL)]);
    UPDATE tidings.lane_clock c SET held_until = turns.held_until WHERE c.queue_name = %2$L;
  END IF;
  IF heard IS NOT NULL THEN
    INSERT INTO tidings.lane AS l (queue_name, name, pass, held_until, shut_until, is_held)
    SELECT %2$L, m.name, began, m.held_until, m.held_until, m.held_until IS NOT NULL
    FROM unnest(heard, holds) AS m (name, held_until) WHERE m.name IS NOT NULL
    ON CONFLICT (queue_name, name) DO UPDATE SET
      held_until = greatest(l.held_until, EXCLUDED.held_until),
      shut_until = greatest(l.held_until, EXCLUDED.held_until),
      is_held = greatest(l.held_until, EXCLUDED.held_until) IS NOT NULL,
      pass = greatest(l.pass, EXCLUDED.pass)
    WHERE l.shut_until IS NOT NULL OR EXCLUDED.held_until IS NOT NULL OR l.pass < EXCLUDED.pass;
  END IF;
  UPDATE tidings.lane l SET shut_until = NULL, is_held = false, held_until = NULL, pass = greatest(l.pass, began)
  WHERE l.queue_name = %2$L AND l.shut_until <= moment;
  IF limits @> '[{"per": "orderingKey"}]' THEN
    SELECT r.periods, r.until INTO rated_periods, rated_until FROM tidings.rates_of_keys(limits, moment) r;
  END IF;
  IF clock.counting_until > moment AND tidings.has_slots(limits) THEN
    -- Not those that a transaction is about to end: it would be waited for.
    INSERT INTO tidings.slot AS s (queue_name, msg_id, read_ct, lane)
    SELECT %2$L, msg_id, read_ct, coalesce(headers ->> 'x-tidings-group', '') FROM %1$s q
    WHERE vt > moment AND read_ct > 0
      AND NOT EXISTS (SELECT FROM tidings.slot s WHERE s.queue_name = %2$L AND s.msg_id = q.msg_id AND s.read_ct = q.read_ct)
    ON CONFLICT (queue_name, msg_id) DO UPDATE SET read_ct = EXCLUDED.read_ct WHERE s.read_ct <> EXCLUDED.read_ct;
  END IF;

  IF held_until > moment THEN
    target := 0;
    opens_at := held_until;
  ELSIF limits <> '[]' THEN
    target := least(target, at_once);
    IF limits @> '[{"per": "queue"}]' THEN
      SELECT least(target, CASE WHEN r.room < 0 THEN 0 ELSE r.room END), r.opens_at INTO target, opens_at
      FROM tidings.%3$I(limits, 'queue', '{""}', moment) r;
    END IF;
  END IF;

  IF wanted IS NOT NULL THEN
    SELECT coalesce(array_agg(chosen.msg_id), '{}'), array_agg(DISTINCT chosen.lane) INTO ids, names FROM (
      SELECT ordered.msg_id, ordered.lane FROM (
        SELECT msg_id, coalesce(headers ->> 'x-tidings-group', '') AS lane,
          row_number() OVER (ORDER BY coalesce(%12$s, 0) DESC, msg_id) AS place,
          row_number() OVER (PARTITION BY coalesce(headers ->> 'x-tidings-group', '') ORDER BY coalesce(%12$s, 0) DESC, msg_id) AS nth
        FROM %1$s q WHERE msg_id = ANY (wanted) %11$s
      ) ordered
      LEFT JOIN (
        SELECT r.lane, CASE
          WHEN EXISTS (SELECT FROM tidings.lane l WHERE l.queue_name = %2$L AND l.name = r.lane AND l.held_until > moment) THEN 0
          ELSE r.room END AS room
        FROM tidings.%3$I(limits, 'group', ARRAY(
          SELECT DISTINCT headers ->> 'x-tidings-group' FROM %1$s WHERE msg_id = ANY (wanted) AND %5$s), moment) r
      ) rooms ON rooms.lane = ordered.lane
      WHERE (ordered.nth <= rooms.room) IS NOT FALSE ORDER BY ordered.place LIMIT target
    ) chosen;
    UPDATE tidings.lane l SET shut_until = lease_end
    WHERE l.queue_name = %2$L AND l.name <> '' AND l.name = ANY (names) AND l.shut_until > lease_end;
    held_back := cardinality(ids) < cardinality(wanted);
    IF held_back THEN
      opens_at := least(opens_at, (
        SELECT min(r.opens_at) FROM tidings.%3$I(limits, 'group', ARRAY(
          SELECT DISTINCT headers ->> 'x-tidings-group' FROM %1$s WHERE msg_id = ANY (wanted) AND %5$s), moment) r));
    END IF;
    RETURN;
  END IF;

  WHILE cardinality(ids) < target LOOP
    SELECT coalesce(array_agg(near.name ORDER BY near.pass), '{}'), coalesce(array_agg(near.pass ORDER BY near.pass), '{}')
    INTO names, passes FROM (
      SELECT l.name, l.pass FROM tidings.lane l
      -- None is behind the clock; there the index has what was open before, until vacuum comes.
      WHERE l.queue_name = %2$L AND l.shut_until IS NULL AND l.name <> '' AND l.pass >= began
      ORDER BY l.pass LIMIT CASE WHEN full_names IS NOT NULL THEN 100 ELSE least(target - cardinality(ids), 100) END
    ) near;
    rooms := NULL;
    full_names := NULL;
    IF is_limited_by_group AND names <> '{}' THEN
      SELECT array_agg(l.name ORDER BY l.pass) FILTER (WHERE l.is_free), array_agg(l.pass ORDER BY l.pass) FILTER (WHERE l.is_free),
        array_agg(l.room ORDER BY l.pass) FILTER (WHERE l.is_free),
        array_agg(l.name ORDER BY l.pass) FILTER (WHERE NOT l.is_free), array_agg(l.opens_at ORDER BY l.pass) FILTER (WHERE NOT l.is_free)
      INTO names, passes, rooms, full_names, full_opens FROM (
        SELECT e.*, (e.room > 0) IS NOT FALSE AS is_free FROM (
          SELECT o.name, o.pass, o.room - coalesce((taken ->> o.name)::integer, 0) AS room, o.opens_at
          FROM ROWS FROM (unnest(names), unnest(passes), tidings.%3$I(limits, 'group', names, moment))
            AS o (name, pass, lane, room, opens_at)
        ) e
      ) l;
      IF full_names IS NOT NULL THEN
        UPDATE tidings.lane l SET is_held = f.waits,
          shut_until = least(CASE WHEN f.waits THEN coalesce(f.opens_at, moment + interval '1 second') ELSE %7$s END,
            CASE WHEN taken ? l.name THEN lease_end END)
        FROM (
          SELECT t.name, t.opens_at, EXISTS (SELECT FROM %1$s WHERE %6$s) AS waits
          FROM unnest(full_names, full_opens) AS t (name, opens_at)
        ) f
        WHERE l.queue_name = %2$L AND l.name = f.name;
        CONTINUE WHEN names IS NULL;
      END IF;
      visited := visited || names;
    END IF;
    IF NOT plain_ended AND plain_pass IS NULL THEN
      SELECT l.shut_until IS NULL, CASE WHEN l.shut_until IS NULL THEN l.pass ELSE greatest(l.pass, began) END
      INTO plain_is_open, plain_pass FROM tidings.lane l WHERE l.queue_name = %2$L AND l.name = '';
      plain_pass := coalesce(plain_pass, began);
      -- Nobody tells of messages without a group. Where there are none, a look costs less than a turn.
      IF names <> '{}' AND plain_is_open IS NOT TRUE AND NOT settings.has_keys AND NOT settings.has_priorities THEN
        plain_ended := NOT EXISTS (
          SELECT FROM %1$s WHERE msg_id > mark AND vt <= moment AND headers ->> 'x-pgmq-group' IS NULL AND %10$s);
      END IF;
    ELSIF plain_ended AND names = '{}' THEN
      exhausted := true;
      EXIT;
    END IF;
    missing := target - cardinality(ids);
    quantities := NULL;
    plain_quantity := 0;
    IF names = '{}' THEN
      plain_quantity := missing;
    ELSIF missing = 1 OR cardinality(names) = 1 AND plain_ended THEN
      IF plain_ended OR passes[1] <= plain_pass THEN
        names := names[1:1];
        quantities := ARRAY[least(missing, rooms[1])];
      ELSE
        plain_quantity := missing;
      END IF;
    ELSE
      -- Each lane gets one message after the other at its pass; what comes first of all that is what they get. Up to a pass that
      -- gives all of them their share; what is missing then comes with the next turn of the loop.
      SELECT array_agg(turn.name) FILTER (WHERE turn.name <> ''), array_agg(turn.pass) FILTER (WHERE turn.name <> ''),
        array_agg(turn.quantity) FILTER (WHERE turn.name <> ''), coalesce(max(turn.quantity) FILTER (WHERE turn.name = ''), 0)
      INTO names, passes, quantities, plain_quantity FROM (
        SELECT start.name, start.pass, count(*)::integer AS quantity FROM (
          SELECT sharing.name, sharing.pass
          FROM (
            SELECT lanes.*, coalesce(1 / (weights ->> lanes.name)::double precision, 1) AS share,
              max(lanes.pass) OVER () + missing / count(*) OVER () AS up_to
            FROM (
              SELECT o.name, o.pass, o.room FROM unnest(names, passes, rooms) AS o (name, pass, room)
              UNION ALL
              SELECT '', plain_pass, NULL WHERE NOT plain_ended
            ) lanes
          ) sharing
          CROSS JOIN LATERAL generate_series(0, least(
            sharing.room - 1, missing - 1, floor((sharing.up_to - sharing.pass) / sharing.share))::integer) n
          ORDER BY sharing.pass + n * sharing.share LIMIT missing
        ) start GROUP BY start.name, start.pass
      ) turn;
    END IF;
    IF plain_quantity > 0 THEN
      picked := tidings.%4$I(
        settings, plain_quantity, mark, last_key, freed, sweep, ids, rated_periods, rated_until);
      ids := ids || picked;
      plain_ended := cardinality(picked) < plain_quantity;
      IF picked <> '{}' OR plain_is_open THEN
        share := coalesce(1 / (weights ->> '')::double precision, 1);
        IF picked <> '{}' THEN
          pass := greatest(pass, plain_pass + (cardinality(picked) - 1) * share);
          plain_pass := plain_pass + cardinality(picked) * share;
        END IF;
        plain_is_open := NOT plain_ended;
        INSERT INTO tidings.lane AS l (queue_name, name, pass, shut_until)
        VALUES (%2$L, '', plain_pass, CASE WHEN plain_ended THEN timestamptz 'infinity' END)
        ON CONFLICT (queue_name, name) DO UPDATE SET pass = EXCLUDED.pass, shut_until = EXCLUDED.shut_until;
      END IF;
    END IF;
    IF quantities IS NOT NULL THEN
      IF settings.has_keys THEN
        %8$s
      ELSE
        %9$s
      END IF;
      counts := '{}';
      FOR i IN 1 .. cardinality(names) LOOP
        counts[i] := coalesce(cardinality(array_positions(places, i)), 0);
        share := coalesce(1 / (weights ->> names[i])::double precision, 1);
        IF counts[i] > 0 THEN
          pass := greatest(pass, passes[i] + (counts[i] - 1) * share);
          passes[i] := passes[i] + counts[i] * share;
        END IF;
      END LOOP;
      IF is_limited_by_group THEN
        taken := taken || (
          SELECT jsonb_object_agg(t.name, coalesce((taken ->> t.name)::integer, 0) + t.count)
          FROM unnest(names, counts) AS t (name, count));
      END IF;
      ids := ids || picked;
      UPDATE tidings.lane l SET pass = t.pass FROM unnest(names, passes, counts) AS t (name, pass, count)
      WHERE l.queue_name = %2$L AND l.name = t.name AND t.count > 0;
      IF coalesce(cardinality(picked), 0) < (SELECT sum(q) FROM unnest(quantities) q) THEN
        -- Shut until the next comes up, where there are no more; others are locked, or wait for their ordering key.
        UPDATE tidings.lane l SET shut_until = least(%7$s,
          CASE WHEN EXISTS (SELECT FROM %1$s WHERE %6$s) THEN moment + interval '1 second' END,
          CASE WHEN t.count > 0 THEN lease_end END)
        FROM unnest(names, quantities, counts) AS t (name, quantity, count)
        WHERE l.queue_name = %2$L AND l.name = t.name AND t.count < t.quantity;
      END IF;
    END IF;
  END LOOP;
  IF pass > began THEN
    UPDATE tidings.lane_clock c SET pass = turns.pass WHERE c.queue_name = %2$L;
    IF visited <> '{}' THEN
      -- Where limits had no room for their whole share.
      UPDATE tidings.lane l SET pass = turns.pass
      WHERE l.queue_name = %2$L AND l.name = ANY (visited) AND l.shut_until IS NULL AND l.pass < turns.pass;
    END IF;
  END IF;

  held_back := EXISTS (SELECT FROM tidings.lane l WHERE l.queue_name = %2$L AND l.is_held)
    OR (target < quantity OR rated_periods IS NOT NULL) AND cardinality(ids) < quantity
      AND EXISTS (SELECT FROM %1$s WHERE msg_id > 0 AND vt <= moment AND msg_id <> ALL (ids));
  IF held_back OR sweep OR cardinality(ids) < quantity THEN
    opens_at := least(opens_at,
      (SELECT l.shut_until FROM tidings.lane l
        WHERE l.queue_name = %2$L AND l.shut_until < 'infinity' ORDER BY l.shut_until LIMIT 1),
      CASE WHEN rated_periods IS NOT NULL AND exhausted THEN (
        SELECT min(to_timestamp((r.tat_ms - (coalesce((e ->> 'burst')::double precision, 1) - 1)
          * (e -> 'rate' ->> 'periodMs')::double precision / (e -> 'rate' ->> 'count')::double precision) / 1000))
        FROM jsonb_array_elements(limits) e JOIN tidings.rate r
          ON r.queue_name = %2$L AND r.per = 'orderingKey' AND r.period_ms = (e -> 'rate' ->> 'periodMs')::bigint
        WHERE e ->> 'per' = 'orderingKey' AND e ? 'rate' AND r.tat_ms > date_part('epoch', moment) * 1000) END);
  END IF;
END
$body$, live, queue, 'rooms:' || queue, 'pick:' || queue, grouped, tidings.ready_expression('t.name', 'ids'),
    tidings.soonest_expression(live, 'l.name'), format(picking, live, grouped, is_first_of_key, priority),
    format(picking, live, grouped, '', priority), tidings.ungrouped_expression(),
    tidings.rated_expression(queue, $sql$(q.headers ->> 'x-pgmq-group')$sql$), priority);
END
$text$;
