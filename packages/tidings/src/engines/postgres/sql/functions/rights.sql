-- Who may do what, where `tidings migrate --roles` was not run: functions have the rights of the caller, so PostgreSQL
-- itself decides, and there is nothing to check or to grant. sql/roles/rights.sql replaces these.

-- Fails where the caller may not do this with a queue.
-- what: 'manage', 'send', 'receive', 'look' (at bodies) or 'measure'; 'publish' to topics, where the queue is null
-- source: for 'send', the queue that the message comes from, or null
CREATE OR REPLACE FUNCTION tidings.must(what text, queue text, source text = NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
END
$$;

-- Grants what roles may do with a new queue.
CREATE OR REPLACE FUNCTION tidings.grant_on_new_queue(queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
END
$$;

-- Whether the caller may create queues.
CREATE OR REPLACE FUNCTION tidings.may_manage() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT has_schema_privilege('pgmq', 'CREATE')
$$;
