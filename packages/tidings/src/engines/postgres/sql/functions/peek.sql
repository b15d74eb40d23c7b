-- Looking at messages without changing anything, by id.
-- place: 'ready' | 'delayed' | 'leased' | 'archived'; null for all but the archive
-- after_id: only ids after it, or null; ids: only these, or null
-- meta: only messages with these texts in these fields, or null
-- scan: looks at so many messages in each table, or null. Where that ends it, the last row has nothing but the id to go on after
CREATE OR REPLACE FUNCTION tidings.peek(
  queue text, place text, quantity integer, after_id bigint, ids bigint[], meta jsonb, scan integer = NULL
)
RETURNS SETOF tidings.message
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seen tidings.stored[];
  reached bigint;
  -- Not called in the statement: what says something else for each row keeps the messages from being read in their order.
  moment constant timestamptz := clock_timestamp();
  -- Not a function, which would cost more for every row than all the rest.
  wanted constant text := $sql$
    ($2 IS NULL OR msg_id > $2) AND ($8 IS NULL OR msg_id <= $8) AND ($3 IS NULL OR msg_id = ANY ($3))
    AND ($4 IS NULL OR NOT EXISTS (
      SELECT FROM jsonb_each_text($4) field
      WHERE field.value IS DISTINCT FROM CASE
        WHEN tidings.is_envelope(message, headers) THEN message -> 'meta' ELSE headers -> 'x-tidings-meta'
      END ->> field.key))
  $sql$;
BEGIN
  PERFORM tidings.must('look', queue);
  IF scan IS NOT NULL THEN
    EXECUTE format($sql$
      SELECT least(
        (SELECT msg_id FROM %s WHERE $1 IS NULL OR msg_id > $1 ORDER BY msg_id OFFSET $2 LIMIT 1),
        (SELECT msg_id FROM tidings.delayed WHERE queue_name = $3 AND ($1 IS NULL OR msg_id > $1) AND NOT $4
          ORDER BY msg_id OFFSET $2 LIMIT 1))
    $sql$, tidings.table_of(queue, CASE WHEN place = 'archived' THEN 'a_' ELSE 'q_' END)) INTO reached
    USING after_id, scan - 1, queue, coalesce(place = 'archived', false);
  END IF;
  IF place = 'archived' THEN
    EXECUTE format($sql$
      SELECT array_agg(found::tidings.stored) FROM (
        SELECT msg_id, read_ct, enqueued_at, %2$s, vt, message, headers, archived_at FROM %1$s
        WHERE %3$s ORDER BY msg_id LIMIT $1
      ) found
    $sql$, tidings.table_of(queue, 'a_'), tidings.last_read_or_null(queue), wanted) INTO seen
    USING quantity, after_id, ids, meta, place, queue, moment, reached;
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
    USING quantity, after_id, ids, meta, place, queue, moment, reached;
  END IF;
  RETURN QUERY SELECT * FROM tidings.to_messages(seen);
  IF reached IS NOT NULL AND coalesce(cardinality(seen), 0) < quantity THEN
    RETURN QUERY SELECT (jsonb_populate_record(NULL::tidings.message, jsonb_build_object('id', reached::text))).*;
  END IF;
END
$$;

-- The message that was sent with a dedup id, or null if that is free.
CREATE OR REPLACE FUNCTION tidings.sent_with(queue text, dedup_id text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.must('look', queue);
  RETURN coalesce(
    tidings.holder_of_dedup_id(queue, dedup_id),
    tidings.holder_of_lasting_id(queue, tidings.table_of(queue), dedup_id, '{}'));
END
$$;
