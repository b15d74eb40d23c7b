-- What queues looked like in the last days, and what was done in them. Minutes are counted since 1970.

CREATE OR REPLACE FUNCTION tidings.minute_of(moment timestamptz) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT floor(date_part('epoch', moment) / 60)::integer
$$;

-- Takes this minute for the caller, who notes all queues then, and forgets what is older than `kept` minutes. Returns nothing
-- if somebody else has taken it; else the minute, and the last one before it that was noted, or null.
CREATE OR REPLACE FUNCTION tidings.begin_history(kept integer, OUT minute integer, OUT before integer)
  RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this_minute constant integer := tidings.minute_of(clock_timestamp());
BEGIN
  INSERT INTO tidings.history AS h (queue_name, minute, begun) VALUES ('', this_minute, true)
  ON CONFLICT ON CONSTRAINT history_pkey DO UPDATE SET begun = true WHERE NOT h.begun;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  DELETE FROM tidings.history h WHERE h.ctid = ANY (ARRAY(
    SELECT o.ctid FROM tidings.history o WHERE o.minute < this_minute - kept LIMIT 50000));
  minute := this_minute;
  SELECT max(h.minute) INTO before FROM tidings.history h
  WHERE h.queue_name = '' AND h.minute < this_minute AND h.ready IS NOT NULL;
  RETURN NEXT;
END
$$;

-- How many rows a statement gives, as PostgreSQL expects.
CREATE OR REPLACE FUNCTION tidings.expected_rows(statement text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT JSON) ' || statement INTO plan;
  RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END
$$;

-- What lies in a queue, as tidings.places tells it; null if there is none.
CREATE OR REPLACE FUNCTION tidings.gauges(
  queue text, most integer, OUT ready bigint, OUT leased bigint, OUT delayed bigint, OUT ready_since bigint,
  OUT total_sent bigint, OUT created integer
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := tidings.find_table(queue);
  found record;
BEGIN
  IF live IS NULL THEN
    RETURN;
  END IF;
  SELECT * INTO found FROM tidings.places(queue, live, most);
  ready := found.ready;
  leased := found.leased;
  delayed := found.delayed;
  ready_since := CASE WHEN isfinite(found.ready_since) THEN tidings.milliseconds(found.ready_since) END;
  EXECUTE format('SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM %s',
    pg_get_serial_sequence(live::text, 'msg_id')) INTO total_sent;
  created := tidings.minute_of((tidings.meta_of(queue)).created_at);
END
$$;

-- Notes what lies in queues in a minute, and what they were sent. How much is looked at in each depends on how many there are,
-- so that all of it takes about a second at most. Returns the sums as JSON. A queue that cannot be looked at is left out.
CREATE OR REPLACE FUNCTION tidings.note_history(
  this_minute integer, before integer, repeat_after integer, queues text[]
) RETURNS json
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most constant integer := least(100000, greatest(1000, 2000000 / (SELECT count(*) + 1 FROM pgmq.meta)));
  queue text;
  seen record;
  last tidings.history;
  new_sent bigint;
  all_ready bigint := 0;
  all_leased bigint := 0;
  all_delayed bigint := 0;
  all_sent bigint := 0;
  all_since bigint;
BEGIN
  FOREACH queue IN ARRAY queues LOOP
    BEGIN
      SELECT * INTO seen FROM tidings.gauges(queue, most);
    EXCEPTION WHEN undefined_table OR syntax_error OR insufficient_privilege OR lock_not_available THEN
      -- It was dropped meanwhile, or belongs to somebody else.
      CONTINUE;
    END;
    CONTINUE WHEN seen.ready IS NULL;
    SELECT * INTO last FROM tidings.history h
    WHERE h.queue_name = queue AND h.minute <= this_minute AND h.ready IS NOT NULL ORDER BY h.minute DESC LIMIT 1;
    new_sent := CASE
      WHEN last.minute IS NOT NULL THEN greatest(0, seen.total_sent - last.total_sent)
      -- What an older queue was sent before anybody looked belongs to no minute.
      WHEN seen.created >= coalesce(before, this_minute - 1) THEN seen.total_sent
      ELSE 0
    END;
    all_ready := all_ready + seen.ready;
    all_leased := all_leased + seen.leased;
    all_delayed := all_delayed + seen.delayed;
    all_sent := all_sent + new_sent;
    all_since := least(all_since, seen.ready_since);
    CONTINUE WHEN new_sent = 0 AND this_minute - last.minute < repeat_after
      AND (seen.ready, seen.leased, seen.delayed, seen.ready_since)
        IS NOT DISTINCT FROM (last.ready, last.leased, last.delayed, last.ready_since);
    INSERT INTO tidings.history AS h (queue_name, minute, ready, leased, delayed, ready_since, total_sent, sent)
    VALUES (queue, this_minute, seen.ready, seen.leased, seen.delayed, seen.ready_since, seen.total_sent, new_sent)
    ON CONFLICT ON CONSTRAINT history_pkey DO UPDATE SET
      ready = EXCLUDED.ready, leased = EXCLUDED.leased, delayed = EXCLUDED.delayed,
      ready_since = EXCLUDED.ready_since, total_sent = EXCLUDED.total_sent, sent = h.sent + EXCLUDED.sent;
  END LOOP;
  RETURN json_build_object('ready', all_ready, 'leased', all_leased, 'delayed', all_delayed, 'readySince', all_since,
    'sent', all_sent);
END
$$;

-- Notes the sums of all queues.
CREATE OR REPLACE FUNCTION tidings.end_history(this_minute integer, total jsonb) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO tidings.history AS h (queue_name, minute, begun, ready, leased, delayed, ready_since, sent)
  VALUES ('', this_minute, true, (total ->> 'ready')::bigint, (total ->> 'leased')::bigint,
    (total ->> 'delayed')::bigint, (total ->> 'readySince')::bigint, (total ->> 'sent')::bigint)
  ON CONFLICT ON CONSTRAINT history_pkey DO UPDATE SET
    begun = true, ready = EXCLUDED.ready, leased = EXCLUDED.leased, delayed = EXCLUDED.delayed,
    ready_since = EXCLUDED.ready_since, sent = h.sent + EXCLUDED.sent;
$$;

-- Adds up two lists of numbers, place by place.
CREATE OR REPLACE FUNCTION tidings.add_up(these integer[], others integer[]) RETURNS integer[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN others = '{}' THEN these WHEN these = '{}' THEN others ELSE ARRAY(
    SELECT coalesce(one, 0) + coalesce(other, 0)
    FROM unnest(these, others) WITH ORDINALITY AS pair (one, other, place) ORDER BY place) END
$$;

-- Adds what a process counted: for each queue and minute before this one [name, minutes, done, failed, dead, [latency, ...]].
-- Queues that are not there, or that the caller may not receive from, are left out. All come in one order, so that processes
-- do not block each other.
CREATE OR REPLACE FUNCTION tidings.add_history(tallies jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  this_minute constant integer := tidings.minute_of(clock_timestamp());
  queue text;
  accepted text[] := '{}';
BEGIN
  FOR queue IN SELECT DISTINCT t ->> 0 FROM jsonb_array_elements(tallies) t WHERE t ->> 0 <> '' LOOP
    BEGIN
      CONTINUE WHEN tidings.find_table(queue) IS NULL;
      PERFORM tidings.must('receive', queue);
      accepted := accepted || queue;
    EXCEPTION WHEN insufficient_privilege OR SQLSTATE 'TD404' THEN
      CONTINUE;
    END;
  END LOOP;
  INSERT INTO tidings.history AS h (queue_name, minute, done, failed, dead, latency)
  SELECT t ->> 0, this_minute - (t ->> 1)::integer, (t ->> 2)::bigint, (t ->> 3)::bigint, (t ->> 4)::bigint,
    ARRAY(SELECT count::integer FROM jsonb_array_elements_text(t -> 5) WITH ORDINALITY AS l (count, place) ORDER BY place)
  FROM jsonb_array_elements(tallies) t
  WHERE t ->> 0 = ANY (accepted || ARRAY['']) ORDER BY (t ->> 0) COLLATE "C", 2
  ON CONFLICT ON CONSTRAINT history_pkey DO UPDATE SET
    done = h.done + EXCLUDED.done, failed = h.failed + EXCLUDED.failed, dead = h.dead + EXCLUDED.dead,
    latency = tidings.add_up(h.latency, EXCLUDED.latency);
END
$$;

-- The rows of one name from a minute on and before another, the minutes in which somebody looked, and the time, as JSON.
CREATE OR REPLACE FUNCTION tidings.history_rows(name text, from_minute integer, until_minute integer) RETURNS json
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT json_build_object(
    'now', tidings.milliseconds(clock_timestamp()),
    'rows', coalesce((
      SELECT json_agg(json_build_array(h.minute, h.ready, h.leased, h.delayed, h.ready_since, h.sent, h.done, h.failed,
        h.dead, h.latency) ORDER BY h.minute)
      FROM tidings.history h WHERE h.queue_name = name AND h.minute >= from_minute AND h.minute < until_minute), '[]'),
    'noted', coalesce((
      SELECT json_agg(h.minute) FROM tidings.history h
      WHERE h.queue_name = '' AND h.minute >= from_minute AND h.minute < until_minute AND h.ready IS NOT NULL), '[]'))
$$;

CREATE OR REPLACE FUNCTION tidings.history_of(queue text, from_minute integer, until_minute integer) RETURNS json
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.table_of(queue), tidings.must('measure', queue);
  RETURN tidings.history_rows(queue, from_minute, until_minute);
END
$$;

CREATE OR REPLACE FUNCTION tidings.history_of_all(from_minute integer, until_minute integer) RETURNS json
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.history_rows('', from_minute, until_minute)
$$;
