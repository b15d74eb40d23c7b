-- Small things that the other functions share.

-- Whether the schema pgmq is ours, and so are the functions in it; else Tidings is attached to PGMQ itself.
CREATE OR REPLACE FUNCTION tidings.owns_pgmq() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(obj_description(to_regnamespace('pgmq'), 'pg_namespace') LIKE '%by Tidings', false)
$$;

-- A message that is due by then waits in the table of its queue, a later one in tidings.delayed, so that a claim does not
-- have to walk over it. PGMQ's own functions know nothing of that table.
CREATE OR REPLACE FUNCTION tidings.near_until() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN tidings.owns_pgmq() THEN clock_timestamp() + interval '1 minute' ELSE 'infinity' END
$$;

-- The role that called a function with the rights of its owner.
CREATE OR REPLACE FUNCTION tidings.caller() RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END
$$;

-- The table of a queue, or of its archive, or null.
CREATE OR REPLACE FUNCTION tidings.find_table(queue text, prefix text = 'q_') RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found regclass := to_regclass(format('pgmq.%I', prefix || queue));
BEGIN
  IF found IS NULL THEN
    -- A session that looked for the table before it was created may believe until the end of its transaction that there
    -- is none; the catalog itself knows better.
    SELECT c.oid INTO found FROM pg_class c
    WHERE c.relname = prefix || queue AND c.relnamespace = 'pgmq'::regnamespace;
  END IF;
  RETURN found;
END
$$;

-- The same; raises TD404 where there is none.
CREATE OR REPLACE FUNCTION tidings.table_of(queue text, prefix text = 'q_') RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found regclass := to_regclass(format('pgmq.%I', prefix || queue));
BEGIN
  IF found IS NULL THEN
    found := tidings.find_table(queue, prefix);
  END IF;
  IF found IS NULL THEN
    RAISE EXCEPTION 'queue "%" does not exist', queue USING ERRCODE = 'TD404', DETAIL = queue;
  END IF;
  -- Nothing would be found there, and nobody told why.
  IF row_security_active(found) AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = found) THEN
    RAISE EXCEPTION 'row level security hides all of queue "%" from role "%"', queue, current_user
      USING ERRCODE = 'insufficient_privilege',
      HINT = format('Add a policy for the role on %s, or use one with BYPASSRLS or the owner.', found);
  END IF;
  RETURN found;
END
$$;

-- Whether a body is {"data": ..., "meta": {...}} and nothing else. Anything else is data that another client sent, or that
-- we sent bare, with its meta in a header.
-- In PL/pgSQL, which keeps its plan for the session.
CREATE OR REPLACE FUNCTION tidings.is_envelope(message jsonb, headers jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN coalesce(
    jsonb_typeof(message) = 'object'
      AND message ? 'data'
      AND jsonb_typeof(message -> 'meta') = 'object'
      AND message - '{data,meta}'::text[] = '{}'
      AND headers -> 'x-tidings-meta' IS NULL,
    false);
END
$$;

-- Fields of `patch` over those of `meta`; a null takes a field away. What is no object has no fields.
CREATE OR REPLACE FUNCTION tidings.merge_meta(meta jsonb, patch jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (CASE WHEN jsonb_typeof(meta) = 'object' THEN meta ELSE '{}' END || patch)
    - ARRAY(SELECT key FROM jsonb_each(patch) WHERE value = 'null')
$$;

-- The body with its meta patched; a bare body stays as it is.
CREATE OR REPLACE FUNCTION tidings.patched_message(message jsonb, headers jsonb, patch jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN patch = '{}' OR NOT tidings.is_envelope(message, headers) THEN message
    ELSE jsonb_set(message, '{meta}', tidings.merge_meta(message -> 'meta', patch))
  END
$$;

-- The headers with the meta of a bare body patched, which is kept there. Clients of PGMQ may send any JSON as headers:
-- what is no object, and so has no place for meta, becomes the header x-tidings-headers.
CREATE OR REPLACE FUNCTION tidings.patched_headers(message jsonb, headers jsonb, patch jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE
    WHEN patch = '{}' OR tidings.is_envelope(message, headers) THEN headers
    ELSE
      CASE
        WHEN jsonb_typeof(headers) = 'object' THEN headers
        WHEN headers <> 'null' THEN jsonb_set('{}', '{x-tidings-headers}', headers)
        ELSE '{}'
      END || jsonb_set('{}', '{x-tidings-meta}', tidings.merge_meta(headers -> 'x-tidings-meta', patch))
  END
$$;

-- Expressions that stand in many statements. They are texts and no functions that are called: those have a SET, so that
-- PostgreSQL cannot put their bodies in their place, and costs more than all the rest of a claim.

-- The priority of a message, of which there is an index: a whole number of up to three digits. What else a client puts
-- there says nothing.
CREATE OR REPLACE FUNCTION tidings.priority_expression() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $sql$(CASE WHEN headers ->> 'x-tidings-priority' ~ '^-?[0-9]{1,3}$'
    THEN (headers ->> 'x-tidings-priority')::integer END)$sql$
$$;

-- Whether an entry e of a batch proves a lease on a message of the table q.
CREATE OR REPLACE FUNCTION tidings.proof_expression() RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT $sql$(q.msg_id = (e ->> 'i')::bigint AND q.read_ct = (e ->> 'r')::integer
    AND q.vt = timestamptz '1970-01-01 00:00:00+00' + (e ->> 'v')::bigint * interval '1 microsecond')$sql$
$$;

-- Times as numbers. Other clients hide messages until 'infinity': that is the last moment that a date of JavaScript holds.

-- Microseconds since 1970: exact, and the same in every time zone.
CREATE OR REPLACE FUNCTION tidings.microseconds(moment timestamptz) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- A double holds these exactly: 53 bits reach to the year 2255.
  SELECT round(date_part('epoch', moment) * 1000000)::bigint
$$;

CREATE OR REPLACE FUNCTION tidings.from_microseconds(value bigint) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT timestamptz '1970-01-01 00:00:00+00' + value * interval '1 microsecond'
$$;

CREATE OR REPLACE FUNCTION tidings.milliseconds(moment timestamptz) RETURNS double precision
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT floor(round(date_part('epoch', moment) * 1000000) / 1000)
$$;

-- Milliseconds from now until a moment, rounded up. In PL/pgSQL, which keeps its plan for the session.
CREATE OR REPLACE FUNCTION tidings.milliseconds_until(moment timestamptz) RETURNS double precision
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN CASE
    WHEN isfinite(moment) THEN ceil(date_part('epoch', moment - clock_timestamp()) * 1000)
    WHEN moment = 'infinity' THEN 8.64e15
    WHEN moment = '-infinity' THEN -8.64e15
  END;
END
$$;

-- A message as it lies in a table, and as the engine reads it.
DO $$
BEGIN
  IF to_regtype('tidings.stored') IS NULL THEN
    CREATE TYPE tidings.stored AS (
      msg_id bigint, read_ct integer, enqueued_at timestamptz, last_read_at timestamptz, vt timestamptz,
      message jsonb, headers jsonb, archived_at timestamptz
    );
    CREATE TYPE tidings.message AS (
      id text, data text, meta text, headers text, read_ct integer, vt_us text,
      sent_at double precision, visible_at double precision, last_read_at double precision,
      archived_at double precision, next_due_ms double precision, sweep_ms double precision
    );
  END IF;
END
$$;

-- A function of its own, and not part of the statements that name a table: those are planned at every call, this is
-- planned once a session.
CREATE OR REPLACE FUNCTION tidings.to_messages(rows tidings.stored[]) RETURNS SETOF tidings.message
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY
  SELECT
    r.msg_id::text,
    CASE WHEN envelope.is_one THEN r.message -> 'data' ELSE coalesce(r.message, 'null') END::text,
    CASE WHEN envelope.is_one THEN r.message -> 'meta' ELSE r.headers -> 'x-tidings-meta' END::text,
    r.headers::text,
    r.read_ct,
    CASE WHEN isfinite(r.vt) THEN round(date_part('epoch', r.vt) * 1000000)::bigint::text END,
    floor(round(date_part('epoch', r.enqueued_at) * 1000000) / 1000),
    least(greatest(floor(round(date_part('epoch', r.vt) * 1000000) / 1000), -8.64e15), 8.64e15),
    floor(round(date_part('epoch', r.last_read_at) * 1000000) / 1000),
    floor(round(date_part('epoch', r.archived_at) * 1000000) / 1000),
    NULL::double precision,
    NULL::double precision
  FROM unnest(rows) r CROSS JOIN LATERAL (
    -- As tidings.is_envelope has it, which costs more for each message than all of this. Found once, not with every mention.
    SELECT coalesce(
      jsonb_typeof(r.message) = 'object'
        AND r.message ? 'data'
        AND jsonb_typeof(r.message -> 'meta') = 'object'
        AND r.message - '{data,meta}'::text[] = '{}'
        AND r.headers -> 'x-tidings-meta' IS NULL,
      false) AS is_one OFFSET 0
  ) envelope;
END
$$;

-- False for tables of PGMQ before 1.10, until an upgrade of it adds the column.
CREATE OR REPLACE FUNCTION tidings.has_last_read(live regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = live AND a.attname = 'last_read_at' AND NOT a.attisdropped)
$$;

-- Settings of one queue; a queue that another client created is taken in on first use.
CREATE OR REPLACE FUNCTION tidings.settings_of(wanted text) RETURNS tidings.queue
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  settings tidings.queue;
BEGIN
  SELECT * INTO settings FROM tidings.queue q WHERE q.queue_name = wanted;
  IF NOT FOUND THEN
    INSERT INTO tidings.queue (queue_name, has_last_read)
    SELECT wanted, tidings.has_last_read(tidings.table_of(wanted))
    ON CONFLICT (queue_name) DO UPDATE SET queue_name = EXCLUDED.queue_name
    RETURNING * INTO settings;
  ELSIF NOT settings.has_last_read AND tidings.has_last_read(tidings.table_of(wanted)) THEN
    UPDATE tidings.queue q SET has_last_read = true WHERE q.queue_name = wanted RETURNING * INTO settings;
  END IF;
  RETURN settings;
END
$$;

-- For column lists: the column that tables of older PGMQ lack, or nothing.
CREATE OR REPLACE FUNCTION tidings.last_read_column(queue text) RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN (tidings.settings_of(queue)).has_last_read THEN ', last_read_at' ELSE '' END
$$;

-- The same where it is read.
CREATE OR REPLACE FUNCTION tidings.last_read_or_null(queue text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN tidings.has_last_read(tidings.table_of(queue)) THEN 'last_read_at' ELSE 'NULL::timestamptz' END
$$;
