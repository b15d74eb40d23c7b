import pg from 'pg'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { Settlement, StoredMessage } from 'tidings/internal/port/engine'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, migratedDatabase, newName, openEngine, query, until } from './support.ts'

const everything = { place: null, limit: 100_000, afterId: null, ids: null }

const remove = ({ id, receipt }: StoredMessage): Settlement => ({ kind: 'delete', id, receipt: receipt ?? '' })

describe.each(['postgres15', 'postgres18'] as const)('correlations on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  const clients = new Set<pg.Client>()

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
  })
  afterEach(async () => {
    await Promise.all([...clients].map((client) => client.end()))
    clients.clear()
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })

  const task = (correlationId: string, completionQueue: string | null = 'told') =>
    message({ tracked: { correlationId, completionQueue } })

  async function toldOf(id: string): Promise<unknown[]> {
    const told = await engine.peek('told', everything).catch(() => [])
    return told.map(({ data }) => JSON.parse(data)).filter(({ correlationId }) => correlationId === id)
  }

  async function newQueue(): Promise<string> {
    const queue = newName('tasks')
    await engine.createQueue(queue)
    return queue
  }

  async function begin(isolation = 'READ COMMITTED') {
    const client = new pg.Client({ connectionString: url })
    clients.add(client)
    await client.connect()
    await client.query(`BEGIN ISOLATION LEVEL ${isolation}`)
    return { query: (text: string, values: readonly unknown[] = []) => client.query(text, [...values]) }
  }

  test('open transactions that end tasks of one correlation after another hold nobody up', async () => {
    const queue = await newQueue()
    const [left, right] = [newName('left'), newName('right')]
    await engine.send(queue, [task(left), task(right), task(right), task(left)], null)
    const [one, two, three, four] = await claimAll(engine, queue)
    const [first, second] = [await begin(), await begin()]
    await engine.settle(queue, [remove(one!)], first)
    await engine.settle(queue, [remove(three!)], second)
    await engine.settle(queue, [remove(two!)], first)
    await engine.settle(queue, [remove(four!)], second)
    expect([await toldOf(left), await toldOf(right)]).toEqual([[], []])
    await Promise.all([first.query('COMMIT'), second.query('COMMIT')])
    expect([await toldOf(left), await toldOf(right)]).toMatchObject([[{ done: 2 }], [{ done: 2 }]])
  })

  test('a transaction with a snapshot of its own fails rather than miss the end', async () => {
    const queue = await newQueue()
    const id = newName('snapshot')
    await engine.send(queue, [task(id), task(id)], null)
    const [one, two] = await claimAll(engine, queue)
    const transaction = await begin('REPEATABLE READ')
    await engine.settle(queue, [remove(one!)], transaction)
    await engine.settle(queue, [remove(two!)])
    await expect(transaction.query('COMMIT')).rejects.toMatchObject({ code: '40001' })
    expect(await toldOf(id)).toEqual([])
    expect((await engine.settle(queue, [remove(one!)]))[0]).toMatchObject({ settled: true })
    expect(await toldOf(id)).toMatchObject([{ done: 2 }])
  })

  test('what is settled in a savepoint that is rolled back is not told', async () => {
    const queue = await newQueue()
    const id = newName('savepoint')
    await engine.send(queue, [task(id), task(id)], null)
    const [one, two] = await claimAll(engine, queue)
    const transaction = await begin()
    await engine.settle(queue, [remove(one!)], transaction)
    await transaction.query('SAVEPOINT message')
    await engine.settle(queue, [remove(two!)], transaction)
    await transaction.query('ROLLBACK TO SAVEPOINT message')
    await transaction.query('COMMIT')
    expect(await toldOf(id)).toEqual([])
    await engine.settle(queue, [remove(two!)])
    expect(await toldOf(id)).toMatchObject([{ done: 2 }])
  })

  test('what another client of PGMQ deletes or drops is noticed by upkeep', async () => {
    const [queue, dropped] = [await newQueue(), await newQueue()]
    const id = newName('foreign')
    await engine.send(queue, [task(id)], null)
    await engine.send(dropped, [task(id)], null)
    await query(url, `DELETE FROM pgmq."q_${queue}"`)
    await query(url, `DROP TABLE pgmq."q_${dropped}", pgmq."a_${dropped}"`)
    await query(url, 'DELETE FROM pgmq.meta WHERE queue_name = $1', [dropped])
    await until(async () => {
      await engine.maintain({ kind: 'due' })
      return (await engine.correlation(id))?.completedAt !== null
    }, 'upkeep has noticed')
    expect(await toldOf(id)).toMatchObject([{ done: 1, cancelled: 1 }])
  })

  test('upkeep forgets what was completed 30 days ago', async () => {
    const queue = await newQueue()
    const [old, young] = [newName('old'), newName('young')]
    for (const id of [old, young]) {
      await engine.send(queue, [task(id, null)], null)
      await engine.pop(queue, 1)
    }
    const age = 'UPDATE tidings.correlation SET completed_at = completed_at - $2::interval WHERE correlation_id = $1'
    await query(url, age, [old, '30 days 1 minute'])
    await query(url, age, [young, '29 days'])
    await engine.maintain({ kind: 'due' })
    expect(await engine.correlation(old)).toBeNull()
    expect(await engine.correlation(young)).toMatchObject({ queues: [{ done: 1 }] })
    expect(await query(url, 'SELECT FROM tidings.task WHERE correlation_id = $1', [old])).toEqual([])
  })

  test('an untracked message leaves no trace here', async () => {
    const queue = await newQueue()
    const before = await query(url, 'SELECT count(*) FROM tidings.task')
    await engine.send(queue, [message({ meta: { correlation_id: 'c' } })], null)
    expect(await query(url, `SELECT headers FROM pgmq."q_${queue}"`)).toEqual([{ headers: null }])
    await engine.settle(queue, (await claimAll(engine, queue)).map(remove))
    expect(await query(url, 'SELECT count(*) FROM tidings.task')).toEqual(before)
  })
})
