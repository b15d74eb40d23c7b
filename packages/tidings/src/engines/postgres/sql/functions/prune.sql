-- Removes archived messages, those first that were archived first: those that were archived longer ago than
-- archived_for_ms, and those beyond the newest `keep`; null: not for this reason. Returns how many, at most `quantity`.
-- Pruning for the number reads as many entries of the index on archived_at as are kept.
CREATE OR REPLACE FUNCTION tidings.prune(queue text, archived_for_ms bigint, keep bigint, quantity integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  archive regclass := tidings.table_of(queue, 'a_');
  pruned bigint;
  -- The newest message that is to go. No message has the id -1: what was archived at this very moment stays.
  last_at timestamptz := clock_timestamp() - archived_for_ms * interval '1 millisecond';
  last_id bigint := -1;
  surplus_at timestamptz;
  surplus_id bigint;
BEGIN
  PERFORM tidings.must('manage', queue);
  IF keep IS NOT NULL THEN
    EXECUTE format('SELECT archived_at, msg_id FROM %s ORDER BY archived_at DESC, msg_id DESC OFFSET $1 LIMIT 1', archive)
    INTO surplus_at, surplus_id USING keep;
    IF surplus_at IS NOT NULL AND (last_at IS NULL OR (surplus_at, surplus_id) > (last_at, last_id)) THEN
      last_at := surplus_at;
      last_id := surplus_id;
    END IF;
  END IF;
  EXECUTE format($sql$
    DELETE FROM %1$s WHERE msg_id IN (
      SELECT msg_id FROM %1$s WHERE (archived_at, msg_id) <= ($1, $2)
      ORDER BY archived_at, msg_id LIMIT $3 FOR UPDATE SKIP LOCKED
    )
  $sql$, archive) USING last_at, last_id, quantity;
  GET DIAGNOSTICS pruned = ROW_COUNT;
  RETURN pruned;
END
$$;
