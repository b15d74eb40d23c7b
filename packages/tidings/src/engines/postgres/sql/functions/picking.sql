-- Finding the messages that a claim or a pop takes next, and locking them. In which order stands in claim.sql.

-- Locks the next messages of a queue with keys or priorities. Returns their ids.
-- freed: keys whose message has ended just now, which come first
-- sweep: looks at all keys; else at some after last_key, so that a claim costs the same however many keys wait
-- which, rated: parts of a WHERE that say which messages, by their headers, and which of their keys, head.key
CREATE OR REPLACE FUNCTION tidings.pick(
  queue text, settings tidings.queue, quantity integer, mark bigint, last_key text, freed text[], sweep boolean,
  which text = '', rated text = ''
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.table_of(queue);
  -- With priorities a sweep beside the claims does not tell what is ready.
  most constant integer := CASE WHEN NOT sweep AND NOT settings.has_priorities THEN 25 + 2 * quantity END;
  ids bigint[] := '{}';
BEGIN
  IF settings.has_priorities THEN
    ids := tidings.pick_priority(live, quantity, 1, 999, which);
  END IF;
  IF settings.has_keys THEN
    IF freed IS NOT NULL THEN
      ids := ids || tidings.lock_heads(live, tidings.heads_of(queue, live, freed, quantity - cardinality(ids), which, rated));
    END IF;
    -- Beginning after the key that came last, then from the start.
    ids := ids || tidings.lock_heads(
      live, tidings.free_heads(queue, live, quantity - cardinality(ids), last_key, NULL, most, ids, which, rated));
    IF last_key IS NOT NULL THEN
      ids := ids || tidings.lock_heads(
        live, tidings.free_heads(queue, live, quantity - cardinality(ids), NULL, last_key, most, ids, which, rated));
    END IF;
  END IF;
  ids := ids || tidings.pick_plain(live, quantity - cardinality(ids), mark, which);
  IF settings.has_priorities THEN
    ids := ids || tidings.pick_priority(live, quantity - cardinality(ids), -999, -1, which);
  END IF;
  RETURN ids;
END
$$;

-- By an index of its own, see tidings.index_queue, so that it does not walk over what has a key.
CREATE OR REPLACE FUNCTION tidings.pick_plain(live regclass, quantity integer, mark bigint, which text) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT msg_id FROM %1$s
      WHERE msg_id > $1 AND vt <= $3
        AND headers ->> 'x-pgmq-group' IS NULL AND (headers IS NULL OR coalesce(%2$s, 0) = 0) %3$s
      ORDER BY msg_id LIMIT $2 FOR UPDATE SKIP LOCKED
    ) ready
  $sql$, live, tidings.priority_expression(), which) INTO ids USING mark, quantity, clock_timestamp();
  RETURN coalesce(ids, '{}');
END
$$;

CREATE OR REPLACE FUNCTION tidings.pick_priority(
  live regclass, quantity integer, lowest integer, highest integer, which text
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT msg_id FROM %1$s
      WHERE headers ? 'x-tidings-priority' AND headers ->> 'x-pgmq-group' IS NULL
        AND %2$s BETWEEN $1 AND $2
        AND vt <= clock_timestamp() %3$s
      ORDER BY %2$s DESC, msg_id LIMIT $3 FOR UPDATE SKIP LOCKED
    ) ready
  $sql$, live, tidings.priority_expression(), which) INTO ids USING lowest, highest, quantity;
  RETURN coalesce(ids, '{}');
END
$$;

-- Locks messages that are the first of their ordering keys.
CREATE OR REPLACE FUNCTION tidings.lock_heads(live regclass, heads bigint[]) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  IF heads = '{}' THEN
    RETURN heads;
  END IF;
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT q.msg_id FROM %1$s q WHERE q.msg_id = ANY ($1) AND q.vt <= clock_timestamp() FOR UPDATE SKIP LOCKED
    ) locked
  $sql$, live) INTO ids USING heads;
  RETURN coalesce(ids, '{}');
END
$$;

-- The first messages of these keys, if they are ready.
CREATE OR REPLACE FUNCTION tidings.heads_of(
  queue text, live regclass, keys text[], quantity integer, which text, rated text
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(msg_id) FROM (
      SELECT head.msg_id FROM unnest($1) AS wanted (key) CROSS JOIN LATERAL (
        SELECT wanted.key, msg_id, vt, headers FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" = wanted.key
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
      ) head
      WHERE head.vt <= clock_timestamp() %2$s %3$s
        AND NOT EXISTS (
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = $3 AND d.headers ? 'x-pgmq-group'
            AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = wanted.key AND d.msg_id < head.msg_id)
      LIMIT $2
    ) free
  $sql$, live, which, rated) INTO ids USING keys, greatest(quantity, 0), queue;
  RETURN coalesce(ids, '{}');
END
$$;

-- The first message of each ordering key. For WITH RECURSIVE: walks from key to key (a loose index scan), so its cost is that
-- of the keys it passes, not of their messages. $1, $2: after and up to which key; null for no bound. $3: how many, or null.
CREATE OR REPLACE FUNCTION tidings.heads_expression(live regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format($sql$head AS (
      (SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS key, msg_id, vt, headers, 1 AS n FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" IS NOT NULL
          AND ($1 IS NULL OR (headers ->> 'x-pgmq-group') COLLATE "C" > $1)
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1)
      UNION ALL
      SELECT next.*, head.n + 1 FROM head CROSS JOIN LATERAL (
        SELECT (headers ->> 'x-pgmq-group') COLLATE "C" AS key, msg_id, vt, headers FROM %1$s
        WHERE headers ? 'x-pgmq-group' AND (headers ->> 'x-pgmq-group') COLLATE "C" > head.key
        ORDER BY (headers ->> 'x-pgmq-group') COLLATE "C", msg_id LIMIT 1
      ) next
      WHERE ($2 IS NULL OR head.key <= $2) AND ($3 IS NULL OR head.n < $3)
    )$sql$, live)
$$;

-- The first message of each ordering key, if it is ready. A key whose first message is leased or delayed waits.
-- after_key, up_to_key: which keys; null for no bound. most: at how many keys it looks. besides: messages that are not wanted
CREATE OR REPLACE FUNCTION tidings.free_heads(
  queue text, live regclass, quantity integer, after_key text = NULL, up_to_key text = NULL, most integer = NULL,
  besides bigint[] = '{}', which text = '', rated text = ''
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids bigint[];
BEGIN
  IF quantity <= 0 THEN
    RETURN '{}';
  END IF;
  EXECUTE format($sql$
    WITH RECURSIVE %1$s
    SELECT array_agg(msg_id) FROM (
      SELECT head.msg_id FROM head
      WHERE head.vt <= clock_timestamp() AND ($2 IS NULL OR head.key <= $2) AND head.msg_id <> ALL ($6) %2$s %3$s
        AND NOT EXISTS (
          SELECT FROM tidings.delayed d
          WHERE d.queue_name = $5 AND d.headers ? 'x-pgmq-group'
            AND (d.headers ->> 'x-pgmq-group') COLLATE "C" = head.key AND d.msg_id < head.msg_id)
      LIMIT $4
    ) free
  $sql$, tidings.heads_expression(live), which, rated) INTO ids USING after_key, up_to_key, most, quantity, queue, besides;
  RETURN coalesce(ids, '{}');
END
$$;
