-- Correlations: counting their tasks, and telling once that none is left.
--
-- A message that was sent with tracking has the header x-tidings-tracked, so that the end of any other costs nothing.
-- Senders only insert tasks. Whoever ends one looks at the end of its transaction whether any is left, under the lock
-- of the correlation's row: of two that end the last ones at the same time the second sees both. In a transaction with
-- a snapshot of its own that lock fails (serialization_failure) instead of being taken on what is out of date.

-- Ends tasks that are pending. ids: of their messages; null for all that are in the queue, which is gone.
CREATE OR REPLACE FUNCTION tidings.end_tasks(queue text, ids bigint[], how text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  touched text[];
BEGIN
  WITH ended AS (
    UPDATE tidings.task t SET state = how, ended_at = clock_timestamp()
    WHERE t.held_in = queue AND t.state = 'pending' AND (ids IS NULL OR t.msg_id = ANY (ids))
    RETURNING t.correlation_id
  )
  SELECT array_agg(DISTINCT correlation_id) INTO touched FROM ended;
  PERFORM tidings.look_at_commit(touched);
END
$$;

-- Follows messages into another queue. was: 'dead' for those that are moved as dead letters, else 'pending'.
CREATE OR REPLACE FUNCTION tidings.move_tasks(queue text, target text, ids bigint[], new_ids bigint[], was text[])
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  touched text[];
BEGIN
  WITH moved AS (
    UPDATE tidings.task t SET
      held_in = target,
      msg_id = m.new_id,
      queue_name = CASE m.was WHEN 'dead' THEN t.queue_name ELSE target END,
      state = CASE WHEN t.state IN ('pending', 'dead') THEN m.was ELSE t.state END,
      ended_at = CASE
        WHEN t.state = 'pending' AND m.was = 'dead' THEN clock_timestamp()
        WHEN t.state = 'dead' AND m.was = 'pending' THEN NULL
        ELSE t.ended_at
      END
    FROM unnest(ids, new_ids, was) AS m (id, new_id, was)
    WHERE t.held_in = queue AND t.msg_id = m.id
    RETURNING t.correlation_id, t.state
  )
  SELECT array_agg(DISTINCT correlation_id) FILTER (WHERE state = 'dead') INTO touched FROM moved;
  PERFORM tidings.look_at_commit(touched);
END
$$;

-- Whether a message is a dead letter once its meta is patched.
CREATE OR REPLACE FUNCTION tidings.is_dead_letter(message jsonb, headers jsonb, patch jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT tidings.merge_meta(
    CASE WHEN tidings.is_envelope(message, headers) THEN message -> 'meta' ELSE headers -> 'x-tidings-meta' END,
    patch) ->> 'dead_lettered_at' IS NOT NULL
$$;

-- Notes correlations to look at when the transaction commits.
CREATE OR REPLACE FUNCTION tidings.look_at_commit(ids text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF ids IS NOT NULL THEN
    PERFORM set_config('tidings.ended', (tidings.ended_here() || to_jsonb(ids))::text, true);
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION tidings.ended_here() RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(nullif(current_setting('tidings.ended', true), ''), '[]')::jsonb
$$;

-- At commit, for every task that ended; the first call does it for all.
CREATE OR REPLACE FUNCTION tidings.look_for_completion() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- The list is a setting of the session: only what is a correlation counts.
  ids text[] := ARRAY(
    SELECT DISTINCT id COLLATE "C" FROM jsonb_array_elements_text(tidings.ended_here()) AS ended (id)
    WHERE EXISTS (SELECT FROM tidings.task t WHERE t.correlation_id = ended.id) ORDER BY 1);
BEGIN
  IF cardinality(ids) > 0 THEN
    PERFORM set_config('tidings.ended', '', true);
    PERFORM tidings.complete(ids);
  END IF;
  RETURN NULL;
END
$$;

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'tidings.task'::regclass AND tgname = 'task_ended') THEN
    CREATE CONSTRAINT TRIGGER task_ended AFTER UPDATE OF state ON tidings.task
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
      WHEN (OLD.state = 'pending' AND NEW.state <> 'pending')
      EXECUTE FUNCTION tidings.look_for_completion();
  END IF;
END
$$;

-- Notes what the correlations have reached, each for the first time, and tells their queues of it. All locks are taken
-- first and in one order, so that two transactions never wait for each other in a circle.
CREATE OR REPLACE FUNCTION tidings.complete(ids text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one text;
  reached jsonb;
  told record;
BEGIN
  FOREACH one IN ARRAY ids LOOP
    INSERT INTO tidings.correlation AS c (correlation_id) VALUES (one)
    ON CONFLICT (correlation_id) DO UPDATE SET ends = c.ends + 1;
  END LOOP;

  WITH looked AS (
    SELECT c.correlation_id AS id, c.failed_at, c.completed_at, c.done_at,
      NOT EXISTS (SELECT FROM tidings.task t WHERE t.correlation_id = c.correlation_id AND t.state = 'pending') AS over,
      EXISTS (SELECT FROM tidings.task t WHERE t.correlation_id = c.correlation_id AND t.state = 'dead') AS failed
    FROM tidings.correlation c WHERE c.correlation_id = ANY (ids)
  ), found AS (
    SELECT l.id, l.failed AND l.failed_at IS NULL AS fails, l.over AND l.completed_at IS NULL AS ends,
      l.over AND NOT l.failed AND l.done_at IS NULL AND NOT EXISTS (
        SELECT FROM tidings.task t WHERE t.correlation_id = l.id AND t.state = 'cancelled') AS succeeds
    FROM looked l
  ), noted AS (
    UPDATE tidings.correlation c SET
      failed_at = CASE WHEN f.fails THEN clock_timestamp() ELSE c.failed_at END,
      completed_at = CASE WHEN f.ends THEN clock_timestamp() ELSE c.completed_at END,
      done_at = CASE WHEN f.succeeds THEN clock_timestamp() ELSE c.done_at END
    FROM found f WHERE c.correlation_id = f.id AND (f.fails OR f.ends OR f.succeeds)
    RETURNING f.id, array_remove(ARRAY[
      CASE WHEN f.fails THEN 'anyFailed' END,
      CASE WHEN f.succeeds THEN 'allDone' END,
      CASE WHEN f.ends THEN 'allEnded' END], NULL) AS milestones
  )
  SELECT jsonb_object_agg(n.id, n.milestones) INTO reached FROM noted n;
  IF reached IS NULL THEN
    RETURN;
  END IF;

  FOR told IN
    SELECT t.correlation_id AS id, (array_agg(t.completion_queue ORDER BY t.number)
        FILTER (WHERE t.completion_queue IS NOT NULL))[1] AS queue,
      coalesce((array_agg(t.milestones ORDER BY t.number) FILTER (WHERE t.completion_queue IS NOT NULL))[1],
        '["allEnded"]') AS wanted,
      count(*) FILTER (WHERE t.state = 'done') AS done, count(*) FILTER (WHERE t.state = 'dead') AS dead,
      count(*) FILTER (WHERE t.state = 'cancelled') AS cancelled,
      min(t.sent_at) AS started_at, max(t.ended_at) AS ended_at
    FROM tidings.task t WHERE t.correlation_id = ANY (ARRAY(SELECT jsonb_object_keys(reached)))
    GROUP BY 1 ORDER BY 2, 1
  LOOP
    CONTINUE WHEN told.queue IS NULL;
    FOR one IN SELECT m FROM jsonb_array_elements_text(reached -> told.id) AS milestones (m) LOOP
      CONTINUE WHEN NOT told.wanted ? one;
      PERFORM tidings.make_queue(told.queue);
      PERFORM tidings.send_special(told.queue, jsonb_build_array(jsonb_build_object('d', 0, 'm', jsonb_build_object(
        'data', jsonb_build_object(
          'milestone', one,
          'correlationId', told.id, 'done', told.done, 'dead', told.dead, 'cancelled', told.cancelled,
          'startedAt', tidings.iso_time(told.started_at), 'endedAt', tidings.iso_time(told.ended_at)),
        'meta', jsonb_build_object('queue_name', told.queue, 'correlation_id', told.id)))));
    END LOOP;
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION tidings.iso_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- Rows by queue, in the order of bytes; none if nothing is known of the correlation.
CREATE OR REPLACE FUNCTION tidings.correlation_state(wanted text)
RETURNS TABLE (
  queue text, pending bigint, running bigint, done bigint, dead bigint, cancelled bigint,
  started_at double precision, completed_at double precision, failed_at double precision, done_at double precision
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  leased bigint[] := '{}';
  one text;
  here bigint[];
BEGIN
  FOR one IN
    SELECT DISTINCT t.held_in FROM tidings.task t WHERE t.correlation_id = wanted AND t.state = 'pending'
  LOOP
    CONTINUE WHEN to_regclass(format('pgmq.%I', 'q_' || one)) IS NULL;
    EXECUTE format($sql$
      SELECT array_agg(t.number) FROM tidings.task t JOIN %s q ON q.msg_id = t.msg_id
      WHERE t.correlation_id = $1 AND t.state = 'pending' AND t.held_in = $2
        AND q.vt > clock_timestamp() AND q.read_ct > 0
    $sql$, tidings.table_of(one)) INTO here USING wanted, one;
    leased := leased || here;
  END LOOP;
  RETURN QUERY
  SELECT t.queue_name,
    count(*) FILTER (WHERE t.state = 'pending' AND t.number <> ALL (leased)),
    count(*) FILTER (WHERE t.state = 'pending' AND t.number = ANY (leased)),
    count(*) FILTER (WHERE t.state = 'done'),
    count(*) FILTER (WHERE t.state = 'dead'),
    count(*) FILTER (WHERE t.state = 'cancelled'),
    tidings.milliseconds(min(min(t.sent_at)) OVER ()),
    tidings.milliseconds(c.completed_at), tidings.milliseconds(c.failed_at), tidings.milliseconds(c.done_at)
  FROM tidings.task t LEFT JOIN tidings.correlation c USING (correlation_id) WHERE t.correlation_id = wanted
  GROUP BY t.queue_name, c.correlation_id ORDER BY t.queue_name;
END
$$;

-- Ends tasks whose message another client of PGMQ removed.
CREATE OR REPLACE FUNCTION tidings.end_lost_tasks(queue text, live regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone bigint[];
BEGIN
  EXECUTE format($sql$
    SELECT array_agg(t.msg_id) FROM tidings.task t
    WHERE t.held_in = $1 AND t.state = 'pending'
      AND NOT EXISTS (SELECT FROM %s q WHERE q.msg_id = t.msg_id)
      AND NOT EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = $1 AND d.msg_id = t.msg_id)
  $sql$, live) INTO gone USING queue;
  IF gone IS NOT NULL THEN
    PERFORM tidings.end_tasks(queue, gone, 'done');
  END IF;
END
$$;

-- Forgets correlations that were completed long ago.
CREATE OR REPLACE FUNCTION tidings.forget_correlations() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  WITH old AS (
    DELETE FROM tidings.correlation c
    WHERE c.completed_at < now() - interval '30 days'
      AND NOT EXISTS (SELECT FROM tidings.task t WHERE t.correlation_id = c.correlation_id AND t.state = 'pending')
    RETURNING c.correlation_id
  )
  DELETE FROM tidings.task t USING old WHERE t.correlation_id = old.correlation_id
$$;
