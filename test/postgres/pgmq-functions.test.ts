import { Bus } from 'tidings/internal/bus/bus'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, newName, openEngine, query } from './support.ts'

// PGMQ's own functions, which its clients in other languages call, on a schema that Tidings made.
describe.each(['postgres15', 'postgres18'] as const)("PGMQ's functions on %s", (server) => {
  let url: string
  let drop: () => Promise<void>
  let bus: Bus
  const queue = newName('Mixed')
  const ours = queue.toLowerCase()

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    bus = new Bus(await openEngine(url))
    await query(url, 'SELECT pgmq.create($1)', [queue])
  })
  afterAll(async () => {
    await bus.close()
    await drop()
  })

  const call = async (text: string, values: unknown[] = []) =>
    (await query(url, `SELECT r FROM pgmq.${text} r`, values)).map((row) => row.r)
  const rows = (text: string, values: unknown[] = []) => query(url, `SELECT * FROM pgmq.${text}`, values)

  test('send in all their forms, and our worker is woken at once', async () => {
    const handled: unknown[] = []
    let woken: (() => void) | undefined
    const worker = bus.queue(ours).work(({ data }) => {
      handled.push(data)
      if (handled.length === 12) woken?.()
    })
    const all = new Promise<void>((resolve) => {
      woken = resolve
    })
    const single = [
      "send($1, '1')",
      "send($1, '2', '{}'::jsonb)",
      "send($1, '3', 0)",
      "send($1, '4', now())",
      "send($1, '5', '{}'::jsonb, 0)",
      "send($1, '6', '{}'::jsonb, now())",
    ]
    for (const text of single) expect(await call(text, [queue])).toHaveLength(1)
    const batch = [
      "send_batch($1, ARRAY['7']::jsonb[])",
      "send_batch($1, ARRAY['8']::jsonb[], ARRAY['{}']::jsonb[])",
      "send_batch($1, ARRAY['9']::jsonb[], 0)",
      "send_batch($1, ARRAY['10']::jsonb[], now())",
      "send_batch($1, ARRAY['11']::jsonb[], ARRAY['{}']::jsonb[], 0)",
      "send_batch($1, ARRAY['12']::jsonb[], ARRAY['{}']::jsonb[], now())",
    ]
    for (const text of batch) expect(await call(text, [queue])).toHaveLength(1)
    await all
    await worker.stop()
    expect(new Set(handled)).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]))
    await expect(call("send_batch($1, '{}'::jsonb[])", [queue])).rejects.toThrow('msgs cannot be NULL or empty')
    await expect(call("send_batch($1, ARRAY['1', '2']::jsonb[], ARRAY['{}']::jsonb[])", [queue])).rejects.toThrow(
      'headers array length (1) must match msgs array length (2)',
    )
  })

  test('read, set_vt, archive, delete and pop what we send', async () => {
    const mine = bus.queue<number>(ours)
    await mine.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }, { data: 4 }])
    const [first, second] = await rows('read($1, 30, 2)', [queue])
    expect(first).toMatchObject({ read_ct: 1, message: { data: 1, meta: { queue_name: ours } } })
    expect(Object.keys(first ?? {})).toEqual([
      'msg_id',
      'read_ct',
      'enqueued_at',
      'last_read_at',
      'vt',
      'message',
      'headers',
    ])
    expect(await call('archive($1, $2::bigint)', [queue, first?.msg_id])).toEqual([true])
    expect(await call('archive($1, $2::bigint)', [queue, first?.msg_id])).toEqual([false])
    expect(await mine.peek({ place: 'archived' })).toHaveLength(1)
    expect(await rows('set_vt($1, $2::bigint, 0)', [queue, second?.msg_id])).toHaveLength(1)
    expect((await mine.readById(String(second?.msg_id)))?.readCount).toBe(2)
    expect(await call('delete($1, $2::bigint)', [queue, second?.msg_id])).toEqual([true])
    expect(await rows(`read($1, 30, 5, '{"data": 4}')`, [queue])).toHaveLength(1)
    expect(await rows('pop($1)', [queue])).toMatchObject([{ message: { data: 3 } }])
    expect(await rows('read_with_poll($1, 30, 1, 0)', [queue])).toEqual([])
  })

  test('see what we delayed for long, once it is due', async () => {
    await bus.queue(ours).send('later', { delay: '1h' })
    expect(await rows('read($1, 0, 1)', [queue])).toEqual([])
    await query(url, "UPDATE tidings.delayed SET due = now() - interval '1 s'")
    expect(await rows('pop($1)', [queue])).toMatchObject([{ message: { data: 'later' } }])
  })

  test('manage queues that we see too', async () => {
    const other = newName('theirs')
    await call('create($1)', [other])
    expect((await bus.queues()).map((info) => info.queue)).toContain(other)
    expect((await rows('list_queues()')).map((row) => row.queue_name)).toContain(other)
    await bus.queue(other).send(1)
    expect(await rows('metrics($1)', [other])).toMatchObject([
      { queue_name: other, queue_length: '1', total_messages: '1', queue_visible_length: '1' },
    ])
    expect((await rows('metrics_all()')).length).toBeGreaterThan(1)
    expect(await call('purge_queue($1)', [other])).toEqual(['1'])
    expect(await call('drop_queue($1)', [other])).toEqual([true])
    expect(await call('drop_queue($1)', [other])).toEqual([false])
    await expect(call('create($1)', ['x'.repeat(48)])).rejects.toThrow('maximum length is 47 characters')
    await expect(call('create($1)', ['a;b'])).rejects.toThrow('invalid characters')
  })
})
