import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqDatabase, pgmqDatabase } from './pgmq-support.ts'

/** The 76 functions of PGMQ 1.13.1, by what its clients call: names of arguments, defaults, results; volatile if nothing else is said. */
const functions = `
  _belongs_to_pgmq(table_name text) -> boolean
  _create_fifo_index_if_not_exists(queue_name text) -> void
  _ensure_pg_partman_installed() -> void
  _extension_exists(extension_name text) -> boolean
  _get_partition_col(partition_interval text) -> text
  _get_pg_partman_major_version() -> integer
  _get_pg_partman_schema() -> text
  _send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz) -> SETOF bigint
  _validate_batch_params(msgs jsonb[], headers jsonb[]) -> void
  acquire_queue_lock(queue_name text) -> void
  archive(queue_name text, msg_id bigint) -> boolean
  archive(queue_name text, msg_ids bigint[]) -> SETOF bigint
  bind_topic(pattern text, queue_name text) -> void
  convert_archive_partitioned(table_name text, partition_interval text DEFAULT '10000', retention_interval text DEFAULT '100000', leading_partition integer DEFAULT 10) -> void
  create(queue_name text) -> void
  create_fifo_index(queue_name text) -> void
  create_fifo_indexes_all() -> void
  create_non_partitioned(queue_name text) -> void
  create_partitioned(queue_name text, partition_interval text DEFAULT '10000', retention_interval text DEFAULT '100000', premake integer DEFAULT 4) -> void
  create_unlogged(queue_name text) -> void
  delete(queue_name text, msg_id bigint) -> boolean
  delete(queue_name text, msg_ids bigint[]) -> SETOF bigint
  detach_archive(queue_name text) -> void
  disable_notify_insert(queue_name text) -> void
  drop_queue(queue_name text) -> boolean
  drop_queue(queue_name text, partitioned boolean) -> boolean
  enable_notify_insert(queue_name text, throttle_interval_ms integer DEFAULT 250) -> void
  format_table_name(queue_name text, prefix text) -> text
  list_notify_insert_throttles() -> TABLE(queue_name text, throttle_interval_ms integer, last_notified_at timestamptz), stable
  list_queues() -> SETOF pgmq.queue_record, stable
  list_topic_bindings() -> TABLE(pattern text, queue_name text, bound_at timestamptz, compiled_regex text), stable
  list_topic_bindings(queue_name text) -> TABLE(pattern text, queue_name text, bound_at timestamptz, compiled_regex text), stable
  metrics(queue_name text) -> pgmq.metrics_result
  metrics_all() -> SETOF pgmq.metrics_result
  notify_queue_listeners() -> trigger
  pop(queue_name text, qty integer DEFAULT 1) -> SETOF pgmq.message_record
  purge_queue(queue_name text) -> bigint
  read(queue_name text, vt integer, qty integer, conditional jsonb DEFAULT '{}') -> SETOF pgmq.message_record
  read_grouped(queue_name text, vt integer, qty integer) -> SETOF pgmq.message_record
  read_grouped_head(queue_name text, vt integer, qty integer) -> SETOF pgmq.message_record
  read_grouped_head_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) -> SETOF pgmq.message_record
  read_grouped_rr(queue_name text, vt integer, qty integer) -> SETOF pgmq.message_record
  read_grouped_rr_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) -> SETOF pgmq.message_record
  read_grouped_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100) -> SETOF pgmq.message_record
  read_with_poll(queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5, poll_interval_ms integer DEFAULT 100, conditional jsonb DEFAULT '{}') -> SETOF pgmq.message_record
  send(queue_name text, msg jsonb) -> SETOF bigint
  send(queue_name text, msg jsonb, delay integer) -> SETOF bigint
  send(queue_name text, msg jsonb, delay timestamptz) -> SETOF bigint
  send(queue_name text, msg jsonb, headers jsonb) -> SETOF bigint
  send(queue_name text, msg jsonb, headers jsonb, delay integer) -> SETOF bigint
  send(queue_name text, msg jsonb, headers jsonb, delay timestamptz) -> SETOF bigint
  send_batch(queue_name text, msgs jsonb[]) -> SETOF bigint
  send_batch(queue_name text, msgs jsonb[], delay integer) -> SETOF bigint
  send_batch(queue_name text, msgs jsonb[], delay timestamptz) -> SETOF bigint
  send_batch(queue_name text, msgs jsonb[], headers jsonb[]) -> SETOF bigint
  send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay integer) -> SETOF bigint
  send_batch(queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz) -> SETOF bigint
  send_batch_topic(routing_key text, msgs jsonb[]) -> TABLE(queue_name text, msg_id bigint)
  send_batch_topic(routing_key text, msgs jsonb[], delay integer) -> TABLE(queue_name text, msg_id bigint)
  send_batch_topic(routing_key text, msgs jsonb[], delay timestamptz) -> TABLE(queue_name text, msg_id bigint)
  send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[]) -> TABLE(queue_name text, msg_id bigint)
  send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay integer) -> TABLE(queue_name text, msg_id bigint)
  send_batch_topic(routing_key text, msgs jsonb[], headers jsonb[], delay timestamptz) -> TABLE(queue_name text, msg_id bigint)
  send_topic(routing_key text, msg jsonb) -> integer
  send_topic(routing_key text, msg jsonb, delay integer) -> integer
  send_topic(routing_key text, msg jsonb, headers jsonb, delay integer) -> integer
  set_vt(queue_name text, msg_id bigint, vt integer) -> SETOF pgmq.message_record
  set_vt(queue_name text, msg_id bigint, vt timestamptz) -> SETOF pgmq.message_record
  set_vt(queue_name text, msg_ids bigint[], vt integer) -> SETOF pgmq.message_record
  set_vt(queue_name text, msg_ids bigint[], vt timestamptz) -> SETOF pgmq.message_record
  test_routing(routing_key text) -> TABLE(pattern text, queue_name text, compiled_regex text), stable
  unbind_topic(pattern text, queue_name text) -> boolean
  update_notify_insert(queue_name text, throttle_interval_ms integer) -> void
  validate_queue_name(queue_name text) -> void
  validate_routing_key(routing_key text) -> boolean, immutable
  validate_topic_pattern(pattern text) -> boolean, immutable
`

describe.each(['postgres15', 'postgres18'] as const)('the schema pgmq on %s', (server) => {
  let db: PgmqDatabase

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer(server))
  })
  afterAll(() => db.close())

  test('has the functions of PGMQ, and others by their names only', async () => {
    const found = await db.client.rows(
      `SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') -> ' || pg_get_function_result(p.oid)
        || CASE p.provolatile WHEN 'i' THEN ', immutable' WHEN 's' THEN ', stable' ELSE '' END AS signature
      FROM pg_proc p WHERE p.pronamespace = 'pgmq'::regnamespace AND NOT starts_with(p.proname, '_tidings_')
        -- For clients that pass no types.
        AND p.oid <> 'pgmq.set_vt(text, text, text)'::regprocedure`,
    )
    const signatures = found.map(({ signature }) =>
      String(signature)
        .replaceAll('timestamp with time zone', 'timestamptz')
        .replaceAll(/::(text|jsonb)/g, ''),
    )
    expect(signatures.sort()).toEqual(functions.trim().split(/\n\s*/).sort())
    expect(signatures).toHaveLength(76)
  })

  test('has its types and tables, column by column', async () => {
    const columns = async (relation: string) =>
      (
        await db.client.rows(
          `SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) AS list
          FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
          [`pgmq.${relation}`],
        )
      )[0]?.list
    const time = 'timestamp with time zone'
    expect(await columns('message_record')).toBe(
      `msg_id bigint, read_ct integer, enqueued_at ${time}, last_read_at ${time}, vt ${time}, message jsonb, headers jsonb`,
    )
    expect(await columns('queue_record')).toBe(
      `queue_name character varying, is_partitioned boolean, is_unlogged boolean, created_at ${time}`,
    )
    expect(await columns('meta')).toBe(await columns('queue_record'))
    expect(await columns('metrics_result')).toBe(
      'queue_name text, queue_length bigint, newest_msg_age_sec integer, oldest_msg_age_sec integer, ' +
        `total_messages bigint, scrape_time ${time}, queue_visible_length bigint, default_partition_length bigint`,
    )
    expect(await columns('notify_insert_throttle')).toBe(
      `queue_name character varying, throttle_interval_ms integer, last_notified_at ${time}`,
    )
    expect(await columns('topic_bindings')).toBe(`pattern text, queue_name text, bound_at ${time}, compiled_regex text`)
  })
})
