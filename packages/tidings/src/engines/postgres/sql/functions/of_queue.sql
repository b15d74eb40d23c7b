-- Functions of a single queue: "send:<queue>", "claim:<queue>" and "settle:<queue>", which do what every message passes
-- through, and what they call: "pick:<queue>", "due:<queue>", and of queues with lanes "turns:<queue>" and "rooms:<queue>". The name of the table stands in them, so that PostgreSQL plans their statements once a session, and not at every
-- call. They are made when a process uses the queue for the first time, from the texts below, and replaced where these have
-- changed since. Nothing depends on them: they find the table by its name, also a new one after a drop.

-- The texts, and how they are called. as_owner: whether they have the rights of their owner, and so look at the caller.
-- is_entry: whether programs call it, not only functions of the queue
CREATE OR REPLACE FUNCTION tidings.texts_of_queue(queue text, has_last_read boolean, as_owner boolean)
RETURNS TABLE (verb text, is_entry boolean, parameters text, result text, body text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $texts$
DECLARE
  live constant text := format('pgmq.%I', 'q_' || queue);
  has_lanes constant boolean := EXISTS (SELECT FROM tidings.queue q WHERE q.queue_name = queue AND q.has_lanes);
  usual_picking constant text := format($part$IF picked IS NULL THEN
    -- The usual case.
    IF NOT settings.has_keys AND NOT settings.has_priorities THEN
      moment := clock_timestamp();
      SELECT array_agg(next.msg_id), bool_or(next.headers ->> 'x-pgmq-group' IS NOT NULL),
        bool_or(next.headers ? 'x-tidings-priority'), sum(next.bytes)
      INTO ids, found_keys, found_priorities, bytes
      FROM (
        SELECT msg_id, headers, CASE WHEN max_bytes IS NOT NULL THEN %3$s END AS bytes FROM %1$s
        WHERE msg_id > CASE WHEN sweep THEN 0 ELSE mark END AND vt <= moment
        ORDER BY msg_id LIMIT quantity FOR UPDATE SKIP LOCKED
      ) next;
      all_fit := (bytes <= max_bytes) IS NOT FALSE;
      IF found_keys OR found_priorities THEN
        -- Other clients send them without a word, and our own senders may have begun at this moment.
        UPDATE tidings.queue q SET
          has_keys = q.has_keys OR coalesce(found_keys, false),
          has_priorities = q.has_priorities OR coalesce(found_priorities, false)
        WHERE q.queue_name = %2$L RETURNING * INTO settings;
      END IF;
    END IF;
    IF settings.has_keys OR settings.has_priorities THEN
      ids := tidings.%4$I(settings, quantity, CASE WHEN sweep THEN 0 ELSE mark END, last_key, freed, sweep);
      all_fit := NULL;
    END IF;
  END IF;$part$, live, queue, tidings.size_expression(), 'pick:' || queue);
  taking_turns constant text := format($part$SELECT t.ids, t.held_back, t.exhausted, t.opens_at INTO ids, held_back, exhausted, opens_at
  FROM tidings.%1$I(
    settings, clock, quantity, at_once, lease_ms, CASE WHEN sweep THEN 0 ELSE mark END, last_key, freed, sweep, picked) t;
  picked := NULL;$part$, 'turns:' || queue);
  charging constant text := format($part$IF left_out OR settings.configured ? 'limits' THEN
      DECLARE
        charged record;
      BEGIN
        SELECT array_agg(q.msg_id) AS ids, array_agg(q.read_ct) AS reads, array_agg(q.lane) AS lanes, array_agg(q.key) AS keys
        INTO charged FROM (
          SELECT msg_id, read_ct, coalesce(headers ->> 'x-tidings-group', '') AS lane, headers ->> 'x-pgmq-group' AS key
          FROM %1$s WHERE msg_id = ANY (coalesce(picked, ids))
        ) q;
        PERFORM tidings.charge(
          %2$L, settings.configured, charged.ids, charged.reads, charged.lanes, charged.keys, ids, lease_ms > 0);
      END;
    END IF;$part$, live, queue);
  -- Row level security would hide all of it, and nobody be told why.
  found constant text := format('IF to_regclass(%1$L) IS NULL OR row_security_active(%1$L) THEN
    PERFORM tidings.table_of(%2$L);
  END IF;', live, queue);
  may_send constant text := CASE WHEN as_owner THEN format('PERFORM tidings.must(''send'', %L);', queue) ELSE '' END;
  may_receive constant text := CASE WHEN as_owner THEN format('PERFORM tidings.must(''receive'', %L);', queue) ELSE '' END;
BEGIN
  is_entry := true;
  -- Stores messages that need nothing but a row. headers: null if there are none, or an element for each of the bodies.
  -- Returns the ids in their order, separated by commas.
  verb := 'send';
  parameters := 'bodies jsonb, headers jsonb';
  result := 'text';
  body := format($body$
DECLARE
  ids text;
  unlocked boolean;
BEGIN
  %3$s
  %4$s
  WITH stored AS (
    INSERT INTO %1$s (vt, message, headers)
    SELECT clock_timestamp(), entry.m, nullif(entry.h, 'null')
    FROM ROWS FROM (jsonb_array_elements(bodies), jsonb_array_elements(headers)) AS entry (m, h)
    RETURNING msg_id
  )
  SELECT string_agg(stored.msg_id::text, ',') INTO ids FROM stored;
  -- As tidings.announce has it.
  IF pg_try_advisory_lock(%5$s) THEN
    unlocked := pg_advisory_unlock(%5$s);
  ELSE
    PERFORM tidings.announce(%2$L, 0);
  END IF;
  RETURN ids;
END
$body$, live, queue, found, may_send, tidings.waiting_lock(queue));
  RETURN NEXT;

  -- Leases the next messages, see tidings.claim. freed: keys whose message this process has ended. picked: those with these ids instead, which the caller has locked.
  verb := 'claim';
  parameters := 'quantity integer, lease_ms bigint, mark bigint, last_key text, sweep boolean, holder integer, '
    'claim integer, is_first boolean, at_once integer, max_bytes bigint, freed text[] = NULL, picked bigint[] = NULL';
  result := 'SETOF tidings.message';
  body := format($body$
DECLARE
  started_at timestamptz := clock_timestamp();
  settings tidings.queue;
  ids bigint[] := picked;
  found_keys boolean;
  found_priorities boolean;
  bytes bigint;
  all_fit boolean;
  left_out boolean := false;
  moment timestamptz;
  until timestamptz;
  ahead bigint[] := '{}';
  %14$s
  -- A claim promises nothing durable: if a crash forgets it, the messages are simply there again.
  unsynced constant text := set_config('synchronous_commit', 'off', true);
BEGIN
  %3$s
  %4$s
  %9$s
  holder := %7$s;
  %11$s
  IF sweep THEN
    PERFORM tidings.promote(%2$L, 1000);
  END IF;
  SELECT * INTO settings FROM tidings.queue q WHERE q.queue_name = %2$L;
  IF NOT FOUND THEN
    settings := tidings.settings_of(%2$L);
  END IF;
  IF settings.configured ? 'pause' THEN
    RETURN QUERY SELECT * FROM tidings.pause_summary(settings.configured -> 'pause');
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  %10$s
  -- Of messages that are locked, those that max_bytes allows, at least one, and all in the order of readers, where that
  -- matters.
  IF cardinality(ids) > 0
    AND NOT coalesce(all_fit, max_bytes IS NULL AND (at_once < cardinality(ids)) IS NOT TRUE)
  THEN
    picked := ids;
    SELECT array_agg(summed.msg_id ORDER BY summed.place) INTO ids FROM (
      SELECT sized.msg_id, sized.place, sum(sized.bytes) OVER (ORDER BY sized.place) AS bytes FROM (
        SELECT msg_id, row_number() OVER (ORDER BY coalesce(%6$s, 0) DESC, msg_id) AS place, %5$s AS bytes
        FROM %1$s WHERE msg_id = ANY (picked)
      ) sized
    ) summed
    WHERE summed.place = 1 OR max_bytes IS NULL OR summed.bytes <= max_bytes;
    left_out := cardinality(ids) < cardinality(picked);
  END IF;
  -- When a message is read again, the time of its first read goes into a header: PGMQ keeps only the last, and tables from
  -- before it had last_read_at not even that; there, leases belong to nobody.
  IF cardinality(ids) > 0 THEN
    moment := clock_timestamp();
    until := moment + lease_ms * interval '1 millisecond';
    IF holder IS NOT NULL THEN
      moment := date_trunc('milliseconds', moment) + (holder %% 10 * 100 + claim) * interval '1 microsecond';
      until := tidings.later(moment + tidings.code_of(holder) * interval '1 microsecond', until);
      ahead := CASE WHEN at_once < cardinality(ids) THEN ids[at_once + 1 :] ELSE '{}' END;
    END IF;
    RETURN QUERY
    WITH taken AS (
      UPDATE %1$s q SET
        vt = CASE WHEN q.msg_id = ANY (ahead) THEN until + interval '1 microsecond' ELSE until END,
        read_ct = q.read_ct + 1, %8$s
      WHERE q.msg_id = ANY (ids)
      RETURNING q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers,
        -- As tidings.is_envelope has it, which would cost more than all the rest.
        coalesce(
          jsonb_typeof(q.message) = 'object'
            AND q.message ? 'data'
            AND jsonb_typeof(q.message -> 'meta') = 'object'
            AND q.message - '{data,meta}'::text[] = '{}'
            AND q.headers -> 'x-tidings-meta' IS NULL,
          false) AS is_envelope
    )
    SELECT
      t.msg_id::text,
      CASE WHEN t.is_envelope THEN t.message -> 'data' ELSE coalesce(t.message, 'null') END::text,
      CASE WHEN t.is_envelope THEN t.message -> 'meta' ELSE t.headers -> 'x-tidings-meta' END::text,
      t.headers::text,
      t.read_ct,
      round(date_part('epoch', t.vt) * 1000000)::bigint::text,
      floor(round(date_part('epoch', t.enqueued_at) * 1000000) / 1000),
      floor(round(date_part('epoch', t.vt) * 1000000) / 1000),
      floor(round(date_part('epoch', moment) * 1000000) / 1000),
      NULL::double precision, NULL::double precision, NULL::double precision
    FROM taken t;
    IF is_first AND FOUND THEN
      PERFORM tidings.note_holder(holder, %2$L);
    END IF;
    %12$s
  END IF;
  %13$s
END
$body$, live, queue, found, may_receive, tidings.size_expression(), tidings.priority_expression(),
    -- As tidings.present has it.
    CASE WHEN has_last_read
      THEN $sql$CASE WHEN pg_try_advisory_xact_lock_shared(hashtext('tidings.holder'), holder) THEN holder END$sql$
      ELSE 'NULL'
    END,
    CASE WHEN has_last_read
      THEN 'last_read_at = moment,
        headers = CASE WHEN q.read_ct = 0 THEN q.headers ELSE tidings.with_first_read(q.headers, q.last_read_at) END'
      ELSE 'headers = tidings.with_first_read(q.headers, moment)'
    END,
    CASE WHEN has_last_read THEN '' ELSE format('IF tidings.has_last_read(%L) THEN
    PERFORM tidings.prepare_queue(%L);
    RETURN QUERY EXECUTE format(
      ''SELECT * FROM %%s($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)'', tidings.function_of(''claim'', %2$L))
    USING quantity, lease_ms, mark, last_key, sweep, holder, claim, is_first, at_once, max_bytes, freed, picked;
    RETURN;
  END IF;', live, queue) END,
    CASE WHEN has_lanes THEN taking_turns ELSE usual_picking END,
    CASE WHEN has_lanes THEN format('-- As tidings.lock_lanes has it. Every statement after it sees what other claims did.
  SELECT * INTO clock FROM tidings.lane_clock c WHERE c.queue_name = %1$L FOR UPDATE;
  IF NOT FOUND THEN
    clock := tidings.lock_lanes(%1$L);
  END IF;
  started_at := clock_timestamp();', queue) ELSE '' END,
    CASE WHEN has_lanes THEN charging ELSE '' END,
    CASE WHEN has_lanes
      THEN format('IF sweep OR left_out OR held_back OR opens_at IS NOT NULL THEN
    RETURN QUERY SELECT * FROM tidings.sweep_summary(
      CASE WHEN sweep AND exhausted AND NOT left_out THEN tidings.%I(true, started_at) END,
      left_out, started_at, held_back, opens_at);
  END IF;', 'due:' || queue)
      ELSE format('IF sweep OR left_out THEN
    RETURN QUERY SELECT * FROM tidings.sweep_summary(
      CASE WHEN coalesce(cardinality(ids), 0) < quantity AND NOT left_out THEN tidings.%I(settings.has_keys, started_at) END,
      left_out, started_at);
  END IF;', 'due:' || queue) END,
    CASE WHEN has_lanes
      THEN 'held_back boolean; exhausted boolean; opens_at timestamptz; clock tidings.lane_clock;'
      ELSE ''
    END);
  RETURN NEXT;

  -- Removes messages for good whose leases are proved by the read counts and the ends, see tidings.proof_expression. Returns
  -- the positions of those that it removed, separated by commas, or null.
  verb := 'settle';
  parameters := 'ids bigint[], reads integer[], ends bigint[]';
  result := 'text';
  body := format($body$
DECLARE
  positions text;
  tracked bigint[];
  has_keys boolean;
  ended bigint[];
  heads jsonb[];
BEGIN
  %3$s
  %4$s
  WITH gone AS (
    DELETE FROM %1$s q
    USING unnest(ids, reads, ends) WITH ORDINALITY AS e (i, r, v, position)
    WHERE q.msg_id = e.i AND q.read_ct = e.r AND q.vt = timestamptz '1970-01-01 00:00:00+00' + e.v * interval '1 microsecond'
    RETURNING e.position, q.msg_id, q.headers
  )
  SELECT string_agg(gone.position::text, ','), array_agg(gone.msg_id) FILTER (WHERE gone.headers ? 'x-tidings-tracked'),
    (SELECT q.has_keys FROM tidings.queue q WHERE q.queue_name = %2$L)%5$s
  INTO positions, tracked, has_keys%6$s FROM gone;
  IF tracked IS NOT NULL THEN
    PERFORM tidings.end_tasks(%2$L, tracked, 'done');
  END IF;
  -- The end of a message makes way for the next of its key.
  IF has_keys THEN
    PERFORM tidings.announce(%2$L, 0);
  END IF;%7$s
  RETURN positions;
END
$body$, live, queue, found, may_receive,
    CASE WHEN has_lanes THEN ', array_agg(gone.msg_id), array_agg(gone.headers)' ELSE '' END,
    CASE WHEN has_lanes THEN ', ended, heads' ELSE '' END,
    CASE WHEN has_lanes THEN format('
  IF ended IS NOT NULL THEN
    PERFORM tidings.note_ends(%L, ended, heads);
  END IF;', queue) ELSE '' END);
  RETURN NEXT;

  -- What claims call, under their settings.
  is_entry := false;
  verb := 'due';
  parameters := 'is_keyed boolean, since timestamptz';
  result := 'double precision';
  body := format($body$
DECLARE
  soonest timestamptz;
BEGIN
  IF is_keyed THEN
    soonest := %s;
  ELSE
    soonest := %s;
  END IF;
  RETURN CASE WHEN soonest IS NOT NULL THEN greatest(tidings.milliseconds_until(soonest), 0) END;
END
$body$, tidings.soonest_due_expression(queue, live, true, has_lanes, 'since'),
    tidings.soonest_due_expression(queue, live, false, has_lanes, 'since'));
  RETURN NEXT;
  verb := 'pick';
  parameters := 'settings tidings.queue, quantity integer, mark bigint, last_key text, freed text[], sweep boolean, '
    'besides bigint[] = NULL, rated_periods bigint[] = NULL, rated_until double precision[] = NULL';
  result := 'bigint[]';
  body := tidings.picking_text(queue, live, has_lanes);
  RETURN NEXT;
  IF has_lanes OR tidings.find_table(queue) IS NULL THEN
    verb := 'turns';
    parameters := 'settings tidings.queue, clock tidings.lane_clock, quantity integer, at_once integer, lease_ms bigint, mark bigint, last_key text, '
      'freed text[], sweep boolean, wanted bigint[], OUT ids bigint[], OUT held_back boolean, OUT exhausted boolean, '
      'OUT opens_at timestamptz';
    result := 'record';
    body := tidings.turns_text(queue, live);
    RETURN NEXT;
    verb := 'rooms';
    parameters := 'limits jsonb, kind text, lanes text[], moment timestamptz';
    result := 'TABLE (lane text, room bigint, opens_at timestamptz)';
    body := tidings.rooms_text(queue, live);
    RETURN NEXT;
  END IF;
END
$texts$;

-- Who may call a function, apart from its owner; 0 is everybody.
CREATE OR REPLACE FUNCTION tidings.callers_of(called oid) RETURNS oid[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT ARRAY(
    SELECT a.grantee FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.oid = called AND a.grantee <> p.proowner ORDER BY 1)
$$;

-- Makes the functions of a queue where they are missing, or were made from other texts; drops them where the queue is gone.
-- Those that programs call may be called by those who may call tidings.send, tidings.claim and tidings.settle, and with the
-- same rights. Runs as its owner, since whoever uses a queue first may not create functions; what comes of it does not depend on the caller.
CREATE OR REPLACE FUNCTION tidings.renew_functions(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Plans that are made once have to suit tables of every size: by the key, and in its order.
  settings constant text[] := ARRAY['search_path=pg_catalog, pg_temp', 'plan_cache_mode=force_generic_plan',
    'enable_seqscan=off', 'enable_bitmapscan=off', 'enable_sort=off', 'enable_hashjoin=off', 'enable_mergejoin=off', 'jit=off'];
  live constant regclass := tidings.find_table(queue);
  as_owner constant boolean := (SELECT p.prosecdef FROM pg_proc p WHERE p.oid = 'tidings.claim'::regproc);
  is_locked boolean := false;
  one record;
  caller oid;
BEGIN
  FOR one IN
    SELECT w.verb, w.parameters, w.result, w.body, format('tidings.%I', w.verb || ':' || queue) AS name,
      CASE WHEN w.is_entry THEN settings ELSE settings[1:1] END AS settings,
      -- The others have the callers of what only functions call.
      CASE WHEN w.is_entry THEN format('tidings.%I', w.verb)::regproc ELSE 'tidings.promote'::regproc END AS called_like
    FROM tidings.texts_of_queue(queue, tidings.has_last_read(live), as_owner) w
  LOOP
    CONTINUE WHEN CASE WHEN live IS NULL THEN to_regproc(one.name) IS NULL ELSE EXISTS (
      SELECT FROM pg_proc p WHERE p.oid = to_regproc(one.name) AND p.prosrc = one.body AND p.proconfig = one.settings
        AND p.prosecdef = as_owner AND tidings.callers_of(p.oid) = tidings.callers_of(one.called_like)) END;
    IF NOT is_locked THEN
      -- Another process may be doing the same.
      PERFORM pg_advisory_xact_lock(hashtextextended('tidings.functions:' || queue, 0));
      is_locked := true;
    END IF;
    IF live IS NULL THEN
      EXECUTE format('DROP FUNCTION IF EXISTS %s', one.name);
      CONTINUE;
    END IF;
    EXECUTE format('CREATE OR REPLACE FUNCTION %s(%s) RETURNS %s LANGUAGE plpgsql VOLATILE SECURITY %s %s AS %L',
      one.name, one.parameters, one.result, CASE WHEN as_owner THEN 'DEFINER' ELSE 'INVOKER' END,
      (SELECT string_agg('SET ' || setting, ' ') FROM unnest(one.settings) setting), one.body);
    FOREACH caller IN ARRAY tidings.callers_of(to_regproc(one.name)) LOOP
      EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', one.name, CASE caller WHEN 0 THEN 'PUBLIC' ELSE caller::regrole::text END);
    END LOOP;
    FOREACH caller IN ARRAY tidings.callers_of(one.called_like) LOOP
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', one.name, CASE caller WHEN 0 THEN 'PUBLIC' ELSE caller::regrole::text END);
    END LOOP;
  END LOOP;
END
$$;

-- For a process that uses a queue for the first time, or finds that its functions are not there any more. Raises TD404.
CREATE OR REPLACE FUNCTION tidings.prepare_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tidings.table_of(queue), tidings.settings_of(queue);
  PERFORM tidings.renew_functions(queue);
END
$$;

-- The name of a function of a queue, which is made where it is missing.
CREATE OR REPLACE FUNCTION tidings.function_of(verb text, queue text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name constant text := format('tidings.%I', verb || ':' || queue);
BEGIN
  IF to_regproc(name) IS NULL THEN
    PERFORM tidings.prepare_queue(queue);
  END IF;
  RETURN name;
END
$$;
