-- Telling readers about new messages, at no cost where nobody waits.
--
-- A waiting session holds an advisory lock, shared; a sender that cannot have it exclusively knows that somebody waits.
-- Locks of sessions need no table, leave no dead rows and vanish with their session. A topic is a queue here, by the name
-- that tidings.place_of_topic gives it, and all schedules together are one: 'schedules:'.

CREATE OR REPLACE FUNCTION tidings.waiting_lock(queue text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT hashtextextended('tidings.waiting:' || queue, 0)
$$;

-- due_ms: in how many milliseconds there is something to read; 0 for now.
CREATE OR REPLACE FUNCTION tidings.announce(queue text, due_ms bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- That of tidings.waiting_lock.
  lock bigint := hashtextextended('tidings.waiting:' || queue, 0);
  unlocked boolean;
BEGIN
  IF pg_try_advisory_lock(lock) THEN
    unlocked := pg_advisory_unlock(lock);
  ELSE
    PERFORM pg_notify('tidings.' || queue, greatest(due_ms, 0)::text);
  END IF;
END
$$;

-- The tables that are written to when there is something to tell; raises TD404 or TD405.
CREATE OR REPLACE FUNCTION tidings.tables_behind(queue text) RETURNS regclass[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF queue = 'schedules:' THEN
    RETURN ARRAY['tidings.schedule'::regclass];
  END IF;
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

-- For the listening session, every one or two seconds: whether the server is read only; what is in the places, though
-- perhaps nobody announced it; and which other processes are gone.
-- mine: the number of this process if it may judge others, or null
-- Returns answers: for each place, whether there is something, the end of a topic, and what it took to find out.
CREATE OR REPLACE FUNCTION tidings.look(
  places text[], mine integer, OUT read_only boolean, OUT answers jsonb, OUT gone integer[], OUT missed boolean
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place text;
  seen record;
  began timestamptz;
BEGIN
  read_only := current_setting('transaction_read_only') = 'on';
  IF read_only THEN
    RETURN;
  END IF;
  IF mine IS NOT NULL THEN
    SELECT * INTO gone, missed FROM tidings.find_gone(mine);
  END IF;
  answers := '[]';
  FOREACH place IN ARRAY places LOOP
    began := clock_timestamp();
    SELECT * INTO seen FROM tidings.look_into(place);
    answers := answers || jsonb_build_object('ready', seen.ready, 'end', seen.last_offset,
      'ms', date_part('epoch', clock_timestamp() - began) * 1000);
  END LOOP;
END
$$;

-- Whether a reader would find something. Where this role cannot tell, readers have to look themselves.
-- By the primary key, which leads past dead rows.
CREATE OR REPLACE FUNCTION tidings.look_into(place text, OUT ready boolean, OUT last_offset bigint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment constant timestamptz := clock_timestamp();
  plain text := '';
BEGIN
  IF place LIKE 'topic:%' THEN
    SELECT r.last_offset, EXISTS (SELECT FROM tidings.topic_pending p WHERE p.topic_id = r.id)
    INTO STRICT last_offset, ready FROM tidings.topic_range r WHERE r.name = substr(place, 7);
    RETURN;
  END IF;
  IF place = 'schedules:' THEN
    ready := EXISTS (SELECT FROM tidings.schedule s WHERE s.next_run_ms <= tidings.milliseconds(moment));
    RETURN;
  END IF;
  ready := EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = place AND d.due <= moment);
  IF NOT ready AND (tidings.settings_of(place)).has_keys THEN
    ready := tidings.free_heads(place, tidings.table_of(place), 1) <> '{}';
    plain := $sql$ AND headers ->> 'x-pgmq-group' IS NULL$sql$;
  END IF;
  IF NOT ready THEN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE msg_id > 0 AND vt <= $1%s)', tidings.table_of(place), plain)
    INTO ready USING moment;
  END IF;
EXCEPTION WHEN insufficient_privilege OR undefined_table OR syntax_error OR no_data_found OR lock_not_available OR SQLSTATE 'TD404' THEN
  ready := true;
END
$$;
