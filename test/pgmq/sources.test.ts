import pg from 'pg'
import { Pgmq } from 'tidings/pgmq'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { libraries } from '../adapters/libraries.ts'
import { newDatabase, newName, query } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'

let url: string
let drop: () => Promise<void>

beforeAll(async () => {
  ;({ url, drop } = await newDatabase(await sharedServer('postgres18')))
})
afterAll(() => drop())

/** All kinds of values, there and back. */
async function verbs(pgmq: Pgmq): Promise<void> {
  const queue = newName('source')
  await pgmq.queue.create(queue)
  const body = { text: 'a "quoted" \\ $1 ?', big: 9_007_199_254_740_993n }
  const ids = await pgmq.msg.sendBatch(queue, [body, null], new Date(0), [{ h: '?' }, null])
  const read = await pgmq.msg.readBatch(queue, 30, 5)
  expect(read).toMatchObject([
    { msgId: ids[0], readCount: 1, message: body, headers: { h: '?' }, lastReadAt: expect.any(Date) },
    { msgId: ids[1], readCount: 1, message: null, headers: null },
  ])
  expect(read[0]!.vt.getTime() - Date.now()).toBeGreaterThan(10_000)
  expect(await pgmq.msg.archiveBatch(queue, ids)).toEqual(ids)
  expect(await pgmq.queue.getMetrics(queue)).toMatchObject({ queueLength: 0, totalMessages: 2 })
  expect((await pgmq.queue.list()).find(({ name }) => name === queue)?.isPartitioned).toBe(false)
  expect(await pgmq.queue.drop(queue)).toBe(true)
}

test('a URL: where there is no schema pgmq, that of Tidings is installed', async () => {
  await using pgmq = await Pgmq.new(url)
  await verbs(pgmq)
})

test('the fields of a server, as pgmq-js takes them', async () => {
  const { hostname, port, username, pathname } = new URL(url)
  const fields = { host: hostname, port: Number(port), user: username, database: pathname.slice(1), password: '/?#@' }
  await using pgmq = await Pgmq.new({ ...fields, ssl: false, max: 2 })
  await verbs(pgmq)
  // TLS is the default, as with pgmq-js; this server has none.
  await expect(Pgmq.new(fields)).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
})

describe.each(libraries)('$name', ({ open }) => {
  test('takes part in its transactions, and has its connections', async () => {
    await using own = await Pgmq.new(url)
    const opened = await open(url)
    const queue = newName('tx')
    await own.queue.create(queue)
    try {
      for (const outside of opened.outside) await verbs(await Pgmq.new(outside as pg.Pool))
      await opened.transaction((tx) => verbs(own.within(tx)))
      const rolledBack = opened.transaction(async (tx) => {
        await Promise.all([own.within(tx).msg.send(queue, 1), own.within(tx).msg.send(queue, 2)])
        throw new Error('no')
      })
      await expect(rolledBack).rejects.toThrow('no')
      await opened.transaction(async (tx) => {
        await own.within(tx).msg.send(queue, 'stays')
      })
      expect((await own.msg.readBatch(queue, 0, 9)).map(({ message }) => message)).toEqual(['stays'])
      const failed = opened.transaction((tx) => own.within(tx).msg.send('nowhere', 1))
      await expect(failed).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
      for (const outside of opened.outside)
        expect(() => own.within(outside as pg.Pool)).toThrow(expect.objectContaining({ code: 'TYPE' }))
    } finally {
      await opened.close()
    }
  })
})

test('closing leaves the pool of the application open', async () => {
  const pool = new pg.Pool({ connectionString: url })
  const pgmq = await Pgmq.new(pool)
  await pgmq.close()
  expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
  await pool.end()
})

test('on a connection of the application nothing is installed; skipExtensionCreation does not look', async () => {
  const empty = await newDatabase(await sharedServer('postgres18'))
  const pool = new pg.Pool({ connectionString: empty.url })
  pool.on('error', () => {})
  try {
    await expect(Pgmq.new(pool)).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
    for (const source of [pool, empty.url]) {
      const pgmq = await Pgmq.new(source, { skipExtensionCreation: true })
      await expect(pgmq.queue.list()).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
      await pgmq.close()
    }
    expect(await query(empty.url, "SELECT FROM pg_namespace WHERE nspname IN ('pgmq', 'tidings')")).toEqual([])
    await expect(Pgmq.new(pool, { pool: { max: 2 } })).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
  } finally {
    await pool.end()
    await empty.drop()
  }
})
