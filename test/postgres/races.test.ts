import pg from 'pg'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import type { NewMessage } from 'tidings/internal/port/engine'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, query, until } from './support.ts'

// Each race is held open by a second session: it stops one of the two between the statements that matter.
describe.each(['postgres15', 'postgres18'] as const)('races on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  let queue: string
  const sessions: pg.Client[] = []

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })
  beforeEach(async () => {
    queue = newName('race')
    await engine.createQueue(queue)
  })
  afterEach(() => Promise.all(sessions.splice(0).map((session) => session.end())))

  /** A session in the middle of a transaction. */
  const begin = async (text: string, values: unknown[] = []) => {
    const session = new pg.Client({ connectionString: url })
    await session.connect()
    sessions.push(session)
    await session.query('BEGIN')
    await session.query(text, values)
    return session
  }
  /** How many sessions wait for a lock. */
  const areStopped = (count: number) =>
    until(async () => {
      const [row] = await query(
        url,
        `SELECT count(*)::integer AS waiting FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
      return row?.waiting === count
    }, `${count} sessions wait for a lock`)
  const send = async (...messages: Partial<NewMessage>[]) =>
    (await engine.send(queue, messages.map(message), null)).map(({ duplicate }) => duplicate)
  const ids = async () =>
    (await query(url, `SELECT msg_id FROM pgmq.q_${queue} ORDER BY 1`)).map((row) => Number(row.msg_id))
  const delayed = { delayMs: 120_000 }
  const makeDue = () => query(url, `UPDATE tidings.delayed SET due = now() WHERE queue_name = '${queue}'`)

  test('the figures of a queue that is dropped meanwhile are those of no queue', async () => {
    const dropping = await begin('SELECT tidings.drop_queue($1)', [queue])
    const figures = engine.stats(queue)
    figures.catch(() => {})
    await areStopped(1)
    await dropping.query('COMMIT')
    await expect(figures).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
  })

  test('a unique target stays taken that is sent while upkeep removes those of gone messages', async () => {
    await send({ uniqueTarget: 't' })
    await query(url, `DELETE FROM pgmq.q_${queue}`)
    const sender = await begin(`SELECT tidings.send('${queue}', '[{"m": 1, "d": 0, "u": "t"}]', false)`)
    const upkeep = engine.maintain({ kind: 'due' })
    // Upkeep passes over what a sender has locked, or waits for it.
    await Promise.race([upkeep, areStopped(1)])
    await sender.query('COMMIT')
    await upkeep
    expect(await send({ uniqueTarget: 't' })).toEqual([true])
  })

  test('a target that nothing holds any more is free after upkeep', async () => {
    await send({ uniqueTarget: 't' }, { ...delayed, uniqueTarget: 'kept' })
    await query(url, `DELETE FROM pgmq.q_${queue}`)
    await engine.maintain({ kind: 'due' })
    expect(await query(url, `SELECT key FROM tidings.dedup WHERE queue_name = '${queue}'`)).toEqual([
      { key: 'target:kept' },
    ])
  })

  test('a dedup id is recorded though its expired row is removed meanwhile', async () => {
    const both = ['k1', 'k2'].map((id) => ({ dedup: { id, windowMs: 60_000 } }))
    await send(...both)
    await query(url, `UPDATE tidings.dedup SET expires_at = now() - interval '1 s' WHERE queue_name = '${queue}'`)
    const first = await begin(`SELECT FROM tidings.dedup WHERE queue_name = $1 AND key = 'id:k1' FOR UPDATE`, [queue])
    const sending = send(...both)
    await areStopped(1)
    await query(url, `DELETE FROM tidings.dedup WHERE queue_name = $1 AND key = 'id:k2'`, [queue])
    await first.query('COMMIT')
    expect(await sending).toEqual([false, false])
    expect(await send(...both)).toEqual([true, true])
  })

  test('a target is taken while its message moves from the delayed ones into the queue', async () => {
    await send({ ...delayed, uniqueTarget: 't' })
    await makeDue()
    const mover = await begin(`SELECT tidings.promote('${queue}', 10)`)
    // Who waits for this lock stops who reads the table after it.
    const stop = begin('LOCK TABLE tidings.delayed IN ACCESS EXCLUSIVE MODE')
    await areStopped(1)
    const sending = send({ uniqueTarget: 't' })
    await areStopped(2)
    await mover.query('COMMIT')
    await (await stop).query('COMMIT')
    expect(await sending).toEqual([true])
    expect(await ids()).toEqual([1])
  })

  test('a message is cancelled though it moves into the queue meanwhile', async () => {
    await send(delayed)
    await makeDue()
    const mover = await begin(`SELECT tidings.promote('${queue}', 10)`)
    const cancelling = engine.cancel(queue, ['1', '2'])
    await areStopped(1)
    await mover.query('COMMIT')
    expect(await cancelling).toEqual(['removed', null])
    expect(await ids()).toEqual([])
  })

  test('whoever moves messages into the queue wakes those that wait there', async () => {
    await send(delayed)
    await makeDue()
    const wakes: number[] = []
    const listening = await engine.listen({
      woken: (_interest, dueMs) => void wakes.push(dueMs),
      notified() {},
      lost() {},
      announcing() {},
      troubled() {},
      polling() {},
    })
    await listening.listen([`queue:${queue}`])
    await query(url, `SELECT tidings.promote('${queue}', 10)`)
    await until(() => wakes.includes(0), 'the watch is told')
    await listening.close()
  })

  test('what was sent into a queue that is created again is not forgotten with the one before', async () => {
    await query(url, `DROP TABLE pgmq.q_${queue}, pgmq.a_${queue}; DELETE FROM pgmq.meta WHERE queue_name = '${queue}'`)
    const creator = await begin(
      `SELECT tidings.create_queue('${queue}'), tidings.send('${queue}', '[{"m": 1, "d": 120000}]', false)`,
    )
    const upkeep = engine.maintain({ kind: 'due' })
    await areStopped(1)
    await creator.query('COMMIT')
    await upkeep
    expect(await engine.stats(queue)).toMatchObject({ delayed: 1 })
  })
})
