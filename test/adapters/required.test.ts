import { Bus } from 'tidings/internal/bus/bus'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { newName, queryAlone as query } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { libraries, type Opened } from './libraries.ts'

const url = await sharedServer('postgres18')
let bus: Bus
let pg: Opened

beforeAll(async () => {
  const engine = new PostgresEngine({ url })
  await engine.open()
  bus = new Bus(engine)
  pg = await libraries[0]!.open(url)
})
afterAll(async () => {
  await pg.close()
  await bus.close()
})

test('requireTransaction: a send without tx is refused and nothing is stored, not even the queue', async () => {
  const queue = bus.queue<number>(newName('required'), { requireTransaction: true })
  const refusal = { code: 'TRANSACTION_REQUIRED', details: { queue: queue.name }, exitCode: 2 }
  await expect(queue.send(1)).rejects.toMatchObject(refusal)
  await expect(queue.send(1, { tx: undefined })).rejects.toMatchObject(refusal)
  await expect(queue.sendBatch([{ data: 2 }])).rejects.toMatchObject(refusal)
  expect((await bus.queues()).map(({ queue }) => queue)).not.toContain(queue.name)
})

test('requireTransaction: with tx messages are sent, handled, tried again and dead-lettered as usual', async () => {
  const queue = bus.queue<number>(newName('required'), { requireTransaction: true })
  await pg.transaction(async (tx) => {
    await queue.send(1, { tx })
    await queue.sendBatch([{ data: 2 }, { data: 3 }], { tx })
  })
  const handler = ({ data }: { data: number }) => {
    if (data === 2) throw new Error('2 fails')
  }
  await queue.work(handler, { maxAttempts: 2, backoff: 0 }).drain()
  expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 0 })
  expect(await queue.deadLetters.list()).toMatchObject([{ data: 2 }])
})

test('a queue that another client made gets priorities in a transaction that has sent to it already', async () => {
  const queue = bus.queue<string>(newName('foreign'))
  await queue.create()
  // Tables of PGMQ have no indexes for ordering keys and priorities, and building one waits for open transactions.
  const table = `pgmq."q_${queue.name}"`
  const indexes = await query(
    url,
    `SELECT format('pgmq.%I', relname) AS name FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = $1::regclass AND indpred IS NOT NULL`,
    [table],
  )
  expect(indexes).toHaveLength(2)
  await query(url, `DROP INDEX ${indexes.map(({ name }) => name).join(', ')}`)
  await pg.transaction(async (tx) => {
    await queue.send('plain', { tx })
    await queue.send('urgent', { tx, priority: 1 })
  })
  expect((await queue.read({ limit: 2 })).map(({ data }) => data)).toEqual(['urgent', 'plain'])
})
