-- What each role may do, in a database with roles; run as the owner whenever functions were replaced. Functions that
-- programs call have the rights of the owner and look at the caller first: nobody else has rights on the tables but those
-- by which the rights on a queue are told, and these are PostgreSQL's own.
--
-- send: INSERT on pgmq.q_<queue>; receive: DELETE; look at bodies: SELECT; measure: SELECT on the column read_ct.
-- So psql shows who may do what, and clients that write to the tables themselves have the same rights.

CREATE OR REPLACE FUNCTION tidings.role_of(wanted text) RETURNS regrole
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.role FROM tidings.role r WHERE r.kind = wanted
$$;

CREATE OR REPLACE FUNCTION tidings.may_manage() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_has_role(tidings.caller(), tidings.role_of('admin'), 'USAGE')
    OR pg_has_role(tidings.caller(), tidings.role_of('owner'), 'USAGE')
$$;

CREATE OR REPLACE FUNCTION tidings.must(what text, queue text, source text = NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  who constant name := tidings.caller();
  live regclass;
  lacking text;
BEGIN
  IF what = 'manage' THEN
    IF tidings.may_manage() THEN
      RETURN;
    END IF;
    RAISE EXCEPTION 'role "%" may not create, change or remove queue "%": it is no member of %',
      who, queue, tidings.role_of('admin') USING ERRCODE = 'insufficient_privilege',
      HINT = format('GRANT %s TO %I, or do it as one that is: %s.', tidings.role_of('admin'), who, coalesce((
        SELECT string_agg(r.rolname, ', ' ORDER BY r.rolname) FROM pg_roles r
        WHERE r.rolcanlogin AND NOT r.rolsuper
          AND (pg_has_role(r.oid, tidings.role_of('admin'), 'USAGE') OR pg_has_role(r.oid, tidings.role_of('owner'), 'USAGE'))
      ), 'nobody so far'));
  END IF;
  IF pg_has_role(who, current_user, 'USAGE') THEN
    RETURN;
  END IF;
  IF what = 'publish' THEN
    IF pg_has_role(who, tidings.role_of('producer'), 'USAGE') THEN
      RETURN;
    END IF;
    RAISE EXCEPTION 'role "%" may not publish to topics: it is no member of %', who, tidings.role_of('producer')
      USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT %s TO %I.', tidings.role_of('producer'), who);
  END IF;
  -- A dead letter goes into the dead-letter queue of its queue, and back, by the right to receive.
  IF source IS NOT NULL AND (queue = source || '_dlq' OR source = queue || '_dlq') THEN
    RETURN;
  END IF;
  live := tidings.table_of(queue);
  lacking := CASE what
    WHEN 'send' THEN CASE WHEN NOT has_table_privilege(who, live, 'INSERT') THEN 'INSERT' END
    WHEN 'receive' THEN CASE WHEN NOT has_table_privilege(who, live, 'DELETE') THEN 'DELETE' END
    WHEN 'look' THEN CASE WHEN NOT has_table_privilege(who, live, 'SELECT') THEN 'SELECT' END
    ELSE CASE WHEN NOT has_column_privilege(who, live, 'read_ct', 'SELECT') THEN 'SELECT (read_ct)' END
  END;
  IF lacking IS NOT NULL THEN
    RAISE EXCEPTION 'role "%" may not % queue "%": it lacks % on %', who,
      CASE what
        WHEN 'send' THEN 'send to' WHEN 'receive' THEN 'receive from'
        WHEN 'look' THEN 'look at messages of' ELSE 'see figures of'
      END, queue, lacking, live USING ERRCODE = 'insufficient_privilege',
      HINT = format('GRANT %s ON %s TO %I, or make it a member of %s.', lacking, live, who,
        tidings.role_of(CASE what WHEN 'send' THEN 'producer' WHEN 'measure' THEN 'monitor' ELSE 'consumer' END));
  END IF;
END
$$;

-- What the roles have on every queue, and roles with the right to receive on its dead-letter queue.
CREATE OR REPLACE FUNCTION tidings.grant_on_new_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live constant regclass := tidings.table_of(queue);
  archive constant regclass := tidings.table_of(queue, 'a_');
  one oid;
BEGIN
  EXECUTE format('GRANT INSERT ON %s TO %s', live, tidings.role_of('producer'));
  EXECUTE format('GRANT SELECT, DELETE ON %s TO %s', live, tidings.role_of('consumer'));
  EXECUTE format('GRANT SELECT ON %s TO %s', archive, tidings.role_of('consumer'));
  EXECUTE format('GRANT SELECT (msg_id, read_ct, enqueued_at, vt) ON %s TO %s', live, tidings.role_of('monitor'));
  FOR one IN
    SELECT DISTINCT a.grantee FROM pg_class c, aclexplode(c.relacl) a
    WHERE right(queue, 4) = '_dlq' AND c.oid = to_regclass(format('pgmq.%I', 'q_' || left(queue, -4)))
      AND a.privilege_type = 'DELETE' AND a.grantee NOT IN (0, c.relowner)
  LOOP
    EXECUTE format('GRANT SELECT, DELETE ON %s TO %s', live, one::regrole);
    EXECUTE format('GRANT SELECT ON %s TO %s', archive, one::regrole);
  END LOOP;
END
$$;

-- The functions that programs call, and who may. 'queue': every role with a right on a queue, which the function looks at;
-- 'member': members of the roles. Everything else is called by nobody but the owner.
CREATE OR REPLACE FUNCTION tidings.entry_points() RETURNS TABLE (function_name text, audience text[])
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT name, '{queue,admin,producer,consumer,monitor}'::text[] FROM unnest('{
    create_queue,drop_queue,configure,all_settings,purge_queue,prune,stats,history_of,count_held_back,unlimited_leases,next_ready_ms,parked,enable,send,send_limited,claim,claim_ids,sweep_step,pop,peek,sent_with,settle,extend,cancel,cancel_running,make_ready,
    bind,unbind,bindings,start_waiting,still_open,look,tables_behind,index_queue,prepare_queue,waiting_lock,microseconds,next_delayed_ms,may_manage,v1_claim
  }'::text[]) AS name
  UNION ALL
  SELECT name, '{admin,producer,consumer,monitor}' FROM unnest('{topics,topic_id,correlation_state,history_of_all,processes}'::text[]) AS name
  UNION ALL
  SELECT name, '{producer}' FROM unnest('{publish,append,v1_publish}'::text[]) AS name
  UNION ALL
  SELECT name, '{admin,producer}' FROM unnest('{put_schedule,remove_schedule,schedules}'::text[]) AS name
  UNION ALL
  SELECT name, '{queue,consumer}'
  FROM unnest('{begin_life,introduce,end_life,give_back_of_gone,give_back_claim,add_history}'::text[]) AS name
  UNION ALL
  SELECT name, '{consumer}' FROM unnest('{
    read_topic,subscribe,unsubscribe,hold_subscription,leave_subscription,ack_topic,seek_topic,plan_seek,
    v1_subscribe,v1_unsubscribe,v1_fetch,v1_ack,v1_seek
  }'::text[]) AS name
  UNION ALL
  SELECT 'subscriptions', '{consumer,monitor}'
  UNION ALL
  SELECT name, '{admin}' FROM unnest('{create_topic,drop_topic,link_topic,unlink_topic,v1_create_topic,v1_drop_topic}'::text[]) AS name
  UNION ALL
  SELECT name, '{admin,consumer}' FROM unnest('{maintain,queues_to_maintain,maintain_queue,topics_to_maintain,take_in,prune_topic,begin_history,note_history,end_history}'::text[]) AS name
  UNION ALL
  -- A trigger: nobody has to be allowed to call it.
  SELECT 'look_for_completion', '{}'
$$;

-- Lets a role call the functions of an audience.
CREATE OR REPLACE FUNCTION tidings.admit(who regrole, kind text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one regprocedure;
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA tidings TO %s', who);
  EXECUTE format('GRANT SELECT ON tidings.migration TO %s', who);
  FOR one IN
    SELECT p.oid FROM pg_proc p JOIN tidings.entry_points() e ON e.function_name = p.proname
    WHERE p.pronamespace = 'tidings'::regnamespace AND kind = ANY (e.audience)
    UNION ALL
    SELECT p.oid FROM pg_proc p
    WHERE p.pronamespace = 'pgmq'::regnamespace AND pg_get_userbyid(p.proowner) = current_user
      AND left(p.proname, 9) <> '_tidings_'
  LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', one, who);
  END LOOP;
  IF pg_has_role((SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'pgmq'), 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA pgmq TO %s', who);
    EXECUTE format('GRANT SELECT ON pgmq.meta TO %s', who);
  END IF;
END
$$;

-- Lets a role of its own send to, receive from or measure one queue; `granted` false takes that back.
CREATE OR REPLACE FUNCTION tidings.grant_queue(queue text, what text, who regrole, granted boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  names text[] := ARRAY[queue];
  one text;
  command text;
BEGIN
  -- A dead letter is received like the message that it was.
  IF what = 'receive' AND to_regclass(format('pgmq.%I', 'q_' || queue || '_dlq')) IS NOT NULL THEN
    names := names || (queue || '_dlq');
  END IF;
  FOREACH one IN ARRAY names LOOP
    FOREACH command IN ARRAY CASE what
      WHEN 'send' THEN ARRAY[format('INSERT ON %s', tidings.table_of(one))]
      WHEN 'receive' THEN ARRAY[
        format('SELECT, DELETE ON %s', tidings.table_of(one)), format('SELECT ON %s', tidings.table_of(one, 'a_'))]
      ELSE ARRAY[format('SELECT (msg_id, read_ct, enqueued_at, vt) ON %s', tidings.table_of(one))]
    END LOOP
      EXECUTE format(CASE WHEN granted THEN 'GRANT %s TO %s' ELSE 'REVOKE %s FROM %s' END, command, who);
    END LOOP;
  END LOOP;
  IF granted THEN
    PERFORM tidings.admit(who, 'queue');
  END IF;
END
$$;

-- Lets listeners announce delayed messages, where the migration of the events was applied.
CREATE OR REPLACE FUNCTION tidings.grant_events() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  listener regrole;
BEGIN
  IF to_regprocedure('tidings_events.announce_due()') IS NULL THEN
    RETURN;
  END IF;
  FOR listener IN SELECT r.role FROM tidings.role r WHERE r.kind IN ('consumer', 'monitor') LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA tidings_events TO %s', listener);
    EXECUTE format('GRANT EXECUTE ON FUNCTION tidings_events.announce_due() TO %s', listener);
  END LOOP;
END
$$;

DO $$
DECLARE
  one record;
BEGIN
  FOR one IN
    SELECT p.oid::regprocedure AS signature FROM pg_proc p JOIN tidings.entry_points() e ON e.function_name = p.proname
    WHERE p.pronamespace = 'tidings'::regnamespace
    UNION ALL
    SELECT p.oid::regprocedure FROM pg_proc p
    WHERE p.pronamespace = 'pgmq'::regnamespace AND pg_get_userbyid(p.proowner) = current_user
      AND left(p.proname, 9) <> '_tidings_'
  LOOP
    EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', one.signature);
  END LOOP;
  FOR one IN
    SELECT p.oid::regprocedure AS signature FROM pg_proc p
    WHERE p.pronamespace = 'pgmq'::regnamespace AND pg_get_userbyid(p.proowner) = current_user
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one.signature);
  END LOOP;
  REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings FROM PUBLIC;

  FOR one IN SELECT r.kind, r.role FROM tidings.role r WHERE r.kind <> 'owner' LOOP
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings FROM %s', one.role);
    PERFORM tidings.admit(one.role, one.kind);
  END LOOP;
  FOR one IN
    SELECT lower(m.queue_name) AS queue FROM pgmq.meta m
    JOIN pg_class c ON c.relname = 'q_' || lower(m.queue_name) AND c.relnamespace = 'pgmq'::regnamespace
  LOOP
    PERFORM tidings.grant_on_new_queue(one.queue);
  END LOOP;
  -- Roles with rights on single queues.
  FOR one IN
    SELECT DISTINCT a.grantee::regrole AS role
    FROM pg_class c LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL,
      LATERAL (SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(t.attacl)) a
    WHERE c.relnamespace = 'pgmq'::regnamespace AND left(c.relname, 2) = 'q_' AND a.grantee NOT IN (0, c.relowner)
      AND NOT EXISTS (SELECT FROM tidings.role r WHERE r.role = a.grantee)
  LOOP
    PERFORM tidings.admit(one.role, 'queue');
  END LOOP;
  PERFORM tidings.grant_events();
END
$$;
