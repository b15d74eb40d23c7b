import { Bus } from 'tidings/internal/bus/bus'
import type { Queue } from 'tidings/internal/bus/queue'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { Message } from 'tidings/internal/messages/message'
import { archive, deadLetter, done, retry, snooze } from 'tidings/internal/worker/outcome'
import type { HandlerContext, HandlerTransaction } from 'tidings/internal/worker/worker'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { newName, query, until } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { Signal, scene, Watcher } from './support.ts'

const url = await sharedServer('postgres18')
const buses: Bus[] = []
let bus: Bus
let queue: Queue<number>
let next: Queue<number>
let table: string
let watcher: Watcher

async function connect(): Promise<Bus> {
  const engine = new PostgresEngine({ url })
  await engine.open()
  const connected = new Bus(engine)
  buses.push(connected)
  return connected
}

beforeEach(async () => {
  bus = await connect()
  queue = bus.queue(newName('work'))
  next = bus.queue(newName('next'))
  table = newName('effects')
  watcher = new Watcher()
  await query(url, `CREATE TABLE ${table} (data int UNIQUE DEFERRABLE INITIALLY DEFERRED, attempt int)`)
  await next.create()
})
afterEach(async () => {
  await Promise.all(buses.splice(0).map((one) => one.close()))
})

/** A write of the application and a message to somebody else, both in the transaction of the handler. */
async function effect({ data }: Message<number>, { tx, attempt }: Pick<HandlerContext, 'tx' | 'attempt'>) {
  await tx.query(`INSERT INTO ${table} VALUES ($1, $2)`, [data, attempt])
  await next.send(data, { tx })
}

const written = async () => (await query(url, `SELECT data FROM ${table} ORDER BY 1`)).map(({ data }) => data)
const sent = async () => (await next.peek({ limit: 1_000 })).map(({ data }) => data as number).toSorted((a, b) => a - b)
const expectEffects = async (...data: number[]) => expect([await written(), await sent()]).toEqual([data, data])
const numbers = (count: number) => Array.from({ length: count }, (_, data) => data)

describe('a transactional handler', () => {
  test('its writes and sends are committed with the end of its message, and not before', async () => {
    await queue.send(1)
    const during = new Signal<unknown>()
    const worker = queue.work(
      async (message, context) => {
        await effect(message, context)
        const { leased } = await queue.stats()
        during.resolve([leased, await written(), await sent()])
      },
      { transactional: true, observe: watcher.observe },
    )
    expect(await during.promise).toEqual([1, [], []])
    await watcher.until('succeeded')
    await expectEffects(1)
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, archived: 0 })
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, failed: 0 })
  })

  test('an error undoes everything, then the message is tried again', async () => {
    await queue.send(1)
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      if (context.attempt < 3) throw new Error('not yet')
    }
    await queue.work(handler, { transactional: true, backoff: 20, concurrency: 1, observe: watcher.observe }).drain()
    await expectEffects(1)
    expect(await query(url, `SELECT attempt FROM ${table}`)).toEqual([{ attempt: 3 }])
    expect(watcher.of('failed')).toHaveLength(2)
  })

  test('a message that fails too often is dead-lettered with its error and leaves nothing else', async () => {
    await queue.send(1)
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      throw new Error('never')
    }
    queue.work(handler, { transactional: true, backoff: 20, maxAttempts: 2, observe: watcher.observe })
    await watcher.until('deadLettered')
    await expectEffects()
    expect(await queue.deadLetters.list()).toMatchObject([{ data: 1, meta: { errorMessage: 'never', attempts: 2 } }])
  })

  test('only done() and archive() commit; retry, snooze and deadLetter roll back all writes', async () => {
    const outcomes = [undefined, done(), archive(), retry({ delay: '1h' }), snooze('1h'), deadLetter('of no use')]
    await queue.sendBatch(outcomes.map((_, data) => ({ data })))
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      return outcomes[message.data]
    }
    await queue.work(handler, { transactional: true, observe: watcher.observe }).drain()
    await expectEffects(0, 1, 2)
    expect(await queue.stats()).toMatchObject({ archived: 1, delayed: 2, ready: 0, leased: 0 })
    expect(await queue.deadLetters.list()).toMatchObject([{ data: 5 }])
    expect((await queue.peek({ place: 'delayed' })).map(({ readCount }) => readCount)).toEqual([1, 0])
  })

  test('a lease that was lost before the commit undoes everything; the other reader counts', async () => {
    await queue.send(1)
    const looked = new Signal()
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      if (context.attempt > 1) return looked.promise
      // As if this process had slept for longer than its lease and another reader had come: in one step, since this
      // worker itself looks for messages, too.
      await query(
        url,
        `UPDATE pgmq."q_${queue.name}" SET vt = clock_timestamp() + interval '500 ms', read_ct = read_ct + 1`,
      )
    }
    queue.work(handler, { transactional: true, lease: '1h', observe: watcher.observe })
    await watcher.until('leaseLost')
    await expectEffects()
    looked.resolve()
    await watcher.until('succeeded')
    await expectEffects(1)
    expect(await query(url, `SELECT attempt FROM ${table}`)).toEqual([{ attempt: 3 }])
  })

  test('an error of SQL counts although the handler caught it, and one that only the commit finds', async () => {
    await query(url, `INSERT INTO ${table} VALUES (2, 0)`)
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const handler = async (message: Message<number>, { tx, attempt }: HandlerContext) => {
      if (message.data === 1 && attempt === 1) await tx.query('SELECT 1 / 0').catch(() => {})
      else await effect(message, { tx, attempt })
    }
    queue.work(handler, { transactional: true, maxAttempts: 2, backoff: 20, observe: watcher.observe })
    await Promise.all([watcher.until('succeeded'), watcher.until('deadLettered')])
    expect(await written()).toEqual([1, 2])
    expect(await sent()).toEqual([1])
    const [dead] = await queue.deadLetters.list()
    expect(dead).toMatchObject({ data: 2, meta: { errorMessage: expect.stringContaining('duplicate key') } })
  })

  test('a connection that breaks undoes everything', async () => {
    await queue.send(1)
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      if (context.attempt === 1) await context.tx.query('SELECT pg_terminate_backend(pg_backend_pid())').catch(() => {})
    }
    queue.work(handler, { transactional: true, backoff: 20, observe: watcher.observe })
    await watcher.until('succeeded')
    await expectEffects(1)
    expect(watcher.of('failed')).toHaveLength(1)
  })

  test('the lease is renewed while it works', async () => {
    await queue.send(1)
    const endOfLease = async () => (await query(url, `SELECT vt FROM pgmq."q_${queue.name}"`))[0]?.vt as Date
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      for (let renewals = 0; renewals < 2; renewals++) {
        const before = await endOfLease()
        await until(async () => (await endOfLease()) > before, 'the lease was renewed')
      }
    }
    const worker = queue.work(handler, { transactional: true, lease: '5s', observe: watcher.observe })
    await watcher.until('succeeded')
    await expectEffects(1)
    expect(worker.stats()).toMatchObject({ started: 1, leaseLost: 0 })
  })

  test('the message cannot be settled apart from the transaction', async () => {
    await queue.send(1)
    const handler = async (message: Message<number>) => {
      await expect(message.delete()).rejects.toMatchObject({ code: 'UNSUPPORTED' })
      await expect(message.deadLetter('x')).rejects.toMatchObject({ code: 'UNSUPPORTED' })
      await message.extend('10s')
    }
    await queue.work(handler, { transactional: true, observe: watcher.observe }).drain()
    expect(watcher.of('failed')).toEqual([])
    expect(watcher.of('succeeded')).toHaveLength(1)
  })

  test('many at a time, which also call the bus outside of their transactions', async () => {
    const outside = bus.queue<number>(newName('outside'))
    await queue.sendBatch(numbers(60).map((data) => ({ data })))
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      await Promise.all([outside.send(message.data), next.stats(), context.tx.query('SELECT 1')])
    }
    await queue.work(handler, { transactional: true, concurrency: 30, observe: watcher.observe }).drain()
    await expectEffects(...numbers(60))
    expect(await outside.stats()).toMatchObject({ ready: 60 })
  })

  test('at the deadline for stopping everything is undone, and the handler can write no more', async () => {
    await queue.send(1)
    const begun = new Signal<HandlerTransaction>()
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      begun.resolve(context.tx)
      await new Promise(() => {})
    }
    const worker = queue.work(handler, { transactional: true, observe: watcher.observe })
    const tx = await begun.promise
    await worker.stop({ deadline: 50 })
    await expect(tx.query('SELECT 1')).rejects.toMatchObject({ code: 'CLOSED' })
    await expectEffects()
    expect(await queue.stats()).toMatchObject({ ready: 1 })
    await bus.close()
  })

  test('effectively once with errors, broken connections and two workers that lose leases', async () => {
    const count = 150
    await queue.sendBatch(numbers(count).map((data) => ({ data })))
    const handler = async (message: Message<number>, context: HandlerContext) => {
      await effect(message, context)
      const dice = Math.random()
      if (dice < 0.1) throw new Error('bad luck')
      if (dice < 0.2) await context.tx.query('SELECT pg_terminate_backend(pg_backend_pid())').catch(() => {})
      // Waits for nobody: one that commits may wait for this transaction, which wrote the same.
      const leased = `SELECT msg_id FROM pgmq."q_${queue.name}" WHERE read_ct > 0 FOR UPDATE SKIP LOCKED`
      if (dice < 0.3)
        await query(url, `UPDATE pgmq."q_${queue.name}" SET vt = clock_timestamp() WHERE msg_id IN (${leased})`)
    }
    const options = { transactional: true, maxAttempts: 1_000, backoff: 10, pollInterval: 50, concurrency: 5 }
    const second = (await connect()).queue<number>(queue.name)
    queue.work(handler, { ...options, observe: watcher.observe })
    second.work(handler, { ...options, observe: watcher.observe })
    // Where an answer was lost, both workers or neither may say that they did it: the queue tells when all is done.
    const isEmpty = { ready: 0, leased: 0, delayed: 0 }
    await vi.waitFor(async () => expect(await queue.stats()).toMatchObject(isEmpty), { timeout: 50_000 })
    await expectEffects(...numbers(count))
  })
})

describe('a transactional handler of batches', () => {
  test('the whole batch commits together', async () => {
    await queue.sendBatch(numbers(20).map((data) => ({ data })))
    const handler = async (messages: Message<number>[], { tx }: { tx: HandlerTransaction }) => {
      for (const message of messages) await effect(message, { tx, attempt: message.readCount })
      if (messages.some(({ readCount }) => readCount === 1)) throw new Error('the first time')
    }
    const options = { transactional: true, batchSize: 10, concurrency: 2, backoff: 20 }
    queue.workBatch(handler, { ...options, observe: watcher.observe })
    await watcher.until('succeeded', 20)
    await expectEffects(...numbers(20))
    expect(watcher.of('failed')).toHaveLength(20)
  })

  test('one message that is not done undoes the batch; the others come back without a counted attempt', async () => {
    await queue.sendBatch(numbers(3).map((data) => ({ data })))
    const handler = async (messages: Message<number>[], { tx }: { tx: HandlerTransaction }) => {
      for (const message of messages) await effect(message, { tx, attempt: message.readCount })
      return messages.map(({ data }) => (data === 1 ? retry({ delay: '1h', reason: 'not now' }) : done()))
    }
    queue.workBatch(handler, { transactional: true, batchSize: 10, concurrency: 2, observe: watcher.observe })
    await watcher.until('succeeded', 2)
    await expectEffects(0, 2)
    expect(await query(url, `SELECT DISTINCT attempt FROM ${table}`)).toEqual([{ attempt: 1 }])
    expect(await queue.peek({ place: 'delayed' })).toMatchObject([{ data: 1, meta: { errorMessage: 'not now' } }])
  })
})

describe('transactional', () => {
  test('is refused at the start where the storage has no transactions', () => {
    const memory = scene().bus.queue('memory')
    const refusal = expect.objectContaining({ code: 'UNSUPPORTED', details: { feature: 'transactions' } })
    expect(() => memory.work(() => {}, { transactional: true })).toThrow(refusal)
    expect(() => memory.workBatch(() => {}, { transactional: true })).toThrow(refusal)
  })

  test('context.tx is not there in other workers', async () => {
    const { bus: memory, watcher: told, observe } = scene()
    const plain = memory.queue('plain')
    await plain.send(1)
    await plain.work((_, { tx }) => tx.query('SELECT 1'), { maxAttempts: 1, observe }).drain()
    expect(told.of('failed')[0]!.error).toMatchObject({ code: 'UNSUPPORTED' })
  })
})
