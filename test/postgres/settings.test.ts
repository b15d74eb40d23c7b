import pg from 'pg'
import { Bus } from 'tidings/internal/bus/bus'
import { Driver } from 'tidings/internal/engines/postgres/driver'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { newDatabase, newName, openEngine, query, until } from './support.ts'

// What a role or database sets for its applications, and what our sessions need instead.
const harmful = {
  lock_timeout: '50ms',
  statement_timeout: '300ms',
  idle_in_transaction_session_timeout: '100ms',
  idle_session_timeout: '200ms',
  default_transaction_isolation: 'serializable',
}

const versions = [15, 18] as const

describe.each(versions)('PostgreSQL %i with settings that end statements', (version) => {
  let database: { url: string; drop(): Promise<void> }
  let bus: Bus

  beforeAll(async () => {
    database = await newDatabase(await sharedServer(`postgres${version}`))
    const name = new URL(database.url).pathname.slice(1)
    for (const [setting, value] of Object.entries({
      ...harmful,
      ...(version === 18 ? { transaction_timeout: '300ms' } : {}),
    }))
      await query(database.url, `ALTER DATABASE ${name} SET ${setting} = '${value}'`)
    bus = new Bus(await openEngine(database.url))
  })
  afterAll(async () => {
    await bus?.close()
    await database?.drop()
  })

  async function locked(work: (unlock: () => Promise<void>) => Promise<void>, statement: string): Promise<void> {
    const locker = new pg.Client({ connectionString: database.url })
    await locker.connect()
    await locker.query('SET idle_in_transaction_session_timeout = 0')
    if (version === 18) await locker.query('SET transaction_timeout = 0')
    try {
      await locker.query('BEGIN')
      await locker.query(statement)
      await work(async () => void (await locker.query('COMMIT')))
    } finally {
      await locker.end()
    }
  }
  const waitsFor = (ms: number) =>
    until(async () => {
      const text = `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
        AND now() - query_start > $1 * interval '1 ms'`
      return (await query(database.url, text, [ms])).length > 0
    }, 'a statement waits for the lock')

  test('a send waits for a lock', async () => {
    const queue = bus.queue(newName('waits'))
    await queue.create()
    await locked(async (unlock) => {
      const send = queue.send(1)
      await waitsFor(500)
      await unlock()
      await send
    }, `LOCK TABLE pgmq.q_${queue.name}`)
    expect(await queue.stats()).toMatchObject({ ready: 1 })
  })

  test('what was handled is settled once, though somebody holds the row', async () => {
    const queue = bus.queue(newName('once'))
    await queue.send(1)
    let calls = 0
    let letGo = () => {}
    const worker = queue.work(async () => {
      calls++
      await new Promise<void>((resolve) => {
        letGo = resolve
      })
    })
    await until(() => calls === 1, 'the message is handled')
    await locked(async (unlock) => {
      letGo()
      await waitsFor(500)
      await unlock()
    }, `LOCK TABLE pgmq.q_${queue.name}`)
    await worker.drain()
    expect(calls).toBe(1)
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, leaseLost: 0 })
  })

  test('a lock that stays is told, and what was handled is still settled once', async () => {
    const queue = bus.queue(newName('long'))
    await queue.send(1)
    let calls = 0
    let letGo = () => {}
    const events: string[] = []
    const worker = queue.work(
      async () => {
        calls++
        await new Promise<void>((resolve) => {
          letGo = resolve
        })
      },
      { observe: ({ type }) => void events.push(type) },
    )
    await until(() => calls === 1, 'the message is handled')
    await locked(async (unlock) => {
      letGo()
      await expect(queue.send(2)).rejects.toMatchObject({ code: 'STORAGE_BUSY', retryable: true })
      await until(() => events.includes('settleFailed'), 'the worker could not settle')
      await unlock()
    }, `LOCK TABLE pgmq.q_${queue.name}`)
    await worker.drain()
    expect(calls).toBe(1)
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, leaseLost: 0 })
  })

  test('a transactional handler may take its time', async () => {
    const queue = bus.queue(newName('slow'))
    await queue.send(1)
    let calls = 0
    const worker = queue.work(
      async (_message, { tx }) => {
        calls++
        await tx.query('SELECT pg_sleep(0.5)', [])
        await new Promise((resolve) => setTimeout(resolve, 500))
      },
      { transactional: true },
    )
    await worker.drain()
    expect(calls).toBe(1)
    expect(worker.stats()).toMatchObject({ succeeded: 1 })
  })

  test('what the URL says stands', async () => {
    const url = new URL(database.url)
    url.searchParams.set('options', '-c lock_timeout=77ms')
    url.searchParams.set('statement_timeout', '78')
    const driver = new Driver({ url: url.href })
    await driver.open()
    try {
      const text = `SELECT current_setting('lock_timeout') AS lock, current_setting('statement_timeout') AS statement,
        current_setting('idle_in_transaction_session_timeout') AS idle`
      expect(await driver.query(text, [], { repeatable: true })).toEqual([
        { lock: '77ms', statement: '78ms', idle: '0' },
      ])
    } finally {
      await driver.close()
    }
  })

  test('20 instances start at once on an empty database', async () => {
    const empty = await newDatabase(await sharedServer(`postgres${version}`))
    const name = new URL(empty.url).pathname.slice(1)
    await query(empty.url, `ALTER DATABASE ${name} SET lock_timeout = '50ms'`)
    await query(empty.url, `ALTER DATABASE ${name} SET statement_timeout = '300ms'`)
    const started = await Promise.allSettled(Array.from({ length: 20 }, () => openEngine(empty.url)))
    for (const one of started) if (one.status === 'fulfilled') await one.value.close()
    await empty.drop()
    expect(started.filter(({ status }) => status === 'rejected')).toEqual([])
  })
})
