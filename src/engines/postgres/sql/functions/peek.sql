-- Whether the meta of a message has these texts in these fields; a number counts as its digits.
CREATE OR REPLACE FUNCTION tidings.has_meta(message jsonb, headers jsonb, wanted jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT NOT EXISTS (
    SELECT FROM jsonb_each_text(wanted) w,
      LATERAL (SELECT CASE
        WHEN tidings.is_envelope(message, headers) THEN message -> 'meta' ELSE headers -> 'x-tidings-meta'
      END -> w.key) m (value)
    WHERE jsonb_typeof(m.value) IN ('string', 'number') IS NOT TRUE OR m.value #>> '{}' <> w.value)
$$;

-- Looking at messages without changing anything, by id.
-- place: 'ready' | 'delayed' | 'leased' | 'archived'; null for all but the archive
-- after_id: only ids after it, or null; ids: only these, or null
-- meta: only messages with these texts in these fields, or null
CREATE OR REPLACE FUNCTION tidings.peek(
  queue text, place text, quantity integer, after_id bigint, ids bigint[], meta jsonb
)
RETURNS SETOF tidings.message
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seen tidings.stored[];
BEGIN
  IF place = 'archived' THEN
    EXECUTE format($sql$
      SELECT array_agg(found::tidings.stored) FROM (
        SELECT msg_id, read_ct, enqueued_at, %2$s, vt, message, headers, archived_at FROM %1$s
        WHERE ($2 IS NULL OR msg_id > $2) AND ($3 IS NULL OR msg_id = ANY ($3))
          AND ($4 IS NULL OR tidings.has_meta(message, headers, $4))
        ORDER BY msg_id LIMIT $1
      ) found
    $sql$, tidings.table_of(queue, 'a_'), tidings.last_read_or_null(queue)) INTO seen
    USING quantity, after_id, ids, meta;
  ELSE
    EXECUTE format($sql$
      SELECT array_agg(found::tidings.stored) FROM (
        SELECT msg_id, read_ct, enqueued_at, last_read_at, vt, message, headers, NULL::timestamptz FROM (
          SELECT msg_id, read_ct, enqueued_at, %2$s AS last_read_at, vt, message, headers,
            CASE WHEN vt <= clock_timestamp() THEN 'ready' WHEN read_ct = 0 THEN 'delayed' ELSE 'leased' END AS place
          FROM %1$s
          UNION ALL
          SELECT msg_id, read_ct, enqueued_at, last_read_at, due, message, headers,
            CASE WHEN due <= clock_timestamp() THEN 'ready' ELSE 'delayed' END
          FROM tidings.delayed WHERE queue_name = $5
        ) live
        WHERE ($4 IS NULL OR place = $4) AND ($2 IS NULL OR msg_id > $2) AND ($3 IS NULL OR msg_id = ANY ($3))
          AND ($6 IS NULL OR tidings.has_meta(message, headers, $6))
        ORDER BY msg_id LIMIT $1
      ) found
    $sql$, tidings.table_of(queue), tidings.last_read_or_null(queue)) INTO seen
    USING quantity, after_id, ids, place, queue, meta;
  END IF;
  RETURN QUERY SELECT * FROM tidings.to_messages(seen);
END
$$;
