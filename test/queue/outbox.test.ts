import assert from 'node:assert/strict'
import { deliver, type MemoryBus, memoryBus } from 'tidings/testing'
import { describe, test } from 'vitest'
import { datas, refusal } from './support.ts'

/** As `pg` has one. */
const client = () => ({ query: async () => ({ rows: [] }) })
/** As they are called in the application. */
const applicationTransactions = {
  pg: client(),
  'any object': { query: async (_text: string, _values: readonly unknown[]) => ({ rows: [] }) },
  Knex: Object.assign(() => {}, {
    raw: async () => ({ rows: [] }),
    isTransaction: true,
    client: {},
    isCompleted: () => false,
  }),
  Prisma: { $queryRawUnsafe: async () => [], $executeRawUnsafe: async () => 0 },
}

async function order(bus: MemoryBus, tx: object) {
  const orders = bus.queue('orders', { requireTransaction: true })
  const id = await orders.send(1, { tx: tx as never, dedupId: 'a' })
  await bus.publish('Orders.Placed', 2, { tx: tx as never })
  return { orders, id }
}

describe('a transaction of the application', () => {
  test.each(Object.entries(applicationTransactions))('of %s commits at once', async (_library, tx) => {
    const bus = memoryBus()
    const { orders, id } = await order(bus, tx)
    assert.deepEqual(datas(await orders.peek()), [1])
    assert.equal((await orders.read())[0]?.id, id)
  })

  test('commits by hand, or is rolled back', async () => {
    const bus = memoryBus({ transactions: 'byHand' })
    const other = bus.queue('other')
    await other.create()
    await bus.bind('Orders.*', 'other')
    const news = bus.topic('news')
    await news.create()
    await bus.bind('Orders.#', news)
    const [kept, dropped] = [client(), client()]
    const { orders, id } = await order(bus, dropped)
    await news.publish('n', { tx: dropped })
    assert.deepEqual([await orders.peek(), await other.peek(), await news.read()], [[], [], []])
    await refusal(() => order(bus, kept), 'DUPLICATE')
    bus.rollBack(dropped)
    await refusal(() => orders.send(1, { tx: dropped }), 'CLOSED')
    const after = await order(bus, kept)
    assert.notEqual(after.id, id)
    const plain = await bus.queue('orders').send('later')
    assert.deepEqual(datas(await orders.peek()), ['later'])
    bus.commit(kept)
    assert.deepEqual(
      (await orders.peek()).map((message) => message.id),
      [after.id, plain],
    )
    assert.deepEqual(datas(await other.peek()), [2])
    assert.equal((await news.read()).length, 1)
    assert.throws(() => bus.commit(kept), /ended/)
  })

  test('a target is held, and data are replaced with the commit', async () => {
    const bus = memoryBus({ transactions: 'byHand' })
    const jobs = bus.queue('jobs')
    const tx = client()
    const unique = { uniqueTarget: true, meta: { targetId: 't' } }
    await jobs.send(1, { ...unique, tx })
    await refusal(() => jobs.send(2, { ...unique, tx }), 'DUPLICATE')
    const dedup = { id: 'd', replace: true } as const
    const id = await jobs.send('old', { dedup })
    assert.equal(await jobs.send('new', { dedup, tx }), id)
    assert.deepEqual(datas(await jobs.peek()), ['old'])
    bus.commit(tx)
    assert.deepEqual(datas(await jobs.peek()), [1, 'new'])
  })
})

describe('a transaction of the bus', () => {
  test('commits with its work, and not without', async () => {
    const bus = memoryBus()
    const error = new Error('no')
    await assert.rejects(
      bus.transaction(async (tx) => {
        await order(bus, tx)
        throw error
      }),
      error,
    )
    assert.deepEqual(await bus.queue('orders').peek(), [])
    const { orders } = await bus.transaction(async (tx) => {
      const done = await order(bus, tx)
      assert.deepEqual(await done.orders.peek(), [])
      await refusal(() => tx.query('SELECT 1', []) as Promise<never>, 'UNSUPPORTED')
      return done
    })
    assert.deepEqual(datas(await orders.peek()), [1])
  })

  test('is that of a transactional worker: sends and the end of the message are one', async () => {
    const bus = memoryBus()
    const [jobs, results] = [bus.queue<number>('jobs'), bus.queue('results')]
    await jobs.sendBatch([{ data: 1 }, { data: 2 }])
    const worker = jobs.work(
      async ({ data }, { tx }) => {
        await results.send(data * 10, { tx })
        if (data === 1) throw new Error('no')
      },
      { transactional: true, maxAttempts: 1, maxMessages: 2, concurrency: 1 },
    )
    await worker.finished
    assert.deepEqual(datas(await results.peek()), [20])
    assert.equal((await jobs.deadLetters.list()).length, 1)
    assert.deepEqual(await jobs.peek(), [])
  })
})

describe('deliver', () => {
  test('hands over data as they are read, in order, and throws what the handler throws', async () => {
    const seen: unknown[] = []
    const handle = async (message: { data: unknown; queue: string; meta: object }) => {
      seen.push([message.data, message.queue])
      if (message.data === 'bad') throw new RangeError('bad')
    }
    await deliver(handle, [{ data: { at: new Date(0), gone: undefined } }, { data: 2, delay: '1h' }], {
      queue: 'hires',
    })
    assert.deepEqual(seen, [
      [{ at: '1970-01-01T00:00:00.000Z' }, 'hires'],
      [2, 'hires'],
    ])
    await assert.rejects(deliver(handle, [{ data: 'bad' }, { data: 'never' }]), RangeError)
    assert.equal(seen.length, 3)
  })
})
