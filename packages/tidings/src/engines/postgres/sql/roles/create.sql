-- Makes the five roles where they are missing, and gives the first of them all that Tidings has in this database. Takes a
-- superuser, or a role with CREATEROLE that owns the database and everything of Tidings in it.
-- The setting tidings.role_prefix is what their names begin with. Running this again is harmless.
CREATE TABLE IF NOT EXISTS tidings.role (kind text PRIMARY KEY, role regrole NOT NULL);

DO $$
DECLARE
  prefix constant text := current_setting('tidings.role_prefix');
  kinds constant text[] := '{owner,admin,producer,consumer,monitor}';
  owner constant name := prefix || '_owner';
  database constant name := current_database();
  wanted text;
  seen record;
  command text;
BEGIN
  SELECT string_agg(r.role::text, ', ') AS roles INTO seen
  FROM tidings.role r LEFT JOIN pg_roles p ON p.oid = r.role WHERE p.rolname IS DISTINCT FROM prefix || '_' || r.kind;
  IF seen.roles IS NOT NULL THEN
    RAISE EXCEPTION 'this database has other roles already: %', seen.roles USING ERRCODE = 'duplicate_object';
  END IF;

  FOREACH wanted IN ARRAY kinds LOOP
    SELECT rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolbypassrls INTO seen
    FROM pg_roles WHERE rolname = prefix || '_' || wanted;
    IF NOT FOUND THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', prefix || '_' || wanted);
      IF wanted = 'owner' AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', owner);
      END IF;
    ELSIF seen.rolsuper OR seen.rolcanlogin OR seen.rolcreaterole OR seen.rolcreatedb OR seen.rolbypassrls THEN
      RAISE EXCEPTION 'the role %_% is there already and may do more than such a role should', prefix, wanted
        USING ERRCODE = 'duplicate_object';
    END IF;
    INSERT INTO tidings.role (kind, role)
    SELECT wanted, p.oid FROM pg_roles p WHERE p.rolname = prefix || '_' || wanted
    ON CONFLICT (kind) DO NOTHING;
  END LOOP;
  EXECUTE format('GRANT %I TO %I', prefix || '_monitor', prefix || '_admin');

  -- Code of others on a queue would run with the rights of the owner.
  SELECT string_agg(format('%s on %s', t.tgname, t.tgrelid::regclass), ', ') AS triggers INTO seen
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc f ON f.oid = t.tgfoid
  WHERE c.relnamespace IN ('pgmq'::regnamespace, 'tidings'::regnamespace) AND NOT t.tgisinternal
    AND f.pronamespace NOT IN ('pgmq'::regnamespace, 'tidings'::regnamespace)
    AND f.pronamespace IS DISTINCT FROM to_regnamespace('tidings_events');
  IF seen.triggers IS NOT NULL THEN
    RAISE EXCEPTION 'remove these triggers first, which would run with the rights of %: %', owner, seen.triggers
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;

  -- A new owner needs CREATE on what holds the object.
  EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', database, owner);
  -- A list first: a table cannot change while a query reads it.
  FOREACH command IN ARRAY ARRAY(
    WITH ours AS (
      SELECT n.oid, n.nspname FROM pg_namespace n
      WHERE n.nspname IN ('tidings', 'tidings_events')
        OR n.nspname = 'pgmq' AND obj_description(n.oid, 'pg_namespace') LIKE '%by Tidings'
    ), queues AS (
      SELECT c.oid FROM pgmq.meta m
      JOIN pg_class c ON c.relname IN ('q_' || lower(m.queue_name), 'a_' || lower(m.queue_name))
      WHERE c.relnamespace = 'pgmq'::regnamespace
    )
    SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, owner) FROM ours
    UNION ALL
    SELECT format('GRANT USAGE, CREATE ON SCHEMA pgmq TO %I', owner) WHERE NOT EXISTS (SELECT FROM ours WHERE nspname = 'pgmq')
    UNION ALL
    SELECT format('GRANT SELECT, INSERT, DELETE, TRIGGER ON pgmq.meta TO %I', owner)
    WHERE NOT EXISTS (SELECT FROM ours WHERE nspname = 'pgmq')
    UNION ALL
    SELECT format('GRANT USAGE ON SCHEMA pgmq TO %1$s; GRANT SELECT ON pgmq.meta TO %1$s', r.role) FROM tidings.role r
    WHERE r.kind <> 'owner' AND NOT EXISTS (SELECT FROM ours WHERE nspname = 'pgmq')
    UNION ALL
    SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, owner) FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'v')
      AND (c.relnamespace IN (SELECT oid FROM ours) OR c.oid IN (SELECT oid FROM queues))
    UNION ALL
    SELECT format('ALTER TYPE %s OWNER TO %I', t.oid::regtype, owner) FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
    WHERE c.relkind = 'c' AND t.typnamespace IN (SELECT oid FROM ours)
    UNION ALL
    SELECT format('ALTER FUNCTION %s OWNER TO %I', p.oid::regprocedure, owner) FROM pg_proc p
    WHERE p.pronamespace IN (SELECT oid FROM ours)
  ) LOOP
    EXECUTE command;
  END LOOP;
  EXECUTE format('REVOKE CREATE ON DATABASE %I FROM %I', database, owner);
END
$$;
