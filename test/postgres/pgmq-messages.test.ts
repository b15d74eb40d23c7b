import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqClient, type PgmqDatabase, pgmqDatabase } from './pgmq-support.ts'
import { newName } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)("messages by PGMQ's functions on %s", (server) => {
  let db: PgmqDatabase
  let client: PgmqClient
  let queue: string

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer(server))
    client = db.client
  })
  afterAll(() => db.close())
  beforeEach(async () => {
    queue = newName('q')
    await client.call('create($1)', [queue])
  })

  test('the errors of a batch', async () => {
    for (const call of ['send_batch($1, NULL::jsonb[])', "send_batch($1, '{}'::jsonb[])"])
      expect(await client.failure(call, [queue])).toBe('P0001 msgs cannot be NULL or empty')
    const short = 'P0001 headers array length (1) must match msgs array length (2)'
    expect(await client.failure("send_batch($1, ARRAY['1', '2']::jsonb[], ARRAY['{}']::jsonb[])", [queue])).toBe(short)
    expect(await client.failure("_validate_batch_params(ARRAY['1', '2']::jsonb[], ARRAY['{}']::jsonb[])")).toBe(short)
    expect(await client.call("_validate_batch_params(ARRAY['1']::jsonb[], NULL)")).toHaveLength(1)
    expect(await client.call('_send_batch($1, ARRAY[NULL, NULL]::jsonb[], NULL, now())', [queue])).toEqual([1, 2])
    expect(await client.call('send($1, NULL)', [queue])).toEqual([3])
    expect(await client.rows('SELECT message, headers FROM pgmq.read($1, 0, 3)', [queue])).toEqual(
      Array(3).fill({ message: null, headers: null }),
    )
  })

  test('a message may wait for ever, or be due since ever', async () => {
    await client.call("send($1, '1', 'infinity'::timestamptz)", [queue])
    await client.call("send($1, '2', '-infinity'::timestamptz)", [queue])
    await client.call("send_batch($1, ARRAY['3']::jsonb[], 'infinity'::timestamptz)", [queue])
    expect(await client.ids('read($1, 0, 9)', [queue])).toEqual([2])
    expect(await client.ids("set_vt($1, 1::bigint, '-infinity'::timestamptz)", [queue])).toEqual([1])
    expect(await client.ids("set_vt($1, ARRAY[2]::bigint[], 'infinity'::timestamptz)", [queue])).toEqual([2])
    expect(await client.ids('read($1, 0, 9)', [queue])).toEqual([1])
  })

  test('read: nothing, all, and none of a negative number', async () => {
    await client.call("send_batch($1, ARRAY['1', '2', '3']::jsonb[])", [queue])
    expect(await client.ids('read($1, 0, 0)', [queue])).toEqual([])
    expect(await client.ids('read($1, 0, NULL)', [queue])).toHaveLength(3)
    expect(await client.ids('read($1, 0, 9, NULL)', [queue])).toHaveLength(3)
    expect(await client.ids("read($1, 0, 9, '{}')", [queue])).toHaveLength(3)
    expect(await client.failure('read($1, 0, -1)', [queue])).toBe('2201W LIMIT must not be negative')
    expect(await client.ids('read($1, -5, 1)', [queue])).toEqual([1])
    expect(await client.ids('read($1, 0, 1)', [queue])).toEqual([1])
  })

  test('polling looks at its deadline first', async () => {
    await client.call("send($1, '1')", [queue])
    for (const seconds of [0, -1])
      for (const read of [
        'read_with_poll',
        'read_grouped_with_poll',
        'read_grouped_rr_with_poll',
        'read_grouped_head_with_poll',
      ])
        expect(await client.ids(`${read}($1, 0, 1, $2)`, [queue, seconds])).toEqual([])
    for (const read of [
      'read_with_poll',
      'read_grouped_with_poll',
      'read_grouped_rr_with_poll',
      'read_grouped_head_with_poll',
    ])
      expect(await client.ids(`${read}($1, 0, 1)`, [queue])).toEqual([1])
  })

  test('polling ends with the first message, or with its time', async () => {
    await client.call("send($1, '1', 1)", [queue])
    expect(await client.ids('read_with_poll($1, 0, 5, 20, 10)', [queue])).toEqual([1])
    await client.call(`send($1, '{"a": 1}', 1)`, [queue])
    expect(await client.ids(`read_with_poll($1, 0, 5, 20, 10, '{"a": 1}')`, [queue])).toEqual([2])
    const empty = newName('empty')
    await client.call('create($1)', [empty])
    for (const read of [
      'read_with_poll',
      'read_grouped_with_poll',
      'read_grouped_rr_with_poll',
      'read_grouped_head_with_poll',
    ]) {
      const startedAt = performance.now()
      expect(await client.ids(`${read}($1, 0, 1, 1, 10)`, [empty])).toEqual([])
      expect(performance.now() - startedAt).toBeGreaterThan(900)
    }
  })

  test('last_read_at: null until a read, then that of the last one', async () => {
    await client.call("send_batch($1, array_fill('1'::jsonb, ARRAY[9]))", [queue])
    const first = async (text: string) => (await client.rows(`SELECT * FROM pgmq.${text}`, [queue]))[0]!
    expect(await first('pop($1)')).toMatchObject({ read_ct: 0, last_read_at: null })
    expect(await first('set_vt($1, 2::bigint, 0)')).toMatchObject({ last_read_at: null })
    const reads = ['read($1, 0, 1)', 'read_with_poll($1, 0, 1)']
    for (const read of ['read_grouped', 'read_grouped_rr', 'read_grouped_head'])
      reads.push(`${read}($1, 0, 1)`, `${read}_with_poll($1, 0, 1)`)
    let before = new Date(0)
    for (const [index, read] of reads.entries()) {
      const { msg_id, read_ct, last_read_at } = await first(read)
      expect({ msg_id, read_ct }).toEqual({ msg_id: 2, read_ct: index + 1 })
      expect((last_read_at as Date).getTime()).toBeGreaterThanOrEqual(before.getTime())
      before = last_read_at as Date
    }
    expect((await first('set_vt($1, 2::bigint, 0)')).last_read_at).toEqual(before)
    expect((await first('pop($1)')).last_read_at).toEqual(before)
  })

  test('by id: what is not there gives nothing', async () => {
    await client.call("send_batch($1, array_fill('1'::jsonb, ARRAY[4]), array_fill('{\"h\": 1}'::jsonb, ARRAY[4]))", [
      queue,
    ])
    expect(await client.ids('set_vt($1, 99::bigint, 5)', [queue])).toEqual([])
    const [row] = await client.rows(
      "SELECT vt FROM pgmq.set_vt($1, 1::bigint, '2100-01-01T00:00:00.123456Z'::timestamptz)",
      [queue],
    )
    expect(row?.vt).toEqual(new Date('2100-01-01T00:00:00.123Z'))
    expect((await client.ids('set_vt($1, ARRAY[1, 2, 99]::bigint[], 0)', [queue])).sort()).toEqual([1, 2])
    expect(await client.call('delete($1, 99)', [queue])).toEqual([false])
    expect(await client.call('delete($1, ARRAY[1, 99]::bigint[])', [queue])).toEqual([1])
    expect(await client.call('archive($1, 99)', [queue])).toEqual([false])
    expect(await client.call('archive($1, ARRAY[2, 99]::bigint[])', [queue])).toEqual([2])
    expect(await client.rows(`SELECT msg_id, headers FROM pgmq.a_${queue}`)).toEqual([{ msg_id: 2, headers: { h: 1 } }])
    expect(await client.ids('pop($1, 10)', [queue])).toHaveLength(2)
    expect(await client.ids('pop($1)', [queue])).toEqual([])
  })
})
