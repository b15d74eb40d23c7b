-- Telling readers about new messages, at no cost where nobody waits.
--
-- A waiting session holds an advisory lock, shared; a sender that cannot have it exclusively knows that somebody waits.
-- Locks of sessions need no table, leave no dead rows and vanish with their session. A topic is a queue here, by the name
-- that tidings.place_of_topic gives it.

CREATE OR REPLACE FUNCTION tidings.waiting_lock(queue text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT hashtextextended('tidings.waiting:' || queue, 0)
$$;

-- due_ms: in how many milliseconds there is something to read; 0 for now.
CREATE OR REPLACE FUNCTION tidings.announce(queue text, due_ms bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  lock bigint := tidings.waiting_lock(queue);
BEGIN
  IF pg_try_advisory_lock(lock) THEN
    PERFORM pg_advisory_unlock(lock);
  ELSE
    PERFORM pg_notify('tidings.' || queue, greatest(due_ms, 0)::text);
  END IF;
END
$$;

-- The tables that are written to when there is something to tell; raises TD404 or TD405.
CREATE OR REPLACE FUNCTION tidings.tables_behind(queue text) RETURNS regclass[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF queue NOT LIKE 'topic:%' THEN
    RETURN ARRAY[tidings.table_of(queue)];
  END IF;
  PERFORM tidings.topic_id(substr(queue, 7));
  RETURN ARRAY['tidings.topic_message'::regclass, 'tidings.topic_pending'::regclass, 'tidings.subscription'::regclass];
END
$$;

-- For the listening session. Returns the transactions that are writing to the queue at this moment: they may have sent
-- before the lock was there and found nobody waiting, so their end is worth a look. What they wrote is visible once
-- they no longer hold their lock on the table.
CREATE OR REPLACE FUNCTION tidings.start_waiting(queue text) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tables regclass[] := tidings.tables_behind(queue);
BEGIN
  PERFORM pg_advisory_lock_shared(tidings.waiting_lock(queue));
  RETURN ARRAY(
    SELECT DISTINCT l.virtualtransaction FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = ANY (tables) AND l.mode = 'RowExclusiveLock' AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.pid IS DISTINCT FROM pg_backend_pid());
END
$$;

-- Those of the transactions that have not ended.
CREATE OR REPLACE FUNCTION tidings.still_open(transactions text[]) RETURNS text[]
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY(
    SELECT DISTINCT l.virtualtransaction FROM pg_locks l WHERE l.virtualtransaction = ANY (transactions))
$$;
