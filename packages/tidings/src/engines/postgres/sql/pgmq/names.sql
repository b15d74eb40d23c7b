-- PGMQ's functions, for its clients, where the schema pgmq is ours and not the extension's. Names, signatures and
-- behaviour are those of PGMQ 1.13; the statements are our own. This file: names of queues and of their tables.
--
-- The bodies of a few functions keep their lines: psql shows where an error was raised, and so does PGMQ's own test suite.

-- Null for null.
CREATE OR REPLACE FUNCTION pgmq.format_table_name(queue_name text, prefix text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF queue_name ~ '[$;'']|--' THEN
    RAISE EXCEPTION 'queue name contains invalid characters: $, ;, --, or %''', chr(92);
  END IF;
  RETURN lower(prefix || '_' || queue_name);
END
$$;

CREATE OR REPLACE FUNCTION pgmq.validate_queue_name(queue_name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  longest constant integer := 47;
BEGIN
  -- Characters, as there. Names of tables end after 63 bytes, so that long names of
  -- other letters may meet; PostgreSQL then finds the table there already.
  IF length(queue_name) > longest THEN
    RAISE EXCEPTION 'queue name is too long, maximum length is % characters', longest;
  END IF;
END
$$;

-- Where the caller may do this with the queue: its table, or its archive with the prefix 'a'. The name is checked first.
CREATE OR REPLACE FUNCTION pgmq._tidings_table(what text, queue_name text, prefix text = 'q') RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found constant text := pgmq.format_table_name(queue_name, prefix);
BEGIN
  PERFORM pgmq._tidings_must(what, lower(queue_name));
  RETURN found;
END
$$;

CREATE OR REPLACE FUNCTION pgmq.acquire_queue_lock(queue_name text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_advisory_xact_lock(hashtext('pgmq.queue_' || queue_name))
$$;

-- Whether the extension owns a relation.
CREATE OR REPLACE FUNCTION pgmq._belongs_to_pgmq(table_name text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (
    SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_class c ON c.oid = d.objid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
      AND e.extname = 'pgmq' AND c.relnamespace = 'pgmq'::regnamespace AND c.relname = table_name)
$$;

CREATE OR REPLACE FUNCTION pgmq._extension_exists(extension_name text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_extension e WHERE e.extname = extension_name)
$$;
