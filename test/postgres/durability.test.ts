import pg from 'pg'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, query } from './support.ts'

const onDisk = { durability: 'fsync' } as const
const unavailable = (found: string) => ({
  code: 'DURABILITY_UNAVAILABLE',
  message: expect.stringContaining(found),
  hint: expect.stringContaining('Nothing was stored'),
})
const lengthOf = async (engine: PostgresEngine, queue: string) => (await engine.stats(queue)).ready

describe('what has to be on disk', () => {
  let database: Awaited<ReturnType<typeof migratedDatabase>>
  let engine: PostgresEngine
  const queue = newName('disk')
  beforeAll(async () => {
    database = await migratedDatabase(await sharedServer('postgres18'))
    engine = await openEngine(database.url)
    await engine.createQueue(queue)
  })
  afterAll(async () => {
    await engine?.close()
    await database?.drop()
  })

  test('is stored with the settings that PostgreSQL has by itself', async () => {
    expect(await engine.send(queue, [message()], null, onDisk)).toHaveLength(1)
    await engine.purgeQueue(queue)
  })

  test('is refused with synchronous_commit off', async () => {
    const lax = await openEngine(`${database.url}?options=-c%20synchronous_commit%3Doff`)
    await expect(lax.send(queue, [message(), message()], null, onDisk)).rejects.toMatchObject(
      unavailable('synchronous_commit=off'),
    )
    await lax.send(queue, [message()], null)
    expect(await lengthOf(lax, queue)).toBe(1)
    await lax.close()
    await engine.purgeQueue(queue)
  })

  test('is refused by a queue that is unlogged, which doctor names', async () => {
    const [unlogged, logged] = [newName('unlogged'), newName('logged')]
    await engine.createQueue(unlogged)
    await engine.createQueue(logged)
    await query(database.url, `ALTER TABLE pgmq.q_${unlogged} SET UNLOGGED`)
    await engine.send(logged, [message()], null, onDisk)
    await expect(engine.send(unlogged, [message()], null, onDisk)).rejects.toMatchObject(unavailable('unlogged'))
    expect(await lengthOf(engine, unlogged)).toBe(0)
    expect(await engine.diagnose()).toContainEqual(
      expect.objectContaining({ level: 'warning', check: 'durability', message: expect.stringContaining(unlogged) }),
    )
    await query(database.url, `ALTER TABLE pgmq.q_${unlogged} SET LOGGED`)
    await engine.send(unlogged, [message()], null, onDisk)
    await engine.dropQueue(unlogged)
  })

  test('a transaction is asked itself', async () => {
    const client = new pg.Client({ connectionString: database.url })
    await client.connect()
    const transaction = { query: (text: string, values: readonly unknown[]) => client.query(text, [...values]) }
    await engine.send(queue, [message()], null, onDisk)
    await client.query('BEGIN; SET LOCAL synchronous_commit = off')
    await expect(engine.send(queue, [message()], transaction, onDisk)).rejects.toMatchObject(
      unavailable('synchronous_commit=off'),
    )
    await client.query('SET LOCAL synchronous_commit = on')
    await engine.send(queue, [message()], transaction, onDisk)
    await client.query('COMMIT')
    await client.end()
    expect(await lengthOf(engine, queue)).toBe(2)
  })
})

describe('a PostgreSQL that does not wait for its disk', () => {
  let server: TestPostgres
  beforeAll(async () => {
    server = await startPostgres(18, { fsync: 'off' })
  })
  afterAll(() => server?.stop())

  test('is refused', async () => {
    const engine = await openEngine(server.url)
    const queue = newName('off')
    await engine.createQueue(queue)
    await expect(engine.send(queue, [message()], null, onDisk)).rejects.toMatchObject(unavailable('fsync=off'))
    expect(await lengthOf(engine, queue)).toBe(0)
    await engine.close()
  })
})
