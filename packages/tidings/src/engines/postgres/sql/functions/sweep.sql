-- Looking for what lies behind the mark of a process, beside its claims: where very much is leased there, a claim that walked
-- over it would keep everybody waiting who is in front.

-- One step of a walk through a queue, over at most 10,000 messages that are there.
-- after: where the step before ended, 0 for the first, which also moves due messages in from tidings.delayed
-- up_to: the mark, or null for all; since_us: when the first step began, or null for that one
-- ids: messages that are ready, at most 1,000 of the step, oldest first, behind those of ordering keys; sorted: the queue has priorities, which come before others
-- reached: the last id that was passed, or null; ended: nothing comes after it; next_due_ms: as far as was seen, see
-- tidings.next_due_ms; ms: what the step cost
CREATE OR REPLACE FUNCTION tidings.sweep_step(
  queue text, after bigint, up_to bigint, since_us bigint, OUT ids bigint[], OUT sorted boolean, OUT reached bigint,
  OUT ended boolean, OUT began_us bigint, OUT next_due_ms double precision, OUT ms double precision
)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  most constant integer := 10000;
  moment constant timestamptz := clock_timestamp();
  since constant timestamptz := coalesce(tidings.from_microseconds(since_us), moment);
  settings constant tidings.queue := tidings.settings_of(queue);
  passed bigint;
  live constant regclass := tidings.table_of(queue);
  which constant text := CASE WHEN settings.has_lanes THEN ' AND ' || tidings.ungrouped_expression() ELSE '' END;
  next_head timestamptz;
  soonest timestamptz;
  moved boolean := false;
BEGIN
  PERFORM tidings.must('receive', queue);
  IF after = 0 THEN
    moved := EXISTS (SELECT FROM tidings.delayed d WHERE d.queue_name = queue AND d.due <= moment);
    PERFORM tidings.promote(queue, 1000);
  END IF;
  -- What has a priority is found by claims, wherever it lies, once that is known of the queue; so are a few of the keys.
  EXECUTE format($sql$
    SELECT (array_agg(msg_id ORDER BY msg_id) FILTER (WHERE vt <= $1 AND ($5 IS FALSE OR coalesce(%2$s, 0) = 0)))[1:1000],
      max(msg_id), count(*), min(vt) FILTER (WHERE vt > $4 AND vt < 'infinity')
    FROM (
      SELECT msg_id, vt, headers FROM %1$s WHERE msg_id > $2 AND ($3 IS NULL OR msg_id <= $3) %3$s ORDER BY msg_id LIMIT $6
    ) step
  $sql$, live, tidings.priority_expression(),
    CASE WHEN settings.has_keys OR settings.has_lanes THEN $sql$AND headers ->> 'x-pgmq-group' IS NULL$sql$ ELSE '' END
      || which)
  INTO ids, reached, passed, soonest USING moment, after, up_to, since, settings.has_priorities, most;
  IF after = 0 AND settings.has_keys THEN
    EXECUTE format($sql$
      WITH RECURSIVE %s SELECT min(vt) FROM head WHERE vt > $1 AND vt < 'infinity' %s
    $sql$, tidings.heads_expression(live::text), which) INTO next_head USING since;
    soonest := least(soonest, next_head);
    IF NOT settings.has_priorities THEN
      ids := tidings.free_heads(queue, live, 1000, which => which) || ids;
    END IF;
  END IF;
  ended := passed < most;
  soonest := least(soonest, (SELECT d.due FROM tidings.delayed d WHERE d.queue_name = queue ORDER BY d.due LIMIT 1));
  sorted := settings.has_priorities;
  began_us := tidings.microseconds(since);
  -- What was moved may lie in front of the mark, where this walk does not go.
  next_due_ms := CASE
    WHEN moved THEN 0 WHEN soonest IS NOT NULL THEN greatest(tidings.milliseconds_until(soonest), 0)
  END;
  ms := date_part('epoch', clock_timestamp() - moment) * 1000;
END
$$;
