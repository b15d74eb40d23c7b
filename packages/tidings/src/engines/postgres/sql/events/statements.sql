-- name: lookAtDue
-- Whether the migration of the events is there, whether this role may announce what has come due, and in how many
-- milliseconds the next message of tidings.delayed is due, null if there is none -> installed, may_announce, delayed_ms;
-- prefix: of the channels, from the source, since nobody needs a right for that
SELECT events.oid IS NOT NULL AS installed, (
    SELECT substring(p.prosrc FROM '''([^'']*)''') FROM pg_proc p
    WHERE p.pronamespace = events.pronamespace AND p.proname = 'channel_prefix'
  ) AS prefix,
  coalesce(has_schema_privilege(events.pronamespace, 'USAGE') AND has_function_privilege(events.oid, 'EXECUTE'), false)
    AS may_announce,
  tidings.next_delayed_ms() AS delayed_ms
FROM (VALUES (1)) AS always (one)
LEFT JOIN (
  SELECT p.oid, p.pronamespace FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname = 'tidings_events' AND p.proname = 'announce_due'
) events ON true;

-- name: announceDue
-- -> next_ms
SELECT tidings_events.announce_due() AS next_ms;
