-- Finding the messages that a claim or a pop takes next, and locking them. In which order stands in claim.sql. Of a queue with
-- lanes, this is how it takes from the lane ''; all else of them is in taking_turns.sql.

-- The body of "pick:<queue>", see of_queue.sql. Locks the next messages of a queue with keys or priorities.
-- freed: keys whose message has ended just now, which come first
-- sweep: looks at all keys; else at some after last_key, so that a claim costs the same however many keys wait
-- besides: not these; rated_periods, rated_until: of the keys only those with room, see tidings.rates_of_keys
CREATE OR REPLACE FUNCTION tidings.picking_text(queue text, live text, has_lanes boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $text$
BEGIN
  RETURN format($body$
DECLARE
  moment constant timestamptz := clock_timestamp();
  -- With priorities a sweep beside the claims does not tell what is ready.
  most constant integer := CASE WHEN NOT sweep AND NOT settings.has_priorities THEN 25 + 2 * quantity END;
  ids bigint[] := '{}';
  from_key text;
  up_to_key text;
BEGIN
  IF settings.has_priorities THEN
    ids := ARRAY(
      SELECT msg_id FROM %1$s
      WHERE headers ? 'x-tidings-priority' AND headers ->> 'x-pgmq-group' IS NULL AND %3$s BETWEEN 1 AND 999
        AND vt <= moment %4$s
      ORDER BY %3$s DESC, msg_id LIMIT quantity FOR UPDATE SKIP LOCKED);
  END IF;
  IF settings.has_keys THEN
    IF freed IS NOT NULL AND cardinality(ids) < quantity THEN
      ids := ids || ARRAY(
        SELECT msg_id FROM %1$s WHERE vt <= moment AND msg_id = ANY (ARRAY(
          SELECT head.msg_id FROM unnest(freed) AS wanted (key) CROSS JOIN LATERAL (
            SELECT wanted.key, msg_id, vt, headers FROM %1$s
            WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" = wanted.key
            ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
          ) head
          WHERE %6$s %5$s LIMIT quantity - cardinality(ids)))
        FOR UPDATE SKIP LOCKED);
    END IF;
    -- Beginning after the key that came last, then from the start.
    FOR part IN 1 .. CASE WHEN last_key IS NULL THEN 1 ELSE 2 END LOOP
      EXIT WHEN cardinality(ids) >= quantity;
      -- In the order of bytes nothing is between a text and the same with chr(1) behind it.
      from_key := coalesce(CASE part WHEN 1 THEN last_key || chr(1) END, '');
      up_to_key := CASE part WHEN 2 THEN last_key END;
      ids := ids || ARRAY(
        SELECT msg_id FROM %1$s WHERE vt <= moment AND msg_id = ANY (ARRAY(
          WITH RECURSIVE %7$s
          SELECT head.msg_id FROM head
          WHERE %6$s AND (up_to_key IS NULL OR head.key <= up_to_key) AND head.msg_id <> ALL (ids) %5$s
          LIMIT quantity - cardinality(ids)))
        FOR UPDATE SKIP LOCKED);
    END LOOP;
  END IF;
  -- By an index of its own, see tidings.index_queue, so that it does not walk over what has a key.
  IF cardinality(ids) < quantity THEN
    ids := ids || ARRAY(
      SELECT msg_id FROM %1$s
      WHERE msg_id > mark AND vt <= moment
        AND headers ->> 'x-pgmq-group' IS NULL AND (headers IS NULL OR coalesce(%3$s, 0) = 0) %4$s
      ORDER BY msg_id LIMIT quantity - cardinality(ids) FOR UPDATE SKIP LOCKED);
  END IF;
  IF settings.has_priorities AND cardinality(ids) < quantity THEN
    ids := ids || ARRAY(
      SELECT msg_id FROM %1$s
      WHERE headers ? 'x-tidings-priority' AND headers ->> 'x-pgmq-group' IS NULL AND %3$s BETWEEN -999 AND -1
        AND vt <= moment %4$s
      ORDER BY %3$s DESC, msg_id LIMIT quantity - cardinality(ids) FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN ids;
END
$body$, live, queue, tidings.priority_expression(),
    CASE WHEN has_lanes THEN format(' AND %s AND msg_id <> ALL (besides)', tidings.ungrouped_expression()) ELSE '' END,
    CASE WHEN has_lanes
      THEN format(' AND %s AND head.msg_id <> ALL (besides)%s',
        tidings.ungrouped_expression(), tidings.rated_expression(queue, 'head.key'))
      ELSE ''
    END,
    tidings.free_head_expression(queue, 'moment'), tidings.heads_expression(live, 'from_key', 'up_to_key', 'most'));
END
$text$;

-- The first message of each ordering key. For WITH RECURSIVE: walks from key to key (a loose index scan), so its cost is that
-- of the keys it passes, not of their messages. from_key, up_to_key: which keys; the second null for no bound. most: how many, or
-- null. All three are names of variables, or constants: a plan has to suit any of them.
CREATE OR REPLACE FUNCTION tidings.heads_expression(
  live text, from_key text = $$''$$, up_to_key text = 'NULL::text', most text = 'NULL::integer'
) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format($sql$head AS (
      (SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS key, msg_id, vt, headers, 1 AS n FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" >= %2$s
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1)
      UNION ALL
      SELECT next.*, head.n + 1 FROM head CROSS JOIN LATERAL (
        SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS key, msg_id, vt, headers FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" > head.key
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
      ) next
      WHERE (%3$s IS NULL OR head.key <= %3$s) AND (%4$s IS NULL OR head.n < %4$s)
    )$sql$, live, from_key, up_to_key, most)
$$;

-- Whether the first message of a key is ready. A key whose first message is leased or delayed waits. (OFFSET 0: asked for each key by
-- the index, never by walking over all that is delayed.)
CREATE OR REPLACE FUNCTION tidings.free_head_expression(queue text, moment text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format($sql$head.vt <= %2$s
    AND NOT EXISTS (
      SELECT FROM tidings.delayed d
      WHERE d.queue_name = %1$L AND d.headers ? 'x-pgmq-group'
        AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = head.key AND d.msg_id < head.msg_id OFFSET 0)$sql$, queue, moment)
$$;

-- The first messages of so many keys, those of them that are ready. Locks nothing. which: a part of a WHERE on their headers
CREATE OR REPLACE FUNCTION tidings.free_heads(queue text, live regclass, quantity integer, which text = '') RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format('WITH RECURSIVE %s SELECT ARRAY(SELECT head.msg_id FROM head WHERE %s %s LIMIT $1)',
    tidings.heads_expression(live::text), tidings.free_head_expression(queue, 'clock_timestamp()'), which)
  INTO ids USING quantity;
  RETURN ids;
END
$$;
