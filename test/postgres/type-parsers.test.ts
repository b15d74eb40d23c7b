import pg from 'pg'
import { Bus } from 'tidings/internal/bus/bus'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { expect, onTestFinished, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, newName } from './support.ts'

const url = await sharedServer('postgres18')

const sets: Record<string, [oid: number, parse: (text: string) => unknown][]> = {
  'int4 as BigInt': [[23, BigInt]],
  'int8 as a number': [[20, Number]],
  'int8 as BigInt': [[20, BigInt]],
  'numeric as a number': [[1700, Number]],
  'float8 as text': [[701, String]],
  'booleans as text': [[16, String]],
  'text trimmed and in capitals': [[25, (text) => text.trim().toUpperCase()]],
  'JSON as text': [
    [114, String],
    [3802, String],
  ],
  'times as text': [
    [1184, String],
    [1114, String],
  ],
}

test.each(Object.entries(sets))('parsers of the application change nothing: %s', async (_what, parsers) => {
  const before = parsers.map(([oid]) => [oid, pg.types.getTypeParser(oid as never)] as const)
  for (const [oid, parse] of parsers) pg.types.setTypeParser(oid as never, parse as never)
  onTestFinished(() => {
    for (const [oid, parse] of before) pg.types.setTypeParser(oid as never, parse as never)
  })
  const database = await migratedDatabase(url)
  onTestFinished(() => database.drop())
  const engine = new PostgresEngine({ url: database.url })
  await engine.open()
  const bus = new Bus(engine)
  onTestFinished(() => bus.close())

  const queue = bus.queue<unknown>('orders', { maxLength: 10 })
  const id = await queue.send({ text: ' a b ' }, { dedupId: 'a' })
  await expect(queue.send(1, { dedupId: 'a' })).rejects.toMatchObject({ code: 'DUPLICATE', details: { firstId: id } })
  await queue.sendBatch([
    { data: 1, orderingKey: 'k' },
    { data: 2, priority: 5 },
    { data: 3, delay: '1h' },
  ])
  expect(await queue.stats()).toMatchObject({ ready: 3, delayed: 1, leased: 0 })
  await expect(bus.queue('orders', { maxLength: 4 }).send(1)).rejects.toMatchObject({ code: 'QUEUE_FULL' })
  const [first] = await queue.read()
  expect(first).toMatchObject({ data: 2, readCount: 1, sentAt: expect.any(Date) })
  expect(Math.abs(first!.sentAt.getTime() - Date.now())).toBeLessThan(60_000)
  await first!.extend('1m')
  expect(await first!.delete()).toBe(true)

  const handled: unknown[] = []
  const worker = queue.work(({ data }) => void handled.push(data))
  await worker.drain()
  expect(handled).toEqual(expect.arrayContaining([{ text: ' a b ' }, 1]))

  const topic = bus.topic('news')
  await topic.subscription('s').create({ from: 'earliest' })
  expect(await topic.publish({ a: 1 })).toMatchObject({ offset: 1, duplicate: false })
  expect((await topic.subscription('s').fetch()).map(({ offset }) => offset)).toEqual([1])
  await bus.bind('a.#', 'orders')
  expect(await bus.publish('a.b', 1)).toMatchObject([{ queue: 'orders', duplicate: false }])
  expect((await bus.queues()).map((one) => one.queue)).toEqual(['orders'])
})

test('the statements of a handler are read as the application reads all others', async () => {
  const engine = new PostgresEngine({ url })
  await engine.open()
  const bus = new Bus(engine)
  onTestFinished(() => bus.close())
  const queue = bus.queue(newName('typed'))
  await queue.send(1)
  let rows: unknown[] = []
  const worker = queue.work(
    async (_message, { tx }) => {
      rows = (await tx.query(`SELECT now() AS at, '{"a":1}'::jsonb AS json, 5::bigint AS large`)).rows
    },
    { transactional: true },
  )
  await worker.drain()
  expect(rows).toEqual([{ at: expect.any(Date), json: { a: 1 }, large: '5' }])
})

test('keys come in the order of jsonb, as the guide says; a serializer keeps the text', async () => {
  const engine = new PostgresEngine({ url })
  await engine.open()
  const bus = new Bus(engine)
  onTestFinished(() => bus.close())
  const data = { zebra: 1, a: 2, longer_key: { b: 1, a: 2 } }
  const queue = bus.queue(newName('order'))
  await queue.send(data)
  expect(JSON.stringify((await queue.pop())[0]!.data)).toBe('{"a":2,"zebra":1,"longer_key":{"a":2,"b":1}}')
  const exact = bus.queue<object>(newName('exact'), {
    serializer: {
      serialize: (value) => new TextEncoder().encode(JSON.stringify(value)),
      deserialize: (bytes) => JSON.parse(new TextDecoder().decode(bytes)),
    },
  })
  await exact.send(data)
  expect(JSON.stringify((await exact.pop())[0]!.data)).toBe(JSON.stringify(data))
})
