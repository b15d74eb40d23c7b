import { connect } from 'tidings/internal/connect'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqClient, type PgmqDatabase, pgmqDatabase } from './pgmq-support.ts'
import { message, newName } from './support.ts'

const tooLong = 'P0001 queue name is too long, maximum length is 47 characters'
const invalid = "P0001 queue name contains invalid characters: $, ;, --, or \\'"

describe.each(['postgres15', 'postgres18'] as const)("queues by PGMQ's functions on %s", (server) => {
  let db: PgmqDatabase
  let client: PgmqClient

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer(server))
    client = db.client
  })
  afterAll(() => db.close())

  const metaOf = async (pattern: string) =>
    (await client.rows('SELECT queue_name FROM pgmq.meta WHERE queue_name ILIKE $1 ORDER BY 1', [pattern])).map(
      (row) => row.queue_name,
    )
  const tablesOf = async (queue: string) =>
    (
      await client.rows(
        `SELECT relname AS name, relpersistence AS kept FROM pg_class
        WHERE relnamespace = 'pgmq'::regnamespace AND relname = ANY ($1) ORDER BY 1`,
        [[`q_${queue}`, `a_${queue}`, `q_${queue}_msg_id_seq`]],
      )
    ).map((row) => `${row.name} ${row.kept}`)

  test('creating what is there tells so, four times, and changes nothing', async () => {
    const queue = newName('twice')
    expect(await client.notices('create($1)', [queue])).toEqual([])
    await client.call("send($1, '1')", [queue])
    const told = [`q_${queue}`, `a_${queue}`, `q_${queue}_vt_idx`, `archived_at_idx_${queue}`].map(
      (name) => `NOTICE 42P07 relation "${name}" already exists, skipping`,
    )
    expect(await client.notices('create($1)', [queue])).toEqual(told)
    expect(await client.notices('create_non_partitioned($1)', [queue])).toEqual(told)
    expect(await client.notices('create_unlogged($1)', [queue])).toEqual(told)
    expect(await client.rows('SELECT is_unlogged FROM pgmq.meta WHERE queue_name = $1', [queue])).toEqual([
      { is_unlogged: false },
    ])
    expect(await client.ids('read($1, 0, 1)', [queue])).toEqual([1])
  })

  test('dropping tells only of what is not there', async () => {
    const queue = newName('dropped')
    await client.call('create($1)', [queue])
    expect(await client.ask('SELECT pgmq.drop_queue($1)', [queue])).toEqual({
      rows: [{ drop_queue: true }],
      notices: [],
    })
    expect(await tablesOf(queue)).toEqual([])
    expect(await client.ask('SELECT pgmq.drop_queue($1)', [queue])).toEqual({
      rows: [{ drop_queue: false }],
      notices: [`NOTICE 00000 pgmq queue \`${queue}\` does not exist`],
    })
    expect(await client.ask('SELECT pgmq.drop_queue(NULL)')).toEqual({
      rows: [{ drop_queue: false }],
      notices: ['NOTICE 00000 pgmq queue `<NULL>` does not exist'],
    })
  })

  test('what is deprecated warns', async () => {
    const deprecated =
      'WARNING 01000 drop_queue(queue_name, partitioned) is deprecated and will be removed in PGMQ v2.0. Use drop_queue(queue_name) instead'
    const queue = newName('old')
    await client.call('create($1)', [queue])
    expect(await client.ask('SELECT pgmq.drop_queue($1, true)', [queue])).toEqual({
      rows: [{ drop_queue: true }],
      notices: [deprecated],
    })
    expect(await client.ask('SELECT pgmq.drop_queue($1, false)', [queue])).toEqual({
      rows: [{ drop_queue: true }],
      notices: [deprecated, `NOTICE 00000 pgmq queue \`${queue}\` does not exist`],
    })
    expect(await client.notices("detach_archive('nope')")).toEqual([
      'WARNING 01000 detach_archive(queue_name) is deprecated and is a no-op. It will be removed in PGMQ v2.0. Archive tables are no longer member objects.',
    ])
  })

  test('an unlogged queue keeps its archive, and takes no message that has to be on disk', async () => {
    const queue = newName('unlogged')
    await client.call('create_unlogged($1)', [queue])
    expect(await tablesOf(queue)).toEqual([`a_${queue} p`, `q_${queue} u`, `q_${queue}_msg_id_seq u`])
    expect(await client.rows('SELECT is_unlogged FROM pgmq.list_queues() WHERE queue_name = $1', [queue])).toEqual([
      { is_unlogged: true },
    ])
    await client.call(`send($1, '1', '{"a": 1}'::jsonb)`, [queue])
    expect(await client.rows('SELECT message, headers FROM pgmq.read($1, 0, 1)', [queue])).toEqual([
      { message: 1, headers: { a: 1 } },
    ])
    const bus = await connect(db.url)
    expect((await bus.queues()).find((one) => one.queue === queue)).toMatchObject({ isUnlogged: true })
    await bus.queue(queue).send('kept as long as the server runs')
    await expect(bus.queue(queue, { durability: 'fsync' }).send('kept')).rejects.toMatchObject({
      code: 'DURABILITY_UNAVAILABLE',
      message: expect.stringContaining('unlogged'),
    })
    expect((await bus.diagnose()).map(({ message }) => message).join()).toContain(`pgmq.q_${queue}`)
    await bus.close()
  })

  test('a name has up to 47 characters and any but four', async () => {
    const start = newName('n')
    const longest = start + 'x'.repeat(47 - start.length)
    expect(await client.failure('create($1)', [`${longest}x`])).toBe(tooLong)
    expect(await client.failure('create_unlogged($1)', [`${longest}x`])).toBe(tooLong)
    expect(await client.failure('create_partitioned($1)', [`${longest}x`])).toBe(tooLong)
    expect(await client.failure('validate_queue_name($1)', [`${longest}x`])).toBe(tooLong)
    await client.call('create($1)', [longest])
    await client.call('validate_queue_name($1)', ["a$b;c--d'"])
    expect(await client.call('format_table_name($1, $2)', ['Some-Name', 'q'])).toEqual(['q_some-name'])
    expect(await client.call('format_table_name($1, $2)', [null, 'q'])).toEqual([null])
    for (const bad of ['a$b', 'a;b', 'a--b', "a'b", `${'x'.repeat(60)};`]) {
      expect(await client.failure("format_table_name($1, 'q')", [bad])).toBe(invalid)
      expect(await client.failure('create($1)', [bad])).toBe(invalid)
    }
  })

  test('a name with other characters is refused by every function that takes one', async () => {
    const calls = [
      'create_unlogged($1)',
      'create_non_partitioned($1)',
      'create_partitioned($1)',
      'drop_queue($1)',
      'purge_queue($1)',
      'metrics($1)',
      "send($1, '1')",
      "send_batch($1, ARRAY['1']::jsonb[])",
      'read($1, 0, 1)',
      'read_with_poll($1, 0, 1)',
      'pop($1)',
      'set_vt($1, 1::bigint, 0)',
      'set_vt($1, ARRAY[1]::bigint[], 0)',
      'delete($1, 1)',
      'delete($1, ARRAY[1]::bigint[])',
      'archive($1, 1)',
      'archive($1, ARRAY[1]::bigint[])',
      'read_grouped($1, 0, 1)',
      'read_grouped_rr($1, 0, 1)',
      'read_grouped_head($1, 0, 1)',
      'create_fifo_index($1)',
      'enable_notify_insert($1)',
      'disable_notify_insert($1)',
      'convert_archive_partitioned($1)',
    ]
    for (const call of calls) expect(await client.failure(call, ['a--b; DROP']), call).toBe(invalid)
  })

  test('a missing queue is a missing table', async () => {
    const calls = [
      'purge_queue($1)',
      'metrics($1)',
      "send($1, '1')",
      "send_batch($1, ARRAY['1']::jsonb[])",
      'read($1, 0, 1)',
      'pop($1)',
      'set_vt($1, 1::bigint, 0)',
      'delete($1, 1)',
      'archive($1, 1)',
      'read_with_poll($1, 0, 1)',
      'read_grouped($1, 0, 1)',
      'read_grouped($1, 0, NULL)',
      'read_grouped_rr($1, 0, 1)',
      'read_grouped_head($1, 0, 1)',
      'read_grouped_with_poll($1, 0, 1)',
      'create_fifo_index($1)',
    ]
    for (const call of calls)
      expect(await client.failure(call, ['nope']), call).toBe('42P01 relation "pgmq.q_nope" does not exist')
  })

  test('a queue is listed as its name was given, and dropped with all its spellings', async () => {
    const queue = newName('Mixed')
    const folded = queue.toLowerCase()
    await client.call('create($1)', [queue])
    expect(await client.notices('create($1)', [folded])).toHaveLength(4)
    expect((await metaOf(queue)).sort()).toEqual([queue, folded].sort())
    await client.call("send($1, '1')", [queue.toUpperCase()])
    expect(await client.ids('read($1, 0, 1)', [folded])).toEqual([1])
    expect(await client.rows('SELECT queue_name, queue_length AS n FROM pgmq.metrics($1)', [queue])).toEqual([
      { queue_name: queue, n: 1 },
    ])
    expect((await client.rows('SELECT queue_name FROM pgmq.metrics_all()')).map((row) => row.queue_name)).toEqual(
      expect.arrayContaining([queue, folded]),
    )
    expect((await db.engine.describe(null)).filter((one) => one.queue === folded)).toHaveLength(1)
    expect(await client.call('drop_queue($1)', [queue.toUpperCase()])).toEqual([true])
    expect(await metaOf(queue)).toEqual([])
    expect(await tablesOf(folded)).toEqual([])
  })

  test.each(['with space', 'with "quotes"', 'dots.and/slashes', 'hyphen-ed', 'größe-ß', '', 'topic:news'])(
    'a queue named %j works',
    async (queue) => {
      await client.call('create($1)', [queue])
      await client.call(`send($1, '1', '{"x-pgmq-group": "g"}'::jsonb)`, [queue])
      await client.call("send($1, '2')", [queue])
      await client.call('enable_notify_insert($1, 0)', [queue])
      await client.call("send($1, '3')", [queue])
      expect(await client.ids('read_grouped($1, 0, 9)', [queue])).toEqual([1, 2, 3])
      expect(await client.call('archive($1, 1)', [queue])).toEqual([true])
      expect(await client.call('purge_queue($1)', [queue])).toEqual([2])
      expect(await client.rows('SELECT queue_name, total_messages AS n FROM pgmq.metrics($1)', [queue])).toEqual([
        { queue_name: queue, n: 3 },
      ])
      // Tidings says why it does not use it, and the figures of all queues hold those of this one.
      const bus = await connect(db.url)
      const listed = (await bus.queues()).find((one) => one.queue === queue)
      const isOurs = queue === 'hyphen-ed'
      expect(listed?.unusable === undefined).toBe(isOurs)
      if (!isOurs) expect(() => bus.queue(queue)).toThrow(listed?.unusable?.replace('its name', 'queue name'))
      expect((await bus.stats()).find((one) => one.queue === queue)).toMatchObject({ totalSent: 3, archived: 1 })
      await bus.close()
      expect(await client.call('drop_queue($1)', [queue])).toEqual([true])
    },
  )

  test('what is forgotten with a queue is not what belongs to a topic of Tidings', async () => {
    const bus = await connect(db.url)
    await bus.topic('kept').publish(1, { dedupId: 'once' })
    await client.call("create('topic:kept')")
    await client.call("drop_queue('topic:kept')")
    expect(await bus.topic('kept').publish(1, { dedupId: 'once' })).toMatchObject({ duplicate: true })
    await bus.close()
  })

  test('tables that were left behind are a queue again', async () => {
    const queue = newName('left')
    await client.call('create_unlogged($1)', [queue])
    await client.call("send($1, '1')", [queue])
    await client.rows('DELETE FROM pgmq.meta WHERE queue_name = $1', [queue])
    expect(await client.notices('create($1)', [queue])).toEqual([])
    expect(await client.rows('SELECT is_unlogged FROM pgmq.meta WHERE queue_name = $1', [queue])).toEqual([
      { is_unlogged: true },
    ])
    expect(await client.ids('read($1, 0, 1)', [queue])).toEqual([1])
  })

  test('a queue that is created in a transaction goes with it', async () => {
    const queue = newName('undone')
    await client.rows('BEGIN')
    await client.call('create($1)', [queue])
    await client.rows('ROLLBACK')
    expect(await tablesOf(queue)).toEqual([])
  })

  test('metrics count what is there, hidden and archived', async () => {
    const queue = newName('metrics')
    await client.call('create($1)', [queue])
    expect(await client.rows('SELECT * FROM pgmq.metrics($1)', [queue])).toMatchObject([
      {
        queue_name: queue,
        queue_length: 0,
        newest_msg_age_sec: null,
        oldest_msg_age_sec: null,
        total_messages: 0,
        queue_visible_length: 0,
        default_partition_length: null,
      },
    ])
    await client.call("send_batch($1, array_fill('1'::jsonb, ARRAY[5]))", [queue])
    await client.call("send($1, '1', 100)", [queue])
    await db.engine.send(queue, [message({ data: '1', delayMs: 3_600_000 })], null)
    await client.call('archive($1, 1)', [queue])
    expect(await client.rows('SELECT * FROM pgmq.metrics($1)', [queue])).toMatchObject([
      { queue_length: 6, newest_msg_age_sec: 0, oldest_msg_age_sec: 0, total_messages: 7, queue_visible_length: 4 },
    ])
    expect(await client.call('purge_queue($1)', [queue])).toEqual([6])
  })

  test('small questions', async () => {
    expect(await client.call("_extension_exists('plpgsql')")).toEqual([true])
    expect(await client.call("_extension_exists('nope')")).toEqual([false])
    expect(await client.call("_belongs_to_pgmq('meta')")).toEqual([false])
    for (const [interval, column] of [
      ['10000', 'msg_id'],
      ['99999999999', 'enqueued_at'],
      ['1 day', 'enqueued_at'],
      ['daily', 'enqueued_at'],
    ])
      expect(await client.call('_get_partition_col($1)', [interval])).toEqual([column])
    await client.call("acquire_queue_lock('a')")
  })
})
