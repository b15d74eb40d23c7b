-- Delayed messages that are still to be announced; one row a statement and due time.
CREATE TABLE tidings_events.due (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  due timestamptz NOT NULL,
  queue_name text NOT NULL,
  msg_ids bigint[] NOT NULL
);
CREATE INDEX ON tidings_events.due (due);

CREATE FUNCTION tidings_events.iso(moment timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- Notifies the channel of the namespace and the one for all. A namespace too long for a channel has only the latter.
CREATE FUNCTION tidings_events.emit(namespace text, event jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  everything text := tidings_events.channel_prefix() || 'pgmq_message_ready';
  own text := everything || '.' || namespace;
BEGIN
  PERFORM pg_notify(everything, event::text);
  IF octet_length(own) <= 63 THEN
    PERFORM pg_notify(own, event::text);
  END IF;
END
$$;

-- Tells that messages can be read: one event, whatever their number. What is too large for a notification, in bytes,
-- is left out as a whole, so that the event is always JSON.
-- message: the body, of a single message
CREATE FUNCTION tidings_events.announce(queue text, ids bigint[], message jsonb, delay_seconds bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  space text := tidings_events.namespace_of(queue);
  event jsonb := jsonb_build_object(
    'queue_name', queue, 'namespace', space, 'ready_at', tidings_events.iso(clock_timestamp()),
    'delay_seconds', greatest(delay_seconds, 0));
  whole jsonb;
BEGIN
  IF cardinality(ids) = 1 THEN
    whole := event || jsonb_build_object(
      'event_type', 'message_with_payload', 'msg_id', ids[1], 'message', coalesce(message, 'null'));
    event := event || jsonb_build_object(
      'event_type', 'message_ready', 'msg_id', ids[1], 'metadata', '{}'::jsonb, 'payload_omitted', true);
  ELSE
    event := event || jsonb_build_object(
      'event_type', 'batch_ready', 'message_count', cardinality(ids), 'metadata', '{}'::jsonb);
    whole := event || jsonb_build_object('msg_ids', ids);
    event := event || jsonb_build_object('truncated', true);
  END IF;
  PERFORM tidings_events.emit(
    space, CASE
      WHEN octet_length(whole::text) <= tidings_events.max_bytes()
        AND (cardinality(ids) > 1 OR tidings_events.with_data()) THEN whole
      ELSE event
    END);
END
$$;

-- Whether a table is a queue that the functions with the owner's rights may touch: one in schema pgmq that belongs to
-- this same owner. A table of another role could carry code of that role (a view, a policy, a cast) and have it run here.
CREATE FUNCTION tidings_events.is_own_queue(candidate oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM pg_class c
    WHERE c.oid = candidate AND c.relnamespace = 'pgmq'::regnamespace AND left(c.relname, 2) = 'q_'
      AND c.relkind IN ('r', 'p') AND pg_get_userbyid(c.relowner) = current_user)
$$;

-- As its owner, so that senders need no rights here.
CREATE FUNCTION tidings_events.on_insert() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  queue text := substr(TG_TABLE_NAME, 3);
  moment timestamptz := clock_timestamp();
  ready bigint[];
  waited bigint;
  soonest timestamptz;
BEGIN
  IF NOT tidings_events.is_own_queue(TG_RELID) THEN
    RETURN NULL;
  END IF;
  SELECT array_agg(i.msg_id ORDER BY i.msg_id),
    min(floor(date_part('epoch', CASE WHEN isfinite(i.vt) THEN i.vt - i.enqueued_at ELSE interval '0' END)))
  INTO ready, waited FROM inserted i WHERE i.vt <= moment;
  IF ready IS NOT NULL THEN
    PERFORM tidings_events.announce(
      queue, ready, (SELECT i.message FROM inserted i WHERE i.msg_id = ready[1] AND cardinality(ready) = 1), waited);
  END IF;

  -- What another client hides for ever never comes due.
  IF EXISTS (SELECT FROM inserted i WHERE i.vt > moment AND i.vt < 'infinity') THEN
    INSERT INTO tidings_events.due (due, queue_name, msg_ids)
    SELECT i.vt, queue, array_agg(i.msg_id ORDER BY i.msg_id) FROM inserted i
    WHERE i.vt > moment AND i.vt < 'infinity' GROUP BY i.vt;
    SELECT min(i.vt) INTO soonest FROM inserted i WHERE i.vt > moment AND i.vt < 'infinity';
    PERFORM pg_notify(
      tidings_events.channel_prefix() || 'pgmq_message_due',
      ceil(date_part('epoch', soonest - moment) * 1000)::text);
    -- Where nobody listens, nobody announces them.
    DELETE FROM tidings_events.due d WHERE d.id IN (
      SELECT o.id FROM tidings_events.due o WHERE o.due < moment - interval '1 day'
      LIMIT 100 FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN NULL;
END
$$;

-- Called by listeners, any number of them: announces, once, what has come due and is still there, unread. Returns in
-- how many milliseconds there is more to announce; null if nothing is known to come.
CREATE FUNCTION tidings_events.announce_due() RETURNS double precision
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  moment timestamptz := clock_timestamp();
  entry record;
  live regclass;
  ready bigint[];
  message jsonb;
  waited bigint;
BEGIN
  FOR entry IN
    DELETE FROM tidings_events.due d WHERE d.id IN (
      SELECT o.id FROM tidings_events.due o WHERE o.due <= moment ORDER BY o.due LIMIT 1000 FOR UPDATE SKIP LOCKED)
    RETURNING d.queue_name, d.msg_ids
  LOOP
    live := to_regclass(format('pgmq.%I', 'q_' || entry.queue_name));
    CONTINUE WHEN live IS NULL OR NOT tidings_events.is_own_queue(live);
    EXECUTE format($sql$
      SELECT array_agg(msg_id ORDER BY msg_id),
        min(floor(date_part('epoch', CASE WHEN isfinite(vt) THEN vt - enqueued_at ELSE interval '0' END)))
      FROM %s WHERE msg_id = ANY ($1) AND read_ct = 0 AND vt <= $2
    $sql$, live) INTO ready, waited USING entry.msg_ids, moment;
    IF ready IS NOT NULL THEN
      EXECUTE format('SELECT message FROM %s WHERE msg_id = $1', live) INTO message USING ready[1];
      PERFORM tidings_events.announce(entry.queue_name, ready, message, waited);
    END IF;
    -- Somebody put them off.
    EXECUTE format($sql$
      INSERT INTO tidings_events.due (due, queue_name, msg_ids)
      SELECT vt, $1, array_agg(msg_id ORDER BY msg_id) FROM %s
      WHERE msg_id = ANY ($2) AND read_ct = 0 AND vt > $3 AND vt < 'infinity' GROUP BY vt
    $sql$, live) USING entry.queue_name, entry.msg_ids, moment;
  END LOOP;
  RETURN (SELECT ceil(date_part('epoch', min(d.due) - clock_timestamp()) * 1000) FROM tidings_events.due d);
END
$$;

CREATE FUNCTION tidings_events.install(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  live regclass := to_regclass(format('pgmq.%I', 'q_' || queue));
BEGIN
  IF live IS NULL OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = live AND t.tgname = 'tidings_events') THEN
    RETURN;
  END IF;
  IF NOT tidings_events.is_own_queue(live) THEN
    RAISE WARNING 'queue "%" announces no events: % does not own its table', queue, current_user;
    RETURN;
  END IF;
  EXECUTE format($sql$
    CREATE TRIGGER tidings_events AFTER INSERT ON %s REFERENCING NEW TABLE AS inserted
    FOR EACH STATEMENT EXECUTE FUNCTION tidings_events.on_insert()
  $sql$, live);
END
$$;

-- As its owner, so that roles that create queues need no rights here.
CREATE FUNCTION tidings_events.on_queue_created() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  entry record;
BEGIN
  IF TG_RELID <> 'pgmq.meta'::regclass THEN
    RETURN NULL;
  END IF;
  FOR entry IN SELECT lower(c.queue_name) AS queue, c.created_at, c.is_partitioned, c.is_unlogged FROM created c LOOP
    PERFORM tidings_events.install(entry.queue);
    PERFORM pg_notify(tidings_events.channel_prefix() || 'pgmq_queue_created', jsonb_build_object(
      'event_type', 'queue_created', 'queue_name', entry.queue,
      'namespace', tidings_events.namespace_of(entry.queue), 'created_at', tidings_events.iso(entry.created_at),
      'metadata', CASE WHEN tidings_events.with_metadata()
        THEN jsonb_build_object('is_partitioned', entry.is_partitioned, 'is_unlogged', entry.is_unlogged)
        ELSE '{}' END)::text);
  END LOOP;
  RETURN NULL;
END
$$;

-- Roles that listen need USAGE on the schema and EXECUTE on announce_due(); triggers need no rights of the sender.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings_events FROM PUBLIC;

CREATE TRIGGER tidings_events AFTER INSERT ON pgmq.meta REFERENCING NEW TABLE AS created
FOR EACH STATEMENT EXECUTE FUNCTION tidings_events.on_queue_created();

DO $$
DECLARE
  queue text;
BEGIN
  FOR queue IN
    SELECT substr(c.relname, 3) FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'pgmq'::regnamespace AND left(c.relname, 2) = 'q_'
      AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    ORDER BY c.relname
  LOOP
    PERFORM tidings_events.install(queue);
  END LOOP;
END
$$;

DO $$
BEGIN
  IF to_regprocedure('tidings.grant_events()') IS NOT NULL THEN
    EXECUTE 'SELECT tidings.grant_events()';
  END IF;
END
$$;
