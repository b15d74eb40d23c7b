-- Leases that end with their process. A process that listens has a number, and its listening session a shared advisory
-- lock on it. A claim writes the number into its messages, at no cost: vt and last_read_at are so far apart that the
-- remainder of a second, in microseconds, is the code of the number, or one more if the message is read ahead. Codes lie
-- between 200 and 799 in each millisecond, so that a reader that leases for whole milliseconds never meets one. The last
-- three digits of last_read_at repeat a digit of the number, and say which claim it was.

-- The number as long as its process is not given up; then it stays so until the end of this transaction.
CREATE OR REPLACE FUNCTION tidings.present(number integer) RETURNS integer
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE WHEN pg_try_advisory_xact_lock_shared(hashtext('tidings.holder'), number) THEN number END;
END
$$;

CREATE OR REPLACE FUNCTION tidings.code_of(number integer) RETURNS integer
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN number / 300 * 1000 + 200 + number % 300 * 2;
END
$$;

-- Whether a message of the table q has the number, and comes from this of its claims; null for any.
CREATE OR REPLACE FUNCTION tidings.held_expression(number integer, claim integer = NULL) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format(
    '(CASE WHEN isfinite(q.vt) THEN extract(microseconds FROM q.vt - q.last_read_at)::integer %% 1000000 END IN (%s, %s)
      AND extract(microseconds FROM q.last_read_at)::integer %% 1000 %s)',
    tidings.code_of(number), tidings.code_of(number) + 1,
    CASE WHEN claim IS NULL THEN '/ 100 = ' || number % 10 ELSE '= ' || number % 10 * 100 + claim END)
$$;

-- The first moment from `due` on that makes no lease of a message that waits: a number of milliseconds after it was read.
CREATE OR REPLACE FUNCTION tidings.unheld(due timestamptz, read_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  beyond integer := extract(microseconds FROM due - read_at)::integer % 1000;
BEGIN
  RETURN due + (CASE WHEN beyond > 0 THEN 1000 - beyond ELSE 0 END) * interval '1 microsecond';
END
$$;

-- The first moment from `target` on that is a number of seconds after `moment`, at least one.
CREATE OR REPLACE FUNCTION tidings.later(moment timestamptz, target timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seconds double precision := ceil(date_part('epoch', target - moment));
BEGIN
  RETURN moment + CASE seconds WHEN 0 THEN 1 ELSE seconds END * interval '1 second';
END
$$;

-- About how many bytes a message has. Where nothing is compressed, what is stored tells; unpacking costs much more.
CREATE OR REPLACE FUNCTION tidings.size_expression() RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE WHEN current_setting('server_version_num')::integer >= 140000
      THEN 'coalesce(CASE WHEN pg_column_compression(message) IS NULL THEN pg_column_size(message)
          ELSE octet_length(message::text) END, 0)
        + coalesce(CASE WHEN pg_column_compression(headers) IS NULL THEN pg_column_size(headers)
          ELSE octet_length(headers::text) END, 0)'
      ELSE 'coalesce(octet_length(message::text), 0) + coalesce(octet_length(headers::text), 0)'
  END;
END
$$;

CREATE OR REPLACE FUNCTION tidings.note_holder(number integer, queue text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tidings.holder_queue (number, queue_name) VALUES (number, queue) ON CONFLICT DO NOTHING;
END
$$;

-- For the listening session of a process. Returns its number: the one that it had before, unless its messages were given
-- to others meanwhile.
CREATE OR REPLACE FUNCTION tidings.begin_life(before integer, proof uuid, OUT number integer, OUT secret uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  class constant integer := hashtext('tidings.holder');
BEGIN
  IF before IS NOT NULL THEN
    -- Waits for those who are looking at it.
    PERFORM pg_advisory_lock_shared(class, before);
    UPDATE tidings.holder h SET listens_since = clock_timestamp(), missed_at = NULL
    WHERE h.number = before AND h.secret = proof RETURNING h.number, h.secret INTO number, secret;
    IF FOUND THEN
      RETURN;
    END IF;
    PERFORM pg_advisory_unlock_shared(class, before);
  END IF;
  LOOP
    number := nextval('tidings.holder_number');
    IF pg_try_advisory_lock_shared(class, number) THEN
      INSERT INTO tidings.holder AS h (number) VALUES (begin_life.number) ON CONFLICT DO NOTHING
      RETURNING h.secret INTO secret;
      IF FOUND THEN
        DELETE FROM tidings.holder_queue q WHERE q.number = begin_life.number;
        RETURN;
      END IF;
      PERFORM pg_advisory_unlock_shared(class, number);
    END IF;
  END LOOP;
END
$$;

-- Notes who a process is that has begun its life. It may say what it likes, in few words.
CREATE OR REPLACE FUNCTION tidings.introduce(mine integer, proof uuid, told jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE tidings.holder h SET about = told
  WHERE h.number = mine AND h.secret = proof AND octet_length(told::text) <= 2000 AND h.about IS DISTINCT FROM told;
  RETURN FOUND;
END
$$;

-- The processes that have said who they are and whose sessions hold their locks, with the queues from which they have
-- claimed. Looks at the locks without taking any.
CREATE OR REPLACE FUNCTION tidings.processes()
RETURNS TABLE (number integer, about jsonb, since double precision, queues text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT h.number, h.about, tidings.milliseconds(h.created_at),
    ARRAY(SELECT q.queue_name FROM tidings.holder_queue q WHERE q.number = h.number ORDER BY q.queue_name)
  FROM tidings.holder h
  WHERE h.about IS NOT NULL AND h.number IN (
    SELECT l.objid::bigint::integer FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.classid = hashtext('tidings.holder')::oid AND l.objsubid = 2
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
      AND l.mode = 'ShareLock' AND l.granted)
  ORDER BY h.number LIMIT 1000
$$;

-- For the listening session of a process that wants to be looked after no more; it holds nothing.
CREATE OR REPLACE FUNCTION tidings.end_life(mine integer, proof uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM tidings.holder h WHERE h.number = mine AND h.secret = proof;
  IF FOUND THEN
    DELETE FROM tidings.holder_queue q WHERE q.number = mine;
    PERFORM pg_advisory_unlock_shared(hashtext('tidings.holder'), mine);
  END IF;
END
$$;

-- Whether a process has listened long enough to say that others are gone: after a restart of the server all of them come
-- back first.
CREATE OR REPLACE FUNCTION tidings.may_judge(mine integer) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM tidings.holder h
    WHERE h.number = mine AND h.listens_since <= clock_timestamp() - interval '2.5 seconds');
END
$$;

-- Looks at some other processes, each at those that come after it. Returns those that are gone: their lock was free twice.
-- missed: whether it was free for the first time for some.
CREATE OR REPLACE FUNCTION tidings.find_gone(mine integer, OUT gone integer[], OUT missed boolean)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  free integer[];
BEGIN
  SELECT array_agg(near.number) INTO free FROM (
    SELECT h.number FROM tidings.holder h WHERE h.number <> mine ORDER BY h.number <= mine, h.number LIMIT 50 OFFSET 0
  ) near WHERE pg_try_advisory_xact_lock(hashtext('tidings.holder'), near.number);
  missed := false;
  IF free IS NULL OR NOT tidings.may_judge(mine) THEN
    RETURN;
  END IF;
  UPDATE tidings.holder h SET missed_at = clock_timestamp() WHERE h.number = ANY (free) AND h.missed_at IS NULL;
  missed := FOUND;
  SELECT array_agg(h.number) INTO gone FROM tidings.holder h
  WHERE h.number = ANY (free) AND h.missed_at <= clock_timestamp() - interval '0.3 seconds';
END
$$;

-- Gives back what a process that is gone had from one queue, the first after `after`; null first, and then all its
-- subscriptions. Returns the queue; null once there is none left, or the process is not gone.
CREATE OR REPLACE FUNCTION tidings.give_back_of_gone(mine integer, dead integer, after text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  process tidings.holder;
  queue text;
  topic text;
BEGIN
  SELECT * INTO process FROM tidings.holder h
  WHERE h.number = dead AND h.missed_at <= clock_timestamp() - interval '0.3 seconds';
  -- Who asks has to live, too.
  IF NOT FOUND OR NOT tidings.may_judge(mine) OR pg_try_advisory_xact_lock(hashtext('tidings.holder'), mine)
    OR NOT pg_try_advisory_xact_lock(hashtext('tidings.holder'), dead)
  THEN
    RETURN NULL;
  END IF;
  IF after IS NULL THEN
    FOR topic IN
      WITH freed AS (
        UPDATE tidings.subscription s SET consumer_until = clock_timestamp(), holder = NULL
        WHERE s.holder = dead AND s.consumer_until > clock_timestamp() RETURNING s.topic_id
      )
      SELECT DISTINCT t.name FROM freed JOIN tidings.topic t ON t.id = freed.topic_id
    LOOP
      PERFORM tidings.announce(tidings.place_of_topic(topic), 0);
    END LOOP;
  END IF;
  SELECT min(q.queue_name) INTO queue FROM tidings.holder_queue q
  WHERE q.number = dead AND (after IS NULL OR q.queue_name > after);
  IF queue IS NULL THEN
    DELETE FROM tidings.holder h
    WHERE h.number = dead AND NOT EXISTS (SELECT FROM tidings.holder_queue q WHERE q.number = dead);
    RETURN NULL;
  END IF;
  BEGIN
    PERFORM tidings.must('receive', queue);
    IF tidings.give_back(queue, dead, NULL, process.created_at) THEN
      DELETE FROM tidings.holder_queue q WHERE q.number = dead AND q.queue_name = queue;
    END IF;
  EXCEPTION
    WHEN undefined_table OR syntax_error OR SQLSTATE 'TD404' THEN
      DELETE FROM tidings.holder_queue q WHERE q.number = dead AND q.queue_name = queue;
    -- Somebody else may.
    WHEN insufficient_privilege OR lock_not_available THEN
      NULL;
  END;
  RETURN queue;
END
$$;

-- Gives back what a claim has leased whose answer nobody got. Its session is gone.
-- seen_ms: a time of the server from before the claim
CREATE OR REPLACE FUNCTION tidings.give_back_claim(
  queue text, mine integer, proof uuid, claim integer, seen_ms double precision
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  began timestamptz;
BEGIN
  PERFORM tidings.must('receive', queue);
  SELECT greatest(h.created_at, tidings.from_microseconds((seen_ms * 1000)::bigint)) INTO began FROM tidings.holder h
  WHERE h.number = mine AND h.secret = proof;
  IF FOUND AND NOT tidings.give_back(queue, mine, claim, began) THEN
    RAISE EXCEPTION 'some messages of queue "%" are locked', queue USING ERRCODE = 'lock_not_available';
  END IF;
END
$$;

-- Makes leased messages of a process ready. claim: those of this one, which nobody has seen; null for all, since the
-- process is gone. began: they were claimed from then on. Returns false if others have locked some of them.
CREATE OR REPLACE FUNCTION tidings.give_back(queue text, number integer, claim integer, began timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant regclass := tidings.table_of(queue);
  moment constant timestamptz := clock_timestamp();
  why jsonb := '{}';
  is_held constant text := tidings.held_expression(number, claim) || ' AND q.vt > $1 AND q.last_read_at >= $2';
  ids bigint[];
  returned integer;
  heads jsonb[];
BEGIN
  IF NOT (tidings.settings_of(queue)).has_last_read THEN
    RETURN true;
  END IF;
  EXECUTE format('SELECT array_agg(q.msg_id) FROM %s q WHERE %s', live, is_held) INTO ids USING moment, began;
  IF ids IS NULL THEN
    RETURN true;
  END IF;
  IF claim IS NULL THEN
    why := jsonb_build_object('process_lost_at', to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  END IF;
  EXECUTE format($sql$
    UPDATE %1$s q SET
      vt = $1,
      read_ct = q.read_ct - CASE WHEN $5 OR is_ahead THEN 1 ELSE 0 END,
      message = tidings.patched_message(q.message, q.headers, patch),
      headers = tidings.patched_headers(q.message, q.headers, patch)
    FROM (
      SELECT q.msg_id, is_ahead, CASE WHEN is_ahead AND NOT $5 THEN $4 || '{"read_ahead_lost": true}' ELSE $4 END AS patch
      FROM %1$s q CROSS JOIN LATERAL (
        -- A code is even, unless the message was read ahead.
        SELECT extract(microseconds FROM q.vt - q.last_read_at)::integer %% 2 = 1 AS is_ahead) code
      WHERE q.msg_id = ANY ($3) AND %2$s FOR UPDATE OF q SKIP LOCKED
    ) locked
    WHERE q.msg_id = locked.msg_id
  $sql$, live, is_held) USING moment, began, ids, why, claim IS NOT NULL;
  GET DIAGNOSTICS returned = ROW_COUNT;
  IF returned > 0 AND (tidings.settings_of(queue)).has_lanes THEN
    EXECUTE format('SELECT array_agg(headers) FROM %s WHERE msg_id = ANY ($1)', live) INTO heads USING ids;
    PERFORM tidings.note_ends(queue, NULL, heads);
  END IF;
  IF returned > 0 THEN
    PERFORM tidings.announce(queue, 0);
  END IF;
  RETURN returned = cardinality(ids);
END
$$;
