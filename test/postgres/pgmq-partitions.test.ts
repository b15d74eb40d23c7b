import { connect } from 'tidings/internal/connect'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqClient, type PgmqDatabase, pgmqDatabase } from './pgmq-support.ts'
import { newName } from './support.ts'

const needed = 'P0001 pg_partman is required for partitioned queues'

test.each(['postgres15', 'postgres18'] as const)('partitioned queues need pg_partman on %s', async (server) => {
  const db = await pgmqDatabase(await sharedServer(server))
  for (const call of [
    "create_partitioned('p')",
    "convert_archive_partitioned('p')",
    '_ensure_pg_partman_installed()',
    "create_partitioned('p', '10', '10', 0)",
  ])
    expect(await db.client.failure(call)).toBe(needed)
  expect(await db.client.call('_get_pg_partman_schema()')).toEqual([null])
  await db.close()
})

// pg_partman comes from Debian, for its PostgreSQL 15 alone.
describe.each(['partman', 'extensions'])('partitioned queues on postgres15, with pg_partman in %s', (schema) => {
  let db: PgmqDatabase
  let client: PgmqClient
  const quoted = `"${schema}"`

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer('postgres15'))
    client = db.client
    await client.rows(`CREATE SCHEMA ${quoted}; CREATE EXTENSION pg_partman SCHEMA ${quoted}`)
  })
  afterAll(() => db.close())

  const configOf = (queue: string) =>
    client.rows(
      `SELECT parent_table, control, partition_interval AS interval, premake, retention, retention_keep_table AS keep_table,
        retention_keep_index AS keep_index, automatic_maintenance AS maintenance, infinite_time_partitions AS infinite
      FROM ${quoted}.part_config WHERE right(parent_table, length($1)) = $1 ORDER BY parent_table DESC`,
      [queue],
    )
  const kindsOf = async (...tables: string[]) =>
    (
      await client.rows('SELECT relname, relkind FROM pg_class WHERE relname = ANY ($1) ORDER BY relname', [tables])
    ).map((row) => `${row.relname} ${row.relkind}`)

  test('are found where they are', async () => {
    expect(await client.call('_get_pg_partman_schema()')).toEqual([schema])
    expect(await client.call('_get_pg_partman_major_version()')).toEqual([4])
  })

  test('by number and by time: what pg_partman is told', async () => {
    const [byNumber, byTime] = [newName('number'), newName('Time')]
    await client.call("create_partitioned($1, '10', '100')", [byNumber])
    await client.call("create_partitioned($1, '1 day', '7 days', 2)", [byTime])
    const common = { keep_table: false, keep_index: true, maintenance: 'on' }
    expect(await configOf(byNumber)).toMatchObject([
      {
        parent_table: `pgmq.q_${byNumber}`,
        control: 'msg_id',
        interval: '10',
        premake: 4,
        retention: '100',
        ...common,
      },
      {
        parent_table: `pgmq.a_${byNumber}`,
        control: 'msg_id',
        interval: '10',
        premake: 4,
        retention: '100',
        ...common,
      },
    ])
    expect(await configOf(byTime.toLowerCase())).toMatchObject([
      { control: 'enqueued_at', premake: 2, retention: '7 days', ...common },
      { control: 'archived_at', premake: 2, retention: '7 days', ...common },
    ])
    const folded = byTime.toLowerCase()
    expect(
      await kindsOf(
        `q_${byNumber}`,
        `a_${folded}`,
        `q_${byNumber}_part_idx`,
        `q_${folded}_part_idx`,
        `archived_at_idx_${folded}`,
      ),
    ).toEqual(
      [
        `a_${folded} p`,
        `archived_at_idx_${folded} I`,
        `q_${byNumber} p`,
        `q_${byNumber}_part_idx I`,
        `q_${folded}_part_idx I`,
      ].sort(),
    )
    expect(
      await client.rows(
        'SELECT attidentity AS identity FROM pg_attribute WHERE attrelid = $1::regclass AND attname = $2',
        [`pgmq.q_${byNumber}`, 'msg_id'],
      ),
    ).toEqual([{ identity: 'd' }])
    expect(
      await client.rows('SELECT queue_name, is_partitioned FROM pgmq.list_queues() WHERE queue_name = $1', [byTime]),
    ).toEqual([{ queue_name: byTime, is_partitioned: true }])
    for (const queue of [byNumber, byTime]) {
      await client.call("send_batch($1, ARRAY['1', '2', '3']::jsonb[])", [queue])
      expect(await client.ids('read($1, 0, 2)', [queue])).toEqual([1, 2])
      expect(await client.ids('read_grouped($1, 0, 2)', [queue])).toEqual([1, 2])
      expect(await client.call('archive($1, ARRAY[1, 99]::bigint[])', [queue])).toEqual([1])
      expect(await client.call('delete($1, ARRAY[2, 99]::bigint[])', [queue])).toEqual([2])
      expect(await client.ids('pop($1, 5)', [queue])).toEqual([3])
      await client.call('enable_notify_insert($1)', [queue])
      expect(await client.call("send($1, '4')", [queue])).toEqual([4])
      expect(await client.call('purge_queue($1)', [queue])).toEqual([1])
    }
  })

  test('are worked on by Tidings, and leave nothing behind when it drops them', async () => {
    const queue = newName('worked')
    await client.call("create_partitioned($1, '5', '1000')", [queue])
    const bus = await connect(db.url)
    await bus
      .queue(queue)
      .sendBatch(Array.from({ length: 12 }, (_, data) => ({ data, orderingKey: data % 2 ? 'a' : undefined })))
    const seen: unknown[] = []
    const worker = bus.queue(queue).work(({ data }) => void seen.push(data), { maxMessages: 12, onSuccess: 'archive' })
    await worker.finished
    expect(seen).toHaveLength(12)
    expect(await bus.queue(queue).stats()).toMatchObject({ ready: 0, archived: 12 })
    await bus.queue(queue).drop()
    await bus.close()
    expect(await configOf(queue)).toEqual([])
    expect(await client.rows("SELECT relname FROM pg_class WHERE relname LIKE '%' || $1 || '%'", [queue])).toEqual([])
    expect(await client.notices("create_partitioned($1, '5', '1000')", [queue])).toEqual([])
    expect(await client.call('drop_queue($1)', [queue])).toEqual([true])
    expect(await configOf(queue)).toEqual([])
  })

  test('premake, and what lies in no other partition', async () => {
    const queue = newName('premade')
    expect(await client.failure('create_partitioned($1, $2, $3, 0)', [queue, '10', '100'])).toBe(
      'P0001 premake must be at least 1, got 0',
    )
    await client.call("create_partitioned($1, '10', '100', 2)", [queue])
    const lengthOf = async (name = queue) =>
      (await client.rows('SELECT default_partition_length AS n FROM pgmq.metrics($1)', [name]))[0]?.n
    expect(await lengthOf()).toBe(0)
    await client.call("send_batch($1, array_fill('1'::jsonb, ARRAY[40]))", [queue])
    await client.rows(`ANALYZE pgmq.q_${queue}`)
    const before = (await lengthOf()) as number
    expect(before).toBeGreaterThan(0)
    await client.call('archive($1, ARRAY(SELECT generate_series(1, 40))::bigint[])', [queue])
    await client.rows(`ANALYZE pgmq.a_${queue}`)
    expect(await lengthOf()).toBeGreaterThan(before)
    const plain = newName('plain')
    await client.call('create($1)', [plain])
    expect(await lengthOf(plain)).toBe(null)
  })

  test('an archive becomes partitioned', async () => {
    for (const [interval, control] of [
      ['10', 'msg_id'],
      ['1 day', 'archived_at'],
    ] as const) {
      const queue = newName('archive')
      await client.call('create($1)', [queue])
      await client.call("send_batch($1, ARRAY['1', '2']::jsonb[])", [queue])
      await client.call('archive($1, 1)', [queue])
      expect(await client.notices("convert_archive_partitioned($1, $2, '100', 3)", [queue, interval])).toEqual([])
      expect(
        await kindsOf(`a_${queue}`, `a_${queue}_old`, `archived_at_idx_${queue}`, `archived_at_idx_${queue}_old`),
      ).toEqual([`a_${queue} p`, `a_${queue}_old r`, `archived_at_idx_${queue} I`, `archived_at_idx_${queue}_old i`])
      expect(await configOf(queue)).toMatchObject([
        { control, premake: 3, retention: '100', keep_table: false, keep_index: false, infinite: true },
      ])
      expect(
        await client.rows('SELECT count(*) AS n FROM pg_constraint WHERE conrelid = $1::regclass AND contype = $2', [
          `pgmq.a_${queue}`,
          'p',
        ]),
      ).toEqual([{ n: control === 'msg_id' ? 1 : 0 }])
      expect(await client.rows(`SELECT msg_id FROM pgmq.a_${queue}_old`)).toEqual([{ msg_id: 1 }])
      expect(await client.call('archive($1, 2)', [queue])).toEqual([true])
      expect(await client.notices('convert_archive_partitioned($1)', [queue])).toEqual([
        `NOTICE 00000 Table a_${queue}s is already partitioned`,
      ])
    }
    expect(await client.notices("convert_archive_partitioned('nope')")).toEqual([
      'NOTICE 00000 Table a_nopes does not exists',
    ])
  })

  test('an archive of a queue with the longest name does not, by a name that PostgreSQL cuts', async () => {
    const start = newName('l')
    const [longest, shorter] = [47, 46].map((length) => start + 'x'.repeat(length - start.length)) as [string, string]
    for (const queue of [longest, shorter]) await client.call('create($1)', [queue])
    expect(await client.failure('convert_archive_partitioned($1)', [longest])).toBe(
      `42P07 relation "archived_at_idx_${longest}" already exists`,
    )
    expect(await client.notices('convert_archive_partitioned($1)', [shorter])).toEqual([
      `NOTICE 42622 identifier "archived_at_idx_${shorter}_old" will be truncated to "archived_at_idx_${shorter}_"`,
    ])
  })
})
