import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { Bus } from '../../src/bus.ts'
import type { Settlement, StoredMessage } from '../../src/engine.ts'
import type { PostgresEngine } from '../../src/engines/postgres/postgres.ts'
import { claimAll, message, newDatabase, newName, openEngine, query, until } from './support.ts'

const workerScript = fileURLToPath(new URL('fan-out-worker.mjs', import.meta.url))
const everything = { place: null, limit: 100_000, afterId: null, ids: null }

const remove = ({ id, receipt }: StoredMessage): Settlement => ({ kind: 'delete', id, receipt: receipt ?? '' })

describe.each(['postgres15', 'postgres18'] as const)('correlations on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  const processes = new Set<ChildProcess>()
  const clients = new Set<pg.Client>()

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(inject(server)))
    engine = await openEngine(url)
  })
  afterEach(async () => {
    for (const child of processes) child.kill('SIGKILL')
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

  async function startProcess(queues: readonly string[]): Promise<ChildProcess> {
    const child = spawn(process.execPath, [workerScript, url, ...queues], { stdio: ['ignore', 'pipe', 'inherit'] })
    processes.add(child)
    child.once('exit', () => processes.delete(child))
    await new Promise((resolve) => child.stdout!.once('data', resolve))
    return child
  }

  test('trees of tasks in four queues end once each, while processes are killed', { timeout: 60_000 }, async () => {
    const queues = [await newQueue(), await newQueue(), await newQueue(), await newQueue()]
    const bus = new Bus(engine)
    for (const queue of queues) await bus.bind('employee.hired', queue)
    const ids = Array.from({ length: 12 }, (_, index) => newName(`hired${index}`))
    const workers = [await startProcess(queues), await startProcess(queues), await startProcess(queues)]
    for (const [index, correlationId] of ids.entries()) {
      const meta = { correlationId, correlationQueue: 'trees' }
      await bus.publish('employee.hired', { depth: 3 }, { meta, track: true })
      if (index % 3 !== 2) continue
      // In the middle of what was published just now.
      workers.shift()!.kill('SIGKILL')
      workers.push(await startProcess(queues))
    }
    const isOver = async (id: string) => (await bus.correlation(id))?.completedAt instanceof Date
    const allOver = async () => (await Promise.all(ids.map(isOver))).every(Boolean)
    const giveUpAt = Date.now() + 45_000
    while (!(await allOver()) && Date.now() < giveUpAt) await new Promise((resolve) => setTimeout(resolve, 100))

    const told = (await engine.peek('trees', everything)).map(({ data }) => JSON.parse(data))
    expect(told.map(({ correlationId }) => correlationId).sort()).toEqual([...ids].sort())
    // In each of four trees: 1 + 2 + 4 + 8 tasks, without the two below one that fails; another fails further down.
    for (const { done, dead, cancelled } of told) expect([done, dead, cancelled]).toEqual([4 * 11, 4 * 2, 0])
    for (const id of ids) expect(await bus.correlation(id)).toMatchObject({ pending: 0, running: 0, total: 4 * 13 })
  })

  test('of two processes that end the last tasks at the same time one tells', async () => {
    const other = await openEngine(url)
    const queues = [await newQueue(), await newQueue()] as const
    for (let round = 0; round < 40; round++) {
      const id = newName('last')
      for (const queue of queues) await engine.send(queue, [task(id), task(id)], null)
      const leased = [await claimAll(engine, queues[0]), await claimAll(engine, queues[1])] as const
      await Promise.all([
        ...leased[0].map((one) => other.settle(queues[0], [remove(one)])),
        ...leased[1].map((one) => engine.settle(queues[1], [remove(one)])),
      ])
      expect(await toldOf(id)).toMatchObject([{ done: 4 }])
    }
    await other.close()
  })

  test('batches that end tasks of the same correlations in other orders do not block each other', async () => {
    const queue = await newQueue()
    const ids = Array.from({ length: 10 }, () => newName('batch'))
    const other = await openEngine(url)
    for (let round = 0; round < 10; round++) {
      const names = ids.map((id) => `${id}_${round}`)
      await engine.send(queue, [...names.map((id) => task(id)), ...names.toReversed().map((id) => task(id))], null)
      const leased = await claimAll(engine, queue)
      await Promise.all([
        engine.settle(queue, leased.slice(0, 10).map(remove)),
        other.settle(queue, leased.slice(10).map(remove)),
      ])
      for (const id of names) expect(await toldOf(id)).toHaveLength(1)
    }
    await other.close()
  })

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
      await engine.maintain()
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
    await engine.maintain()
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
