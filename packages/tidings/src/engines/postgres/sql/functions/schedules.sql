-- Schedules. Times are milliseconds since 1970.

-- Stores a schedule in the place of the one with the revision `before`, or where there is none if that is null. Returns
-- whether it is there now. Who puts the same one at the same time waits for the end of the first.
CREATE OR REPLACE FUNCTION tidings.put_schedule(
  schedule text, new_revision text, run_ms bigint, new_definition text, new_progress text, before text
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF before IS NULL THEN
    INSERT INTO tidings.schedule AS s (name, revision, next_run_ms, definition, progress)
    VALUES (schedule, new_revision, run_ms, new_definition, new_progress)
    ON CONFLICT (name) DO NOTHING;
  ELSE
    UPDATE tidings.schedule s
    SET revision = new_revision, next_run_ms = run_ms, definition = new_definition, progress = new_progress
    WHERE s.name = schedule AND s.revision = before;
  END IF;
  IF NOT FOUND THEN
    RETURN EXISTS (SELECT FROM tidings.schedule s WHERE s.name = schedule AND s.revision = new_revision);
  END IF;
  IF run_ms IS NOT NULL THEN
    PERFORM tidings.announce('schedules:', run_ms - tidings.milliseconds(clock_timestamp())::bigint);
  END IF;
  RETURN true;
END
$$;

-- Returns whether it was there, with this revision where one is given.
CREATE OR REPLACE FUNCTION tidings.remove_schedule(schedule text, only_revision text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM tidings.schedule s
  WHERE s.name = schedule AND (only_revision IS NULL OR s.revision = only_revision);
  RETURN FOUND;
END
$$;

-- All schedules, or the one of a name; or those that are due, the earliest first, and in how many milliseconds the next
-- one of the others is. As JSON.
CREATE OR REPLACE FUNCTION tidings.schedules(only_due boolean, only_name text) RETURNS json
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  now_ms constant bigint := tidings.milliseconds(clock_timestamp());
  found json;
BEGIN
  SELECT json_agg(s ORDER BY CASE WHEN only_due THEN s.next_run_ms END, s.name) INTO found FROM tidings.schedule s
  WHERE (NOT only_due OR s.next_run_ms <= now_ms) AND (only_name IS NULL OR s.name = only_name);
  RETURN json_build_object('now', now_ms, 'schedules', coalesce(found, '[]'), 'next_due_ms', CASE WHEN only_due THEN
    (SELECT min(s.next_run_ms) FROM tidings.schedule s WHERE s.next_run_ms > now_ms) - now_ms END);
END
$$;
