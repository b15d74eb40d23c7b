-- A role for applications: it may send, read, settle and look at messages in PostgreSQL, and nothing else.
--
-- Run this once as the role that owns the schemas pgmq and tidings, in the database of the queues, after Tidings was
-- there once as that role (`tidings doctor --url …` is enough: connecting installs the schema). Running it again does no
-- harm. Replace tidings_app by a name of your own, and give the role a password or another way in:
--
--   ALTER ROLE tidings_app PASSWORD '…';
--
-- What this role may not do: read any other schema, install or upgrade the schema of Tidings. An application that
-- finds the schema missing or older than itself gets SCHEMA_MISSING; one that finds it newer gets SCHEMA_NEWER.

-- Needs CREATEROLE; or let somebody else create the role before.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidings_app') THEN
    CREATE ROLE tidings_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
  END IF;
END
$$;

-- The names in both schemas.
GRANT USAGE ON SCHEMA pgmq, tidings TO tidings_app;

-- The functions of Tidings. They run with the rights of the caller, so the tables have to be granted, too.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings TO tidings_app;

-- Messages and archives. TRUNCATE is for `purge` only; leave it out if the application is not to empty its queues.
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA pgmq TO tidings_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidings TO tidings_app;
-- The version of the schema is read at every start, but only an upgrade writes it.
REVOKE INSERT, UPDATE, DELETE ON tidings.migration FROM tidings_app;
-- The ids of messages; `stats` reads the last one.
GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA pgmq TO tidings_app;

-- The same for queues that the current role creates later, and for functions of later versions.
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO tidings_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT SELECT, USAGE ON SEQUENCES TO tidings_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA tidings GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tidings_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA tidings GRANT EXECUTE ON FUNCTIONS TO tidings_app;

-- May it create queues? Tidings does so with the first message, and with the first dead letter. The tables then belong
-- to this role: other roles need grants on them, and only their owner can drop them.
-- Without this line create the queues, and with each its dead-letter queue (<queue>_dlq), as another role before.
GRANT CREATE ON SCHEMA pgmq TO tidings_app;
