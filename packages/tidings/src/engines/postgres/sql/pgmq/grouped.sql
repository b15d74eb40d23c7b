-- Reading in the order of groups. A group is what has the same text in the header x-pgmq-group, or none. Its turn comes
-- by its first message of all: while that is hidden, the group waits.
--
-- Most often the groups whose turn it is are among the first messages of the queue, where the first of each group is the
-- first of all. Where these do not give enough, the cost is that of the groups, not of their messages: the first ones
-- are found by walking from group to group (a loose index scan). Who has locked the first message has the group: no lock
-- beside that is needed, and no queue has anything to do with another.

-- What tells the messages without a group.
CREATE OR REPLACE FUNCTION pgmq._tidings_ungrouped_expression() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $sql$coalesce(headers ->> 'x-pgmq-group', '_default_fifo_group') = '_default_fifo_group'$sql$
$$;

-- The groups with something to read whose first messages are among the first `most` of the queue, in their order.
-- is_all: there are no more messages; names: null for the group without one
CREATE OR REPLACE FUNCTION pgmq._tidings_first_groups(
  live text, moment timestamptz, most integer, OUT names text[], OUT heads bigint[], OUT is_all boolean
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format($sql$
    WITH first AS MATERIALIZED (
      SELECT msg_id, vt, CASE WHEN NOT %2$s THEN headers ->> 'x-pgmq-group' END COLLATE "C" AS name
      FROM pgmq.%1$I ORDER BY msg_id LIMIT $2
    ), head AS (
      SELECT DISTINCT ON (name) name, msg_id, vt FROM first ORDER BY name, msg_id
    )
    SELECT coalesce(array_agg(name ORDER BY msg_id), '{}'), coalesce(array_agg(msg_id ORDER BY msg_id), '{}'),
      (SELECT count(*) < $2 FROM first)
    FROM head WHERE vt <= $1
  $sql$, live, pgmq._tidings_ungrouped_expression()) INTO names, heads, is_all USING moment, most;
END
$$;

-- All named groups with something to read, in the order of their first messages.
CREATE OR REPLACE FUNCTION pgmq._tidings_ready_groups(
  live text, moment timestamptz, OUT names text[], OUT heads bigint[]
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  EXECUTE format($sql$
    WITH RECURSIVE head AS (
      (SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS name, msg_id, vt FROM pgmq.%1$I
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" IS NOT NULL
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1)
      UNION ALL
      SELECT next.* FROM head CROSS JOIN LATERAL (
        SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS name, msg_id, vt FROM pgmq.%1$I
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" > head.name
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
      ) next
    )
    SELECT coalesce(array_agg(name ORDER BY msg_id), '{}'), coalesce(array_agg(msg_id ORDER BY msg_id), '{}') FROM head
    WHERE vt <= $1 AND name <> '_default_fifo_group'
  $sql$, live) INTO names, heads USING moment;
END
$$;

-- The first message of the group without a name, if it lies between these two, and whether it can be read.
CREATE OR REPLACE FUNCTION pgmq._tidings_unnamed_head(
  live text, moment timestamptz, after_id bigint, before_id bigint, OUT id bigint, OUT is_ready boolean
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format($sql$
    SELECT msg_id, vt <= $1 FROM pgmq.%I
    WHERE msg_id > $2 AND ($3 IS NULL OR msg_id < $3) AND %s ORDER BY msg_id LIMIT 1
  $sql$, live, pgmq._tidings_ungrouped_expression()) INTO id, is_ready USING moment, after_id, before_id;
END
$$;

-- Locks the first messages of groups, of each up to the first that is hidden or that somebody else has.
-- names, heads: the groups and their first messages; the one without a name is null
-- depth: how many of each; quantity: how many of all, null for no limit; by_layer: the first of each before the second
-- Returns a row a message: its group, counted from 1, how many of the group come before it, and its id.
CREATE OR REPLACE FUNCTION pgmq._tidings_lock_groups(
  live text, names text[], heads bigint[], moment timestamptz, depth integer, quantity integer, by_layer boolean
) RETURNS TABLE (at bigint, layer bigint, id bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY EXECUTE format($sql$
    WITH next AS MATERIALIZED (
      SELECT g.at, m.msg_id, row_number() OVER own AS layer, bool_and(m.vt <= $3) OVER own AS is_visible
      FROM unnest($1, $2) WITH ORDINALITY AS g (name, head, at) CROSS JOIN LATERAL (
        (SELECT msg_id, vt FROM pgmq.%1$I
          WHERE g.name IS NOT NULL AND headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" = g.name
            AND msg_id >= g.head
          ORDER BY msg_id LIMIT $4)
        UNION ALL
        (SELECT msg_id, vt FROM pgmq.%1$I WHERE g.name IS NULL AND %2$s AND msg_id >= g.head ORDER BY msg_id LIMIT $4)
      ) m
      WINDOW own AS (PARTITION BY g.at ORDER BY m.msg_id)
    ), wanted AS MATERIALIZED (
      SELECT n.at, n.layer, n.msg_id FROM next n WHERE n.is_visible
      ORDER BY CASE WHEN $6 THEN n.layer END, n.at, n.layer LIMIT $5
    ), locked AS MATERIALIZED (
      SELECT msg_id FROM pgmq.%1$I
      WHERE msg_id = ANY (ARRAY(SELECT msg_id FROM wanted)) AND vt <= $3 FOR UPDATE SKIP LOCKED
    )
    SELECT o.at, o.layer, o.msg_id FROM (
      SELECT w.at, w.layer, w.msg_id, bool_and(l.msg_id IS NOT NULL) OVER (PARTITION BY w.at ORDER BY w.layer) AS all_before
      FROM wanted w LEFT JOIN locked l USING (msg_id)
    ) o
    WHERE o.all_before ORDER BY CASE WHEN $6 THEN o.layer END, o.at, o.layer
  $sql$, live, pgmq._tidings_ungrouped_expression()) USING names, heads, moment, depth, quantity, by_layer;
END
$$;

-- Locks messages of groups, in the order in which they are returned.
-- quantity: null for no limit
-- style: 'fill' takes all of a group before the next one, 'heads' one of each group, 'layers' one of each, then the second
-- of each, and so on
CREATE OR REPLACE FUNCTION pgmq._tidings_pick_grouped(live text, quantity integer, style text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
  -- Groups in the order of their first messages; looked at from `next` on, so many at a time.
  names text[];
  heads bigint[];
  is_all boolean;
  next integer;
  size integer;
  -- Up to where the group without a name was looked for; null once it was found, or cannot be any more.
  searched_to bigint;
  unnamed record;
  before integer;
  ids bigint[] := '{}';
  got record;
  -- Of the groups that nobody else has.
  our_names text[] := '{}';
  our_heads bigint[] := '{}';
  depth integer;
  has_more boolean := true;
BEGIN
  SELECT * INTO names, heads, is_all
  FROM pgmq._tidings_first_groups(live, moment, greatest(1000, quantity * 2));
  FOR attempt IN 1..2 LOOP
    next := 1;
    size := CASE WHEN style = 'fill' THEN 1 ELSE coalesce(quantity, 1000000) END;
    LOOP
      EXIT WHEN cardinality(ids) >= quantity;
      IF searched_to IS NOT NULL THEN
        SELECT * INTO unnamed FROM pgmq._tidings_unnamed_head(live, moment, searched_to, heads[next + size - 1]);
        searched_to := CASE WHEN unnamed.id IS NULL THEN heads[next + size - 1] END;
        IF unnamed.is_ready THEN
          before := (SELECT count(*) FROM unnest(heads) h WHERE h < unnamed.id);
          names := names[:before] || NULL::text || names[before + 1:];
          heads := heads[:before] || unnamed.id || heads[before + 1:];
        END IF;
      END IF;
      EXIT WHEN next > cardinality(heads);
      SELECT array_agg(l.id ORDER BY l.n) AS ids,
        array_agg(names[next + l.at - 1] ORDER BY l.n) FILTER (WHERE l.layer = 1) AS names,
        array_agg(l.id ORDER BY l.n) FILTER (WHERE l.layer = 1) AS heads
      INTO got
      FROM pgmq._tidings_lock_groups(live, names[next:next + size - 1], heads[next:next + size - 1], moment,
        CASE WHEN style = 'fill' THEN quantity - cardinality(ids) ELSE 1 END, quantity - cardinality(ids), false)
        WITH ORDINALITY AS l (at, layer, id, n);
      ids := ids || got.ids;
      our_names := our_names || got.names;
      our_heads := our_heads || got.heads;
      next := next + size;
      size := size * 2;
    END LOOP;
    EXIT WHEN attempt = 2 OR is_all OR cardinality(ids) >= quantity;
    -- Once more from the start, with all groups; what is locked already can be locked again.
    SELECT * INTO names, heads FROM pgmq._tidings_ready_groups(live, moment);
    searched_to := -9223372036854775808;
    ids := '{}';
    our_names := '{}';
    our_heads := '{}';
  END LOOP;

  -- Deeper and deeper, until there is enough or no group has more.
  IF style = 'layers' AND ids <> '{}' THEN
    depth := ceil(quantity / cardinality(ids)::numeric);
    WHILE cardinality(ids) < quantity AND has_more LOOP
      SELECT array_agg(l.id ORDER BY l.n), bool_or(l.layer = depth) INTO ids, has_more
      FROM pgmq._tidings_lock_groups(live, our_names, our_heads, moment, depth, quantity, true)
        WITH ORDINALITY AS l (at, layer, id, n);
      depth := depth * 2;
    END LOOP;
  END IF;
  RETURN ids;
END
$$;

-- Reads what was picked, in that order.
CREATE OR REPLACE FUNCTION pgmq._tidings_read_grouped(queue_name text, vt integer, qty integer, style text)
RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('receive', queue_name);
BEGIN
  -- What Tidings keeps elsewhere until it is due holds its group up, like what is hidden here.
  PERFORM pgmq._tidings_recall(lower(queue_name), NULL);
  RETURN QUERY EXECUTE format($sql$
    WITH taken AS (
      UPDATE pgmq.%I SET
        vt = clock_timestamp() + $1 * interval '1 second', read_ct = read_ct + 1, last_read_at = clock_timestamp()
      WHERE msg_id = ANY ($2)
      RETURNING msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers
    )
    SELECT * FROM taken ORDER BY array_position($2, msg_id)
  $sql$, live) USING vt, pgmq._tidings_pick_grouped(live, qty, style);
END
$$;

CREATE OR REPLACE FUNCTION pgmq._tidings_refuse_negative(qty integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF qty < 0 THEN
    RAISE EXCEPTION 'LIMIT must not be negative' USING ERRCODE = 'invalid_row_count_in_limit_clause';
  END IF;
  RETURN qty;
END
$$;

-- A group is emptied before the next one.
CREATE OR REPLACE FUNCTION pgmq.read_grouped(queue_name text, vt integer, qty integer) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq._tidings_read_grouped(queue_name, vt, coalesce(pgmq._tidings_refuse_negative(qty), 0), 'fill')
$$;

-- The first of each group, then the second of each.
CREATE OR REPLACE FUNCTION pgmq.read_grouped_rr(queue_name text, vt integer, qty integer)
RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq._tidings_read_grouped(queue_name, vt, greatest(qty, 0), 'layers')
$$;

-- The first of each group.
CREATE OR REPLACE FUNCTION pgmq.read_grouped_head(queue_name text, vt integer, qty integer)
RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq._tidings_read_grouped(queue_name, vt, pgmq._tidings_refuse_negative(qty), 'heads')
$$;

-- Reads again and again until there is something. reader: the name of the function that reads
CREATE OR REPLACE FUNCTION pgmq._tidings_poll_grouped(
  reader text, queue_name text, vt integer, qty integer, max_poll_seconds integer, poll_interval_ms integer
) RETURNS SETOF pgmq.message_record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  give_up_at constant timestamptz := clock_timestamp() + max_poll_seconds * interval '1 second';
BEGIN
  WHILE clock_timestamp() < give_up_at LOOP
    RETURN QUERY EXECUTE format('SELECT * FROM pgmq.%I($1, $2, $3)', reader) USING queue_name, vt, qty;
    EXIT WHEN FOUND;
    PERFORM pg_sleep(poll_interval_ms / 1000.0);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.read_grouped_with_poll(
  queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, poll_interval_ms integer = 100
) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq._tidings_poll_grouped('read_grouped', queue_name, vt, qty, max_poll_seconds, poll_interval_ms)
$$;

CREATE OR REPLACE FUNCTION pgmq.read_grouped_rr_with_poll(
  queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, poll_interval_ms integer = 100
) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq._tidings_poll_grouped('read_grouped_rr', queue_name, vt, qty, max_poll_seconds, poll_interval_ms)
$$;

CREATE OR REPLACE FUNCTION pgmq.read_grouped_head_with_poll(
  queue_name text, vt integer, qty integer, max_poll_seconds integer = 5, poll_interval_ms integer = 100
) RETURNS SETOF pgmq.message_record
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM pgmq._tidings_poll_grouped('read_grouped_head', queue_name, vt, qty, max_poll_seconds, poll_interval_ms)
$$;

-- Upstream's index of this name holds all headers, and serves its reads little. This one finds the first messages without
-- a group, however many others there are; the groups with a name have an index from the start.
CREATE OR REPLACE FUNCTION pgmq._create_fifo_index_if_not_exists(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant text := pgmq._tidings_table('manage', queue_name);
BEGIN
  EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON pgmq.%I (msg_id) WHERE %s',
    live || '_fifo_idx', live, pgmq._tidings_ungrouped_expression());
END
$$;

CREATE OR REPLACE FUNCTION pgmq.create_fifo_index(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM pgmq._create_fifo_index_if_not_exists(queue_name);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.create_fifo_indexes_all() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one text;
BEGIN
  FOR one IN SELECT m.queue_name FROM pgmq.meta m ORDER BY m.queue_name LOOP
    PERFORM pgmq.create_fifo_index(one);
  END LOOP;
END
$$;
