import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pgmqPeer } from '../support/pgmq-peer.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, claimWhenDue, message, newDatabase, newName, openEngine, query } from './support.ts'

// Sharing queues with other clients of PGMQ, by the statements that their functions make.
describe.each(['postgres15', 'postgres18'] as const)('peers on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  let queue: string

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    // No last_read_at, an index on vt, the name in the case that was given.
    await query(url, `CREATE SCHEMA pgmq; ${pgmqPeer('1.5.1')}; SELECT pgmq.create('Old')`)
    engine = await openEngine(url)
    queue = newName('shared')
    await engine.createQueue(queue)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })

  const insert = (table: string, body: unknown, headers: unknown = null, vt = 'now()') =>
    query(url, `INSERT INTO pgmq.${table} (vt, message, headers) VALUES (${vt}, $1, $2) RETURNING msg_id`, [
      body === undefined ? null : JSON.stringify(body),
      headers === null ? null : JSON.stringify(headers),
    ])

  test('read what we send, as an envelope in snake_case', async () => {
    await engine.send(queue, [message({ meta: { queue_name: queue, correlation_id: 'c-1' }, headers: { h: 1 } })], null)
    const [row] = await query(url, `SELECT message, headers, read_ct FROM pgmq.q_${queue}`)
    expect(row).toEqual({
      message: { data: { name: 'Ada' }, meta: { queue_name: queue, correlation_id: 'c-1' } },
      headers: { h: 1 },
      read_ct: 0,
    })
    await engine.purgeQueue(queue)
  })

  test('send any body, which is read as data; an envelope is taken apart', async () => {
    const bodies = [
      { data: 1, meta: { a: 2 } },
      { data: 1, meta: {}, more: 1 },
      { meta: {} },
      'text',
      [1],
      null,
      undefined,
    ]
    for (const body of bodies) await insert(`q_${queue}`, body)
    const read = await claimAll(engine, queue)
    expect(read.map(({ data, meta }) => [JSON.parse(data), meta])).toEqual([
      [1, { a: 2 }],
      [{ data: 1, meta: {}, more: 1 }, {}],
      [{ meta: {} }, {}],
      ['text', {}],
      [[1], {}],
      [null, {}],
      [null, {}],
    ])
    await engine.purgeQueue(queue)
  })

  test('send integers beyond 2^53 that come through exact', async () => {
    await query(url, `INSERT INTO pgmq.q_${queue} (vt, message) VALUES (now(), '{"n": 9007199254740993}')`)
    const [read] = await claimAll(engine, queue)
    expect(read?.data).toBe('{"n": 9007199254740993}')
    await engine.purgeQueue(queue)
  })

  test('delay messages in the table itself, behind our mark, and they are found when due', async () => {
    // Far away until our mark has passed it, however long that takes.
    const [late] = await insert(`q_${queue}`, 'late', null, "now() + interval '1 h'")
    for (let round = 0; round < 3; round++) {
      await engine.send(queue, [message()], null)
      const [read] = await claimAll(engine, queue)
      await engine.settle(queue, [{ kind: 'delete', id: read!.id, receipt: read!.receipt! }])
    }
    await query(url, `UPDATE pgmq.q_${queue} SET vt = now() + interval '100 ms' WHERE msg_id = $1`, [late!.msg_id])
    const found = await claimWhenDue(engine, queue, 1)
    expect(found.map(({ data }) => data)).toEqual(['"late"'])
    await engine.purgeQueue(queue)
  })

  test('make what came due while a sweep was under way be looked for at once', async () => {
    await insert(`q_${queue}`, 'meanwhile', null, "now() - interval '30 s'")
    const nextAfterSweep = async (began: string) => {
      const text = `SELECT tidings."due:${queue}"(false, now() - $1::interval) AS next_due_ms`
      return (await query(url, text, [began]))[0]?.next_due_ms
    }
    expect(await nextAfterSweep('60 s')).toBe(0)
    expect(await nextAfterSweep('10 s')).toBeNull()
    await engine.purgeQueue(queue)
  })

  test('that settle what we have in hand end our lease', async () => {
    await engine.send(queue, [message(), message()], null)
    const [deleted, hidden] = await claimAll(engine, queue)
    await query(url, `DELETE FROM pgmq.q_${queue} WHERE msg_id = $1`, [deleted!.id])
    await query(url, `UPDATE pgmq.q_${queue} SET vt = now() + interval '1 h' WHERE msg_id = $1`, [hidden!.id])
    const settlements = [deleted!, hidden!].map(({ id, receipt }) => ({
      kind: 'delete' as const,
      id,
      receipt: receipt!,
    }))
    expect(await engine.settle(queue, settlements)).toEqual([
      { settled: false, newId: null },
      { settled: false, newId: null },
    ])
    await engine.purgeQueue(queue)
  })

  test('see long delays of ours as PGMQ keeps them, with all that they do to messages', async () => {
    const apart = () => query(url, 'SELECT FROM tidings.delayed')
    const queue = newName('long')
    await engine.createQueue(queue)
    const long = { delayMs: 3_600_000 }
    await engine.send(queue, [message(long), message(long), message(long), message(long), message()], null)
    const [read] = await claimAll(engine, queue)
    const retry = {
      id: read!.id,
      receipt: read!.receipt!,
      kind: 'release' as const,
      delayMs: 3_600_000,
      meta: {},
      uncount: false,
    }
    expect(await engine.settle(queue, [retry])).toMatchObject([{ settled: true }])
    expect(await apart()).toEqual([])
    expect(await query(url, 'SELECT queue_length::int AS n FROM pgmq.metrics($1)', [queue])).toEqual([{ n: 5 }])
    expect(await query(url, 'SELECT pgmq.delete($1, 1) AS done', [queue])).toEqual([{ done: true }])
    expect(await query(url, 'SELECT pgmq.archive($1, 2) AS done', [queue])).toEqual([{ done: true }])
    await query(url, 'SELECT pgmq.set_vt($1, 3, 0)', [queue])
    expect((await claimWhenDue(engine, queue, 1)).map(({ id }) => id)).toEqual(['3'])
    expect(await query(url, 'SELECT pgmq.purge_queue($1)::int AS purged', [queue])).toEqual([{ purged: 3 }])
    expect(await engine.stats(queue)).toMatchObject({ ready: 0, delayed: 0, leased: 0 })
  })

  test('find what an earlier Tidings has put aside', async () => {
    await query(
      url,
      `INSERT INTO tidings.delayed (queue_name, msg_id, due, read_ct, enqueued_at, message)
      VALUES ('${queue}', 1000, now() + interval '1 h', 2, now(), '"aside"');
      UPDATE tidings.migration SET fingerprint = ''`,
    )
    await (await openEngine(url)).close()
    expect(await query(url, `SELECT read_ct FROM pgmq.q_${queue} WHERE msg_id = 1000 AND vt > now()`)).toEqual([
      { read_ct: 2 },
    ])
    await engine.purgeQueue(queue)
  })

  test('make and drop the tables of queues themselves', async () => {
    const own = newName('own')
    await engine.createQueue(own)
    await engine.send(own, [message({ data: '1' }), message({ data: '2' })], null)
    // These return rows as the table has them.
    expect(await query(url, 'SELECT msg_id::int FROM pgmq.set_vt($1, 2, 0)', [own])).toEqual([{ msg_id: 2 }])
    expect(await query(url, 'SELECT msg_id::int FROM pgmq.pop($1)', [own])).toEqual([{ msg_id: 1 }])
    const [table] = await query(url, `SELECT reloptions::text AS options FROM pg_class WHERE relname = 'q_${own}'`)
    expect(table?.options).toContain('fillfactor=50')
    expect(await engine.dropQueue(own)).toBe(true)
    expect(await query(url, `SELECT FROM pg_class WHERE relname IN ('q_${own}', 'a_${own}')`)).toEqual([])
    expect(await engine.dropQueue(own)).toBe(false)
  })

  test('are upgraded under us, and the column that is new is used from then on', async () => {
    const grown = newName('grown')
    await engine.createQueue(grown)
    await engine.send(grown, [message()], null)
    await query(
      url,
      `ALTER TABLE pgmq.q_${grown} ADD COLUMN last_read_at timestamptz; ALTER TABLE pgmq.a_${grown} ADD COLUMN last_read_at timestamptz`,
    )
    expect(await claimAll(engine, grown)).toHaveLength(1)
    expect(await query(url, `SELECT last_read_at IS NOT NULL AS noted, headers FROM pgmq.q_${grown}`)).toEqual([
      { noted: true, headers: null },
    ])
  })

  test('bring queues of older layouts, which we use by the names of their columns', async () => {
    expect((await engine.describe(null)).map((info) => info.queue)).toContain('old')
    expect(await engine.createQueue('old')).toBe(false)
    await insert('q_old', { a: 1 })
    await engine.send('old', [message(), message(), message({ delayMs: 20 }), message({ orderingKey: 'k' })], null)
    const read = await claimWhenDue(engine, 'old', 5)
    for (const { readCount, firstReadAt } of read) {
      expect(readCount).toBe(1)
      expect(firstReadAt).not.toBeNull()
    }
    const end = (index: number) => ({ id: read[index]!.id, receipt: read[index]!.receipt! })
    const settled = await engine.settle('old', [
      { ...end(0), kind: 'archive', meta: { done: true } },
      { ...end(1), kind: 'move', to: queue, delayMs: 0, meta: {} },
      { ...end(2), kind: 'release', delayMs: 0, meta: {}, uncount: false },
      { ...end(3), kind: 'release', delayMs: 20, meta: {}, uncount: false },
      { ...end(4), kind: 'delete' },
    ])
    expect(settled.every((one) => one.settled)).toBe(true)
    const again = await claimWhenDue(engine, 'old', 2)
    expect(again.map(({ readCount, firstReadAt }) => [readCount, firstReadAt])).toEqual(
      [read[2]!, read[3]!].map(({ firstReadAt }) => [2, firstReadAt]),
    )
    expect(await engine.peek('old', { place: 'archived', limit: 1, afterId: null, ids: null })).toHaveLength(1)
    expect(await engine.stats('old')).toMatchObject({ leased: 2, archived: 1 })
    expect(await engine.pop(queue, 1)).toHaveLength(1)
  })

  test('drop queues without us, and nothing of ours stays behind', async () => {
    const gone = newName('gone')
    await engine.createQueue(gone)
    await engine.send(gone, [message({ delayMs: 3_600_000, uniqueTarget: 't' })], null)
    await query(url, `DROP TABLE pgmq.q_${gone}, pgmq.a_${gone}; DELETE FROM pgmq.meta WHERE queue_name = '${gone}'`)
    await expect(engine.send(gone, [message()], null)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
    await engine.maintain({ kind: 'due' })
    for (const table of ['queue', 'delayed', 'dedup'])
      expect(await query(url, `SELECT FROM tidings.${table} WHERE queue_name = '${gone}'`)).toEqual([])
  })
})
