-- name: lookAtDue
-- Whether the migration of the events is there, and in how many milliseconds the next message of tidings.delayed is
-- due, null if there is none → installed, delayed_ms
SELECT to_regprocedure('tidings_events.announce_due()') IS NOT NULL AS installed, (
  SELECT tidings.milliseconds_until(min(next.due)) FROM tidings.queue q
  CROSS JOIN LATERAL (
    SELECT d.due FROM tidings.delayed d WHERE d.queue_name = q.queue_name ORDER BY d.due LIMIT 1) next
) AS delayed_ms;

-- name: announceDue
-- → next_ms
SELECT tidings_events.announce_due() AS next_ms;
