import { connect } from 'tidings/internal/connect'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { makeTemplate } from '../support/migrated-template.ts'
import { startPostgres } from '../support/postgres.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { type PgmqClient, type PgmqDatabase, pgmqDatabase, pgmqSession } from './pgmq-support.ts'
import { newName, until } from './support.ts'

const noTrigger = (queue: string) =>
  `NOTICE 00000 trigger "trigger_notify_queue_insert_listeners" for relation "pgmq.q_${queue}" does not exist, skipping`

describe.each(['postgres15', 'postgres18'] as const)("notifications by PGMQ's functions on %s", (server) => {
  let db: PgmqDatabase
  let client: PgmqClient
  let queue: string

  beforeAll(async () => {
    db = await pgmqDatabase(await sharedServer(server))
    client = db.client
  })
  afterAll(() => db.close())
  beforeEach(async () => {
    queue = newName('told')
    await client.call('create($1)', [queue])
  })

  const throttles = async () =>
    (await client.rows('SELECT * FROM pgmq.list_notify_insert_throttles()')).filter((row) => row.queue_name === queue)
  /** Whoever listens; what it heard up to a message of ours. */
  const listener = async (name = queue) => {
    const session = await db.session()
    await session.rows(`LISTEN "pgmq.q_${name}.INSERT"; LISTEN done`)
    return async () => {
      await client.rows("SELECT pg_notify('done', '')")
      await until(
        async () => (await session.rows('SELECT 1')) && session.heard.includes('done '),
        'the notification came',
      )
      return session.heard.splice(0).filter((text) => text !== 'done ')
    }
  }
  const channel = () => `pgmq.q_${queue}.INSERT `

  test('are enabled, changed and listed', async () => {
    expect(await client.notices('enable_notify_insert($1)', [queue])).toEqual([noTrigger(queue)])
    expect(await throttles()).toEqual([{ queue_name: queue, throttle_interval_ms: 250, last_notified_at: new Date(0) }])
    await client.call("send($1, '1')", [queue])
    expect((await throttles())[0]?.last_notified_at).not.toEqual(new Date(0))
    expect(await client.notices('enable_notify_insert($1, 1000)', [queue])).toEqual([])
    expect(await throttles()).toEqual([
      { queue_name: queue, throttle_interval_ms: 1000, last_notified_at: new Date(0) },
    ])
    await client.call("send($1, '1')", [queue])
    await client.call('update_notify_insert($1, 0)', [queue])
    expect(await throttles()).toEqual([{ queue_name: queue, throttle_interval_ms: 0, last_notified_at: new Date(0) }])
    await client.rows('UPDATE pgmq.notify_insert_throttle SET throttle_interval_ms = 5 WHERE queue_name = $1', [queue])
    expect(await throttles()).toMatchObject([{ throttle_interval_ms: 5 }])
    expect(
      await client.rows(
        `SELECT tgname AS name, tgdeferrable AS deferrable, tginitdeferred AS deferred, tgconstraint <> 0 AS is_constraint
        FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname LIKE 'trigger_notify%'`,
        [`pgmq.q_${queue}`],
      ),
    ).toEqual([
      { name: 'trigger_notify_queue_insert_listeners', deferrable: true, deferred: false, is_constraint: true },
    ])
    expect(await client.notices('disable_notify_insert($1)', [queue])).toEqual([])
    expect(await throttles()).toEqual([])
    expect(await client.notices('disable_notify_insert($1)', [queue])).toEqual([noTrigger(queue)])
    expect(await client.notices("disable_notify_insert('nope')")).toEqual([
      'NOTICE 00000 relation "pgmq.q_nope" does not exist, skipping',
    ])
    await client.call('enable_notify_insert($1)', [queue])
    await client.call('drop_queue($1)', [queue])
    expect(await throttles()).toEqual([])
  })

  test('what cannot be enabled or changed', async () => {
    const missing = 'P0001 Queue "nope" does not exist.'
    expect(await client.failure('enable_notify_insert($1, -1)', [queue])).toBe(
      'P0001 throttle_interval_ms must be non-negative',
    )
    expect(await client.failure("enable_notify_insert('nope')")).toBe(`${missing} Create it first using pgmq.create()`)
    expect(await client.failure('enable_notify_insert($1)', [queue.toUpperCase()])).toMatch(
      /^23503 .*"notify_insert_throttle_queue_name_fkey"/,
    )
    expect(await client.failure('update_notify_insert($1, -5)', [queue])).toBe(
      'P0001 throttle_interval_ms must be non-negative, got: -5',
    )
    expect(await client.failure("update_notify_insert('nope', 5)")).toBe(
      `${missing} Create the queue first using pgmq.create()`,
    )
    expect(await client.failure('update_notify_insert($1, 5)', [queue])).toBe(
      `P0001 Queue "${queue}" does not have notify_insert enabled. Enable it first using pgmq.enable_notify_insert()`,
    )
    await client.call('enable_notify_insert($1)', [queue])
    expect(await client.failure('update_notify_insert($1, NULL)', [queue])).toMatch(/^23502 /)
  })

  test('come on the channel of the queue, with nothing in them, and no more often than asked for', async () => {
    await client.call('enable_notify_insert($1, 0)', [queue])
    const heard = await listener()
    await client.call("send_batch($1, ARRAY['1', '2', '3']::jsonb[])", [queue])
    expect(await heard()).toEqual([channel()])
    await client.call("send($1, '4')", [queue])
    expect(await heard()).toEqual([channel()])
    await client.call('update_notify_insert($1, 3600000)', [queue])
    await client.call("send($1, '5')", [queue])
    await client.call("send($1, '6')", [queue])
    expect(await heard()).toEqual([channel()])
    await client.rows(
      "UPDATE pgmq.notify_insert_throttle SET last_notified_at = now() - interval '2 h' WHERE queue_name = $1",
      [queue],
    )
    await client.call("send($1, '7')", [queue])
    expect(await heard()).toEqual([channel()])
    await client.rows('DELETE FROM pgmq.notify_insert_throttle WHERE queue_name = $1', [queue])
    await client.call("send($1, '8')", [queue])
    expect(await heard()).toEqual([])
  })

  test('come for what Tidings sends, and for what it keeps elsewhere until it is due', async () => {
    await client.call('enable_notify_insert($1, 0)', [queue])
    const heard = await listener()
    const bus = await connect(db.url)
    await bus.queue(queue).send(1)
    expect(await heard()).toEqual([channel()])
    await bus.queue(queue).send(2, { delay: '1h' })
    expect(await heard()).toEqual([])
    await client.rows('UPDATE tidings.delayed SET due = now()')
    await db.engine.maintain({ kind: 'due' })
    expect(await heard()).toEqual([channel()])
    await bus.close()
  })

  test('come again when a delayed message is due, while a process of Tidings does its upkeep', async () => {
    await client.call('enable_notify_insert($1, 0)', [queue])
    const heard = await listener()
    await client.call("send($1, '1', 4)", [queue])
    expect(await heard()).toEqual([channel()])
    await db.engine.maintain({ kind: 'due' })
    expect(await heard()).toEqual([])
    await client.rows(`SELECT pg_sleep_until(vt) FROM pgmq.q_${queue}`)
    await db.engine.maintain({ kind: 'due' })
    expect(await heard()).toEqual([channel()])
    await db.engine.maintain({ kind: 'due' })
    expect(await heard()).toEqual([])
  })

  test('wake a worker of Tidings when another program inserts by itself, whatever the case of the name', async () => {
    const mixed = newName('Mixed')
    await client.call('create($1)', [mixed])
    await client.call('enable_notify_insert($1)', [mixed])
    const heard = await listener(mixed)
    const bus = await connect(db.url)
    let handled: ((data: unknown) => void) | undefined
    const first = new Promise((resolve) => {
      handled = resolve
    })
    const worker = bus.queue(mixed.toLowerCase()).work(({ data }) => handled?.(data), { pollInterval: '1h' })
    await until(
      async () =>
        (await client.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'")).length > 0,
      'the worker waits',
    )
    await client.rows(`INSERT INTO pgmq."q_${mixed.toLowerCase()}" (vt, message) VALUES (now(), '"by itself"')`)
    expect(await first).toBe('by itself')
    expect(await heard()).toEqual([`pgmq.q_${mixed}.INSERT `])
    await worker.stop()
    await bus.close()
  })

  test.each([0, 1, 3_600_000])('nobody waits for a sender whose transaction is open, every %i ms', async (interval) => {
    await client.call('enable_notify_insert($1, $2)', [queue, interval])
    const heard = await listener()
    const slow = await db.session()
    await slow.rows('BEGIN')
    await slow.call("send($1, '1')", [queue])
    await client.rows("SET lock_timeout = '2s'")
    await client.call("send($1, '2')", [queue])
    // Who told first may be undone: who could not wait for that told as well.
    expect(await heard()).toEqual([channel()])
    await slow.rows('ROLLBACK')
    await client.rows('RESET lock_timeout')
  })

  test('a sender with a snapshot of its own does not fail on what others told meanwhile', async () => {
    await client.call('enable_notify_insert($1, 1)', [queue])
    const slow = await db.session()
    await slow.rows('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await slow.rows('SELECT 1 FROM pgmq.meta')
    await client.call("send($1, '1')", [queue])
    expect(await slow.call("send($1, '2')", [queue])).toHaveLength(1)
    await slow.rows('COMMIT')
  })
})

test('notifications survive a crash of the server', async () => {
  const server = await startPostgres(15)
  await makeTemplate(server.url)
  const db = await pgmqDatabase(server.url)
  db.client.session.on('error', () => {})
  await db.client.call("create('kept')")
  await db.client.call("enable_notify_insert('kept', 100)")
  await db.client.call("send('kept', '1')")
  await db.engine.close()
  await server.kill()
  await server.restart()
  const after = await pgmqSession(db.url)
  await after.rows('LISTEN "pgmq.q_kept.INSERT"')
  await after.rows('SELECT pg_sleep(0.2)')
  await after.call("send('kept', '2')")
  await until(async () => (await after.rows('SELECT 1')) && after.heard.length > 0, 'it was told')
  expect(after.heard).toEqual(['pgmq.q_kept.INSERT '])
  await after.session.end()
  await server.stop()
})
