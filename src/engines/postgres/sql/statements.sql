-- What the engine sends. Parameters are scalars and each is cast, so that every driver passes them alike; a batch is
-- one JSON text.

-- name: createQueue
-- $1 queue → created
SELECT tidings.create_queue($1::text) AS created;

-- name: dropQueue
-- $1 queue → dropped
SELECT tidings.drop_queue($1::text) AS dropped;

-- name: listQueues
-- → queue, created_at in ms since 1970
SELECT lower(queue_name) AS queue, (tidings.microseconds(created_at) / 1000)::float8 AS created_at
FROM pgmq.meta ORDER BY 1;

-- name: purgeQueue
-- $1 queue → purged
SELECT tidings.purge_queue($1::text)::float8 AS purged;

-- name: stats
-- $1 queue → ready, delayed, leased, archived, total_sent, oldest_ready_ms, newest_ms, oldest_ms, created_at
SELECT ready::float8, delayed::float8, leased::float8, archived::float8, total_sent::float8,
  oldest_ready_ms, newest_ms, oldest_ms, created_at
FROM tidings.stats($1::text);

-- name: enable
-- $1 queue, $2 has ordering keys, $3 has priorities
SELECT tidings.enable($1::text, $2::boolean, $3::boolean);

-- name: send
-- $1 queue, $2 batch, $3 plain → id, duplicate
SELECT id, duplicate FROM tidings.send($1::text, $2::text::jsonb, $3::boolean);

-- name: claim
-- $1 queue, $2 quantity, $3 lease in ms, $4 mark, $5 last key, $6 sweep → rows of tidings.message
SELECT * FROM tidings.claim($1::text, $2::integer, $3::bigint, $4::bigint, $5::text, $6::boolean);

-- name: claimIds
-- $1 queue, $2 lease in ms, $3 ids as JSON → rows of tidings.message
SELECT * FROM tidings.claim_ids($1::text, $2::bigint, ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)::bigint));

-- name: pop
-- $1 queue, $2 quantity, $3 mark, $4 last key, $5 sweep → rows of tidings.message
SELECT * FROM tidings.pop($1::text, $2::integer, $3::bigint, $4::text, $5::boolean);

-- name: peek
-- $1 queue, $2 place or null, $3 quantity, $4 after id or null, $5 ids as JSON or null → rows of tidings.message
SELECT * FROM tidings.peek($1::text, $2::text, $3::integer, $4::bigint,
  CASE WHEN $5::text IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text($5::text::jsonb)::bigint) END);

-- name: settle
-- $1 queue, $2 batch, $3 plain → at, new_id
SELECT at, new_id FROM tidings.settle($1::text, $2::text::jsonb, $3::boolean);

-- name: extend
-- $1 queue, $2 batch, $3 lease in ms → at, vt_us
SELECT at, vt_us FROM tidings.extend($1::text, $2::text::jsonb, $3::bigint);

-- name: cancel
-- $1 queue, $2 ids as JSON → id
SELECT id FROM tidings.cancel($1::text, ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint));

-- name: maintain
SELECT tidings.maintain();

-- name: startWaiting
-- $1 queue; on the listening connection
SELECT pg_advisory_lock_shared(tidings.waiting_lock($1::text));

-- name: stopWaiting
-- $1 queue; on the listening connection
SELECT pg_advisory_unlock_shared(tidings.waiting_lock($1::text));
