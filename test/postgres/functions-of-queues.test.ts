import pg from 'pg'
import { PostgresMigrations } from 'tidings/internal/engines/postgres/migrate'
import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, migratedDatabase, newName, openEngine, query } from './support.ts'

// What every message passes through is planned once a session, in functions of its queue.
describe.each(['postgres15', 'postgres18'] as const)('functions of a queue on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })

  const functionsOf = (queue: string) =>
    query(
      url,
      `SELECT proname AS name, prosrc AS body, prosecdef AS as_owner, proowner::regrole::text AS owner,
      has_function_privilege('public', oid, 'EXECUTE') AS is_public
      FROM pg_proc WHERE split_part(proname, ':', 2) = $1 ORDER BY 1`,
      [queue],
    )
  const sendAndSettle = async (queue: string, by = engine) => {
    const [sent] = await by.send(queue, [message()], null)
    const [claimed] = await claimAll(by, queue)
    expect(claimed?.id).toBe(sent?.id)
    const lease = { id: claimed!.id, receipt: claimed!.receipt! }
    expect(await by.settle(queue, [{ kind: 'delete', ...lease }])).toEqual([{ settled: true, newId: null }])
  }

  /**
   * How often the server plans in a session that does the same again and again: the least of several times, since whatever analyses
   * a table meanwhile has plans made anew.
   */
  async function plansOf(session: pg.Client, statement: pg.QueryConfig): Promise<number> {
    let plans = 0
    session.on('notice', ({ message: text }) => {
      if (text === 'PLANNER STATISTICS') plans += 1
    })
    const counts: number[] = []
    for (let i = 0; i < 20; i++) {
      await session.query('SET log_planner_stats = on; SET client_min_messages = log')
      plans = 0
      await session.query(statement)
      counts.push(plans)
      // The two RESETs are no statements that are planned.
      await session.query('RESET log_planner_stats; RESET client_min_messages')
    }
    return Math.min(...counts)
  }

  test('a message that travels alone is planned nowhere', async () => {
    const queue = newName('planned')
    await engine.createQueue(queue)
    const session = new pg.Client({ connectionString: url })
    await session.connect()
    try {
      const send = { name: 's', text: `SELECT tidings."send:${queue}"($1::text::jsonb, NULL)`, values: ['["a"]'] }
      const claim = `SELECT * FROM tidings."claim:${queue}"(1, 30000, 0, NULL, false, NULL, NULL, false, NULL, 1000)`
      const settle = `SELECT tidings."settle:${queue}"('{1}', '{1}', '{1}')`
      expect(await plansOf(session, send)).toBe(0)
      expect(await plansOf(session, { name: 'c', text: claim })).toBe(0)
      expect(await plansOf(session, { name: 'd', text: settle })).toBe(0)
      // That these are counted at all.
      expect(await plansOf(session, { text: settle })).toBe(1)
    } finally {
      await session.end()
    }
  })

  test.each([
    ['ordering keys', { orderingKey: 'one' }, {}],
    ['priorities', { priority: 1 }, {}],
    ['groups', { group: 'one' }, {}],
    [
      'a rate of keys',
      { orderingKey: 'one' },
      { limits: [{ per: 'orderingKey', rate: { count: 1_000, periodMs: 1 } }] },
    ],
    ['groups and ordering keys', { group: 'one', orderingKey: 'one' }, {}],
    ['a limit of the queue', {}, { limits: [{ per: 'queue', concurrency: 9 }] }],
    ['limits of groups', { group: 'one' }, { limits: [{ per: 'group', concurrency: 9 }] }],
  ])('nor is a claim of a queue with %s', async (_what, options, settings) => {
    const queue = newName('planned')
    await engine.createQueue(queue)
    await engine.configure(queue, settings)
    await engine.send(queue, Array(50).fill(message(options)), null)
    const session = new pg.Client({ connectionString: url })
    await session.connect()
    try {
      const text = `SELECT * FROM tidings."claim:${queue}"(1, 0, 0, NULL, false, NULL, NULL, false, NULL, NULL)`
      const claim = { name: 'c', text }
      expect((await session.query(claim)).rows).toMatchObject([{ read_ct: 1 }])
      expect(await plansOf(session, claim)).toBe(0)
    } finally {
      await session.end()
    }
  })

  test('an engine sends them as named statements, on a connection that leads to the server', async () => {
    const queue = newName('named')
    await engine.createQueue(queue)
    await sendAndSettle(queue)
    const held = await engine.transaction(async (transaction) => {
      const { rows } = await transaction.query('SELECT statement FROM pg_prepared_statements', [])
      return rows.length
    })
    expect(held).toBeGreaterThan(0)
  })

  test('they come with a queue and go with it', async () => {
    const queue = newName('comes')
    await engine.createQueue(queue)
    expect((await functionsOf(queue)).map(({ name }) => name)).toEqual(
      ['claim', 'due', 'pick', 'send', 'settle'].map((verb) => `${verb}:${queue}`),
    )
    await sendAndSettle(queue)
    await query(url, `SELECT tidings.enable_lanes('${queue}')`)
    expect((await functionsOf(queue)).map(({ name }) => name)).toEqual(
      ['claim', 'due', 'pick', 'rooms', 'send', 'settle', 'turns'].map((verb) => `${verb}:${queue}`),
    )
    await sendAndSettle(queue)
    await engine.dropQueue(queue)
    expect(await functionsOf(queue)).toEqual([])
  })

  test('a queue that another program drops and makes again is found by who used it before', async () => {
    const queue = newName('again')
    await engine.createQueue(queue)
    await sendAndSettle(queue)
    const other = await openEngine(url)
    await other.dropQueue(queue)
    await expect(engine.send(queue, [message()], null)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
    await expect(engine.claim(queue, { limit: 1, leaseMs: 1_000, ids: null })).rejects.toMatchObject({
      code: 'QUEUE_NOT_FOUND',
    })
    await other.createQueue(queue)
    await other.close()
    await sendAndSettle(queue)
  })

  test('a table that takes the place of another is found by its name', async () => {
    const queue = newName('swapped')
    await engine.createQueue(queue)
    await sendAndSettle(queue)
    const tables = `pgmq.q_${queue}, pgmq.a_${queue}`
    await query(url, `DROP TABLE ${tables}`)
    await expect(engine.send(queue, [message()], null)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
    await query(url, `DELETE FROM pgmq.meta WHERE queue_name = '${queue}'`)
    await query(url, `SELECT pgmq.create('${queue}')`)
    await sendAndSettle(queue)
  })

  test('in a transaction of the application, on a queue that it made itself or that nobody used before', async () => {
    const [own, foreign] = [newName('own'), newName('foreign')]
    await query(url, `SELECT pgmq.create('${foreign}')`)
    await query(url, `SELECT tidings.forget('${foreign}')`)
    const session = new pg.Client({ connectionString: url })
    await session.connect()
    const transaction = {
      query: async (text: string, values: readonly unknown[]) => session.query(text, [...values]),
    }
    await session.query('BEGIN')
    await session.query(`SELECT tidings.create_queue('${own}')`)
    for (const queue of [own, foreign]) await engine.send(queue, [message()], transaction)
    // Nobody waits for the transaction.
    await engine.send(foreign, [message()], null)
    await session.query('COMMIT')
    await session.end()
    expect(await claimAll(engine, own)).toHaveLength(1)
    expect(await claimAll(engine, foreign)).toHaveLength(2)
  })

  test('others are made where the texts have changed, or the table has', async () => {
    const queue = newName('changed')
    await engine.createQueue(queue)
    const before = await functionsOf(queue)
    await query(
      url,
      `CREATE OR REPLACE FUNCTION tidings."send:${queue}"(bodies jsonb, headers jsonb) RETURNS text LANGUAGE plpgsql
      AS $$ BEGIN RETURN 'old'; END $$; ALTER TABLE pgmq.q_${queue} DROP COLUMN last_read_at;
      UPDATE tidings.queue SET has_last_read = false WHERE queue_name = '${queue}'`,
    )
    const newer = await openEngine(url)
    await sendAndSettle(queue, newer)
    const bodies = (await functionsOf(queue)).map(({ body }) => String(body))
    expect(bodies[0]).not.toContain('last_read_at = ')
    expect(bodies.slice(1)).toEqual(before.slice(1).map(({ body }) => body))
    await query(url, `ALTER TABLE pgmq.q_${queue} ADD COLUMN last_read_at timestamptz`)
    const newest = await openEngine(url)
    await sendAndSettle(queue, newest)
    expect(await functionsOf(queue)).toEqual(before)
    await Promise.all([newer.close(), newest.close()])
  })

  test('names that are no names of ours do no harm', async () => {
    const like = newName('like')
    await engine.createQueue(like)
    for (const queue of ["it's", 'a%s b%1$s', '$body$;', '"quoted"', '{queue}', 'ünï:code', 'x\\y']) {
      // Not by a function, which refuses most of them.
      await query(url, 'INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ($1, false, false)', [
        queue,
      ])
      for (const kind of ['q', 'a']) {
        const table = pg.escapeIdentifier(`${kind}_${queue}`)
        await query(url, `CREATE TABLE pgmq.${table} (LIKE pgmq.${kind}_${like} INCLUDING ALL)`)
      }
      await query(url, 'SELECT * FROM tidings.send($1, $2, true)', [queue, '[{"m": 1, "d": 0}]'])
      const [claimed] = await query(url, 'SELECT * FROM tidings.claim($1, 1, 60000, 0, NULL, false)', [queue])
      expect(claimed).toMatchObject({ id: '1', data: '1' })
      const batch = JSON.stringify([{ i: '1', r: 1, v: claimed!.vt_us, k: 'delete' }])
      expect(await query(url, 'SELECT at FROM tidings.settle($1, $2, true)', [queue, batch])).toEqual([{ at: 1 }])
      for (const kind of ['q', 'a']) await query(url, `DROP TABLE pgmq.${pg.escapeIdentifier(`${kind}_${queue}`)}`)
      await query(url, 'DELETE FROM pgmq.meta WHERE queue_name = $1', [queue])
      await query(url, 'SELECT tidings.maintain_queue($1)', [queue])
      expect(await functionsOf(queue)).toEqual([])
    }
  })

  test('who may call the functions of all queues may call these, and nobody else', async () => {
    const [queue, before] = [newName('granted'), newName('before')]
    const role = newName('app')
    await engine.createQueue(before)
    await query(
      url,
      `CREATE ROLE ${role} LOGIN; GRANT USAGE ON SCHEMA pgmq, tidings TO ${role};
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidings, pgmq TO ${role};
      GRANT USAGE ON ALL SEQUENCES IN SCHEMA pgmq TO ${role}`,
    )
    const own = new URL(url)
    own.username = role
    const functions = 'ALL FUNCTIONS IN SCHEMA tidings'
    try {
      const app = await openEngine(own.href)
      await expect(app.send(before, [message()], null)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
      await query(url, `GRANT EXECUTE ON ${functions} TO ${role}`)
      await sendAndSettle(before, app)
      await engine.createQueue(queue)
      await expect(app.send(queue, [message()], null)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
      await query(
        url,
        `GRANT SELECT, INSERT, UPDATE, DELETE ON pgmq.q_${queue} TO ${role};
        GRANT USAGE ON SEQUENCE pgmq.q_${queue}_msg_id_seq TO ${role}`,
      )
      await sendAndSettle(queue, app)
      expect(await functionsOf(queue)).toMatchObject(Array(5).fill({ is_public: false, as_owner: false }))
      await query(url, `REVOKE EXECUTE ON ${functions} FROM ${role}`)
      await expect(app.send(queue, [message()], null)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
      await app.close()
    } finally {
      await query(url, `DROP OWNED BY ${role}; DROP ROLE ${role}`)
    }
  })

  test('a program that is connected while the database gets roles goes on', async () => {
    const own = await migratedDatabase(await sharedServer(server))
    const running = await openEngine(own.url)
    const prefix = newName('r')
    const migrations = new PostgresMigrations({ url: own.url })
    try {
      await running.createQueue('orders')
      await sendAndSettle('orders', running)
      await migrations.open()
      await migrations.apply({ roles: prefix })
      const consumer = newName('consumer')
      await query(own.url, `CREATE ROLE ${consumer} LOGIN; GRANT ${prefix}_consumer, ${prefix}_producer TO ${consumer}`)
      const consumerUrl = new URL(own.url)
      consumerUrl.username = consumer
      const app = await openEngine(consumerUrl.href)
      await sendAndSettle('orders', app)
      await app.close()
      await sendAndSettle('orders', running)
      const made = await query(
        own.url,
        `SELECT DISTINCT prosecdef AS as_owner, proowner::regrole::text AS owner FROM pg_proc WHERE proname LIKE '%:orders'`,
      )
      expect(made).toEqual([{ as_owner: true, owner: `${prefix}_owner` }])
      await query(own.url, `DROP OWNED BY ${consumer}; DROP ROLE ${consumer}`)
    } finally {
      await running.close()
      await migrations.close()
      await own.drop()
      for (const kind of ['admin', 'producer', 'consumer', 'monitor', 'owner'])
        await query(url, `DROP ROLE IF EXISTS ${prefix}_${kind}`)
    }
  })
})
