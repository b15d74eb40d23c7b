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
  -- Not called in the statement: what says something else for each row keeps the messages from being read in their order.
  moment constant timestamptz := clock_timestamp();
  -- Not a function, which would cost more for every row than all the rest.
  wanted constant text := $sql$
    ($2 IS NULL OR msg_id > $2) AND ($3 IS NULL OR msg_id = ANY ($3))
    AND ($4 IS NULL OR NOT EXISTS (
      SELECT FROM jsonb_each_text($4) field
      WHERE field.value IS DISTINCT FROM CASE
        WHEN tidings.is_envelope(message, headers) THEN message -> 'meta' ELSE headers -> 'x-tidings-meta'
      END ->> field.key))
  $sql$;
BEGIN
  PERFORM tidings.must('look', queue);
  IF place = 'archived' THEN
    EXECUTE format($sql$
      SELECT array_agg(found::tidings.stored) FROM (
        SELECT msg_id, read_ct, enqueued_at, %2$s, vt, message, headers, archived_at FROM %1$s
        WHERE %3$s ORDER BY msg_id LIMIT $1
      ) found
    $sql$, tidings.table_of(queue, 'a_'), tidings.last_read_or_null(queue), wanted) INTO seen
    USING quantity, after_id, ids, meta;
  ELSE
    -- Each of the two gives a page, so that each is read by its primary key.
    EXECUTE format($sql$
      SELECT array_agg(found::tidings.stored) FROM (
        SELECT * FROM (
          (SELECT msg_id, read_ct, enqueued_at, %2$s, vt, message, headers, NULL::timestamptz FROM %1$s
          WHERE ($5 IS NULL OR $5 = 'ready' AND vt <= $7
              OR $5 = 'delayed' AND vt > $7 AND read_ct = 0 OR $5 = 'leased' AND vt > $7 AND read_ct > 0)
            AND %3$s
          ORDER BY msg_id LIMIT $1)
          UNION ALL
          (SELECT msg_id, read_ct, enqueued_at, last_read_at, due, message, headers, NULL FROM tidings.delayed
          WHERE queue_name = $6 AND ($5 IS NULL OR $5 = 'ready' AND due <= $7 OR $5 = 'delayed' AND due > $7) AND %3$s
          ORDER BY msg_id LIMIT $1)
        ) live ORDER BY msg_id LIMIT $1
      ) found
    $sql$, tidings.table_of(queue), tidings.last_read_or_null(queue), wanted) INTO seen
    USING quantity, after_id, ids, meta, place, queue, moment;
  END IF;
  RETURN QUERY SELECT * FROM tidings.to_messages(seen);
END
$$;
