-- What the client of PGMQ's functions sends. Every parameter is a text or null and is cast, so that all drivers pass it
-- alike; the answer is one column with the rows as JSON text, which no driver rounds, renames or converts.

-- name: isInstalled
-- → [whether there is a schema pgmq]
SELECT json_build_array(EXISTS (SELECT FROM pg_namespace WHERE nspname = 'pgmq'))::text;

-- name: create
-- $1 queue
SELECT '[]'::text FROM pgmq.create($1::text);

-- name: createUnlogged
-- $1 queue
SELECT '[]'::text FROM pgmq.create_unlogged($1::text);

-- name: createPartitioned
-- $1 queue, $2 interval of a partition, $3 interval after which one is dropped
SELECT '[]'::text FROM pgmq.create_partitioned($1::text, $2::text, $3::text);

-- name: createPartitionedAhead
-- The same, $4 how many partitions to make ahead
SELECT '[]'::text FROM pgmq.create_partitioned($1::text, $2::text, $3::text, $4::text::integer);

-- name: convertArchivePartitioned
-- $1 queue, $2 interval of a partition, $3 interval after which one is dropped, $4 how many to make ahead
SELECT '[]'::text FROM pgmq.convert_archive_partitioned($1::text, $2::text, $3::text, $4::text::integer);

-- name: drop
-- $1 queue → [whether it was there]
SELECT coalesce(json_agg(dropped), '[]')::text FROM pgmq.drop_queue($1::text) AS dropped;

-- name: purge
-- $1 queue → [how many messages]
SELECT coalesce(json_agg(purged), '[]')::text FROM pgmq.purge_queue($1::text) AS purged;

-- name: detachArchive
-- $1 queue
SELECT '[]'::text FROM pgmq.detach_archive($1::text);

-- name: list
-- → rows of pgmq.queue_record
SELECT coalesce(json_agg(queue), '[]')::text FROM pgmq.list_queues() AS queue;

-- name: metrics
-- $1 queue → [pgmq.metrics_result]
SELECT coalesce(json_agg(figures), '[]')::text FROM pgmq.metrics($1::text) AS figures;

-- name: metricsAll
-- → rows of pgmq.metrics_result
SELECT coalesce(json_agg(figures), '[]')::text FROM pgmq.metrics_all() AS figures;

-- name: createFifoIndex
-- $1 queue
SELECT '[]'::text FROM pgmq.create_fifo_index($1::text);

-- name: createFifoIndexes
SELECT '[]'::text FROM pgmq.create_fifo_indexes_all();

-- name: send
-- $1 queue, $2 message, $3 headers, $4 delay in seconds, $5 or the time at which it becomes visible → [id]
SELECT coalesce(json_agg(id), '[]')::text FROM pgmq.send($1::text, $2::text::jsonb, $3::text::jsonb,
  coalesce($5::text::timestamptz, clock_timestamp() + $4::text::integer * interval '1 second')) AS id;

-- name: sendBatch
-- $1 queue, $2 messages, $3 headers, $4 delay in seconds, $5 or the time at which they become visible → ids
SELECT coalesce(json_agg(id), '[]')::text FROM pgmq.send_batch($1::text, $2::text::jsonb[], $3::text::jsonb[],
  coalesce($5::text::timestamptz, clock_timestamp() + $4::text::integer * interval '1 second')) AS id;

-- name: read
-- $1 queue, $2 for how many seconds they are hidden, $3 how many, $4 what they contain → rows of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.read($1::text, $2::text::integer, $3::text::integer, $4::text::jsonb) AS found;

-- name: readWithPoll
-- The same, $5 for how many seconds to wait, $6 how many milliseconds between looks
SELECT coalesce(json_agg(found), '[]')::text FROM pgmq.read_with_poll($1::text, $2::text::integer, $3::text::integer,
  $5::text::integer, $6::text::integer, $4::text::jsonb) AS found;

-- name: readGrouped
-- $1 queue, $2 for how many seconds they are hidden, $3 how many → rows of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.read_grouped($1::text, $2::text::integer, $3::text::integer) AS found;

-- name: readGroupedWithPoll
-- The same, $4 for how many seconds to wait, $5 how many milliseconds between looks
SELECT coalesce(json_agg(found), '[]')::text FROM pgmq.read_grouped_with_poll($1::text, $2::text::integer,
  $3::text::integer, $4::text::integer, $5::text::integer) AS found;

-- name: readGroupedRoundRobin
-- As readGrouped
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.read_grouped_rr($1::text, $2::text::integer, $3::text::integer) AS found;

-- name: readGroupedRoundRobinWithPoll
-- As readGroupedWithPoll
SELECT coalesce(json_agg(found), '[]')::text FROM pgmq.read_grouped_rr_with_poll($1::text, $2::text::integer,
  $3::text::integer, $4::text::integer, $5::text::integer) AS found;

-- name: readGroupedHead
-- As readGrouped
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.read_grouped_head($1::text, $2::text::integer, $3::text::integer) AS found;

-- name: readGroupedHeadWithPoll
-- As readGroupedWithPoll
SELECT coalesce(json_agg(found), '[]')::text FROM pgmq.read_grouped_head_with_poll($1::text, $2::text::integer,
  $3::text::integer, $4::text::integer, $5::text::integer) AS found;

-- name: pop
-- $1 queue → at most one row of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text FROM pgmq.pop($1::text) AS found;

-- name: popBatch
-- $1 queue, $2 how many → rows of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text FROM pgmq.pop($1::text, $2::text::integer) AS found;

-- name: delete
-- $1 queue, $2 id → [whether it was there]
SELECT coalesce(json_agg(deleted), '[]')::text FROM pgmq.delete($1::text, $2::text::bigint) AS deleted;

-- name: deleteBatch
-- $1 queue, $2 ids → ids that were there
SELECT coalesce(json_agg(id), '[]')::text FROM pgmq.delete($1::text, $2::text::bigint[]) AS id;

-- name: archive
-- $1 queue, $2 id → [whether it was there]
SELECT coalesce(json_agg(archived), '[]')::text FROM pgmq.archive($1::text, $2::text::bigint) AS archived;

-- name: archiveBatch
-- $1 queue, $2 ids → ids that were there
SELECT coalesce(json_agg(id), '[]')::text FROM pgmq.archive($1::text, $2::text::bigint[]) AS id;

-- name: setVt
-- $1 queue, $2 id, $3 for how many seconds from now it is hidden → at most one row of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.set_vt($1::text, $2::text::bigint, $3::text::integer) AS found;

-- name: setVtAt
-- $1 queue, $2 id, $3 until when it is hidden → at most one row of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.set_vt($1::text, $2::text::bigint, $3::text::timestamptz) AS found;

-- name: setVtBatch
-- $1 queue, $2 ids, $3 for how many seconds from now they are hidden → rows of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.set_vt($1::text, $2::text::bigint[], $3::text::integer) AS found;

-- name: setVtBatchAt
-- $1 queue, $2 ids, $3 until when they are hidden → rows of pgmq.message_record
SELECT coalesce(json_agg(found), '[]')::text
FROM pgmq.set_vt($1::text, $2::text::bigint[], $3::text::timestamptz) AS found;

-- name: bindTopic
-- $1 pattern, $2 queue
SELECT '[]'::text FROM pgmq.bind_topic($1::text, $2::text);

-- name: unbindTopic
-- $1 pattern, $2 queue → [whether it was there]
SELECT coalesce(json_agg(unbound), '[]')::text FROM pgmq.unbind_topic($1::text, $2::text) AS unbound;

-- name: listTopicBindings
-- → rows with pattern, queue_name, bound_at, compiled_regex
SELECT coalesce(json_agg(binding), '[]')::text FROM pgmq.list_topic_bindings() AS binding;

-- name: listTopicBindingsOf
-- $1 queue → the same
SELECT coalesce(json_agg(binding), '[]')::text FROM pgmq.list_topic_bindings($1::text) AS binding;

-- name: testRouting
-- $1 routing key → rows with pattern, queue_name, compiled_regex
SELECT coalesce(json_agg(binding), '[]')::text FROM pgmq.test_routing($1::text) AS binding;

-- name: sendTopic
-- $1 routing key, $2 message, $3 headers, $4 delay in seconds → [how many queues]
SELECT coalesce(json_agg(queues), '[]')::text
FROM pgmq.send_topic($1::text, $2::text::jsonb, $3::text::jsonb, $4::text::integer) AS queues;

-- name: sendBatchTopic
-- $1 routing key, $2 messages, $3 headers, $4 delay in seconds, $5 or the time at which they become visible
-- → rows with queue_name, msg_id
SELECT coalesce(json_agg(sent), '[]')::text FROM pgmq.send_batch_topic($1::text, $2::text::jsonb[], $3::text::jsonb[],
  coalesce($5::text::timestamptz, clock_timestamp() + $4::text::integer * interval '1 second')) AS sent;

-- name: enableNotify
-- $1 queue, $2 milliseconds between notifications at least
SELECT '[]'::text FROM pgmq.enable_notify_insert($1::text, $2::text::integer);

-- name: disableNotify
-- $1 queue
SELECT '[]'::text FROM pgmq.disable_notify_insert($1::text);

-- name: updateNotify
-- $1 queue, $2 milliseconds between notifications at least
SELECT '[]'::text FROM pgmq.update_notify_insert($1::text, $2::text::integer);

-- name: listNotify
-- → rows with queue_name, throttle_interval_ms, last_notified_at
SELECT coalesce(json_agg(throttle), '[]')::text FROM pgmq.list_notify_insert_throttles() AS throttle;
