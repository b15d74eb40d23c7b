import type { Bus } from 'tidings/internal/bus/bus'
import { connect, migrationsOf } from 'tidings/internal/connect'
import { statements as ofEvents } from 'tidings/internal/engines/postgres/events.gen'
import { eventsMigration } from 'tidings/internal/engines/postgres/events-migration'
import { statements } from 'tidings/internal/engines/postgres/sql.gen'
import type { Migrations, QueueGrant } from 'tidings/internal/port/migrations'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { pgmqPeer } from '../support/pgmq-peer.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { newDatabase, newName, query, until } from './support.ts'

const kinds = ['admin', 'producer', 'consumer', 'monitor'] as const
type Kind = (typeof kinds)[number]

describe.each(['postgres15', 'postgres18'] as const)('the roles of `tidings migrate --roles` on %s', (server) => {
  const prefix = newName('r')
  /** Logs in with one role each; `web` has rights on the queue `single` only, `deployer` installs, `stranger` has none. */
  const logins = [...kinds, 'web', 'deployer', 'stranger'] as const
  const login = (name: (typeof logins)[number]) => `${prefix}_as_${name}`
  const buses = {} as Record<Kind | 'web', Bus>
  let url: string
  let drop: () => Promise<void>
  const as = (name: (typeof logins)[number]) => {
    const own = new URL(url)
    own.username = login(name)
    return own.href
  }

  async function withMigrations(as: string, work: (migrations: Migrations) => Promise<unknown>): Promise<void> {
    const migrations = (await migrationsOf(as))!
    await migrations.open()
    try {
      await work(migrations)
    } finally {
      await migrations.close()
    }
  }

  const migrate = (as: string, wish = {}) => withMigrations(as, (migrations) => migrations.apply(wish))

  /** What `tidings queue grant` does, for the login `web`. */
  const grant = (may: QueueGrant['may'], revoke = false) =>
    withMigrations(as('deployer'), (migrations) =>
      migrations.grant({ queue: 'single', may, role: login('web'), revoke }),
    )

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    for (const name of logins) await query(url, `CREATE ROLE ${login(name)} LOGIN`)
    // No superuser: it may make roles, and owns the database.
    await query(url, `ALTER ROLE ${login('deployer')} CREATEROLE`)
    await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} OWNER TO ${login('deployer')}`)
    await migrate(as('deployer'))
    const before = await connect(as('deployer'))
    await before.queue('early').send('sent before there were roles')
    await before.close()
    await query(as('deployer'), eventsMigration().up)
    await migrate(as('deployer'), { roles: prefix })
    for (const kind of kinds) await query(url, `GRANT ${prefix}_${kind} TO ${login(kind)}`)
    for (const kind of kinds) buses[kind] = await connect(as(kind))
    await buses.admin.queue('orders').create()
    await buses.admin.queue('single').create()
    await buses.admin.queue('spare').create()
    await buses.admin.topic('news').create()
    await grant('send')
    buses.web = await connect(as('web'))
  })
  afterAll(async () => {
    for (const bus of Object.values(buses)) await bus.close()
    await query(url, `DROP OWNED BY ${logins.map(login).join(', ')} CASCADE`)
    await drop()
    const roles = [...logins.map(login), ...['owner', ...kinds].map((kind) => `${prefix}_${kind}`)]
    await query(await sharedServer(server), `DROP ROLE ${roles.join(', ')}`)
  })

  test('everything belongs to the owner, who can do nothing else, also what an admin creates', async () => {
    const owners = await query(
      url,
      `SELECT DISTINCT pg_get_userbyid(o.owner) AS owner FROM (
        SELECT relowner AS owner FROM pg_class c WHERE c.relnamespace IN ('tidings'::regnamespace, 'pgmq'::regnamespace)
        UNION ALL
        SELECT proowner FROM pg_proc WHERE pronamespace IN ('tidings'::regnamespace, 'pgmq'::regnamespace, 'tidings_events'::regnamespace)
        UNION ALL
        SELECT nspowner FROM pg_namespace WHERE nspname IN ('tidings', 'pgmq', 'tidings_events')) o`,
    )
    expect(owners).toEqual([{ owner: `${prefix}_owner` }])
    expect(
      await query(
        url,
        `SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, has_database_privilege(oid, current_database(), 'CREATE') AS creates
        FROM pg_roles WHERE rolname = '${prefix}_owner'`,
      ),
    ).toEqual([{ rolcanlogin: false, rolsuper: false, rolcreaterole: false, rolcreatedb: false, creates: false }])
  })

  test('no function is granted to everybody, and each has a fixed search_path', async () => {
    expect(
      await query(
        url,
        `SELECT p.oid::regprocedure::text AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('tidings', 'pgmq', 'tidings_events') AND (has_function_privilege('public', p.oid, 'EXECUTE')
          OR NOT coalesce(array_to_string(p.proconfig, ',') LIKE '%search_path=pg_catalog, pg_temp%', false))`,
      ),
    ).toEqual([])
  })

  test('who may not drop a queue is told who may', async () => {
    await expect(buses.producer.queue('orders').drop()).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining(`it is no member of ${prefix}_admin`),
      hint: expect.stringMatching(new RegExp(`do it as one that is: .*${login('admin')}`)),
    })
  })

  test('some role may call whatever a program calls', async () => {
    const called = [...JSON.stringify([statements, ofEvents]).matchAll(/tidings\.(\w+)\(/g)].map(([, name]) => name!)
    expect(called.length).toBeGreaterThan(40)
    const open = (await query(url, 'SELECT function_name FROM tidings.entry_points()')).map((row) => row.function_name)
    expect([...new Set(called)].filter((name) => !open.includes(name))).toEqual([])
  })

  test('the functions for SQL are for those who may do the same by the API', async () => {
    await query(as('admin'), "SELECT tidings.v1_create_topic('by_sql')")
    await query(as('consumer'), "SELECT tidings.v1_subscribe('by_sql', 'one')")
    await query(as('producer'), `SELECT tidings.v1_publish('by_sql', '"hello"')`)
    const [found] = await query(as('consumer'), "SELECT * FROM tidings.v1_fetch('by_sql', 'one')")
    expect(found).toMatchObject({ offset: '1', data: 'hello' })
    await query(as('consumer'), "SELECT tidings.v1_ack('by_sql', 'one', 1)")
    const refused = { code: '42501' }
    await expect(query(as('consumer'), "SELECT tidings.v1_publish('by_sql', '1')")).rejects.toMatchObject(refused)
    await expect(query(as('producer'), "SELECT tidings.v1_claim('early', '{1}')")).rejects.toMatchObject(refused)
    await expect(query(as('stranger'), "SELECT tidings.v1_fetch('by_sql', 'one')")).rejects.toMatchObject(refused)
    await query(as('admin'), "SELECT tidings.v1_drop_topic('by_sql')")
  })

  test('no role but the owner may create anything, replace functions or put triggers on a queue', async () => {
    const attempts = [
      'CREATE TABLE pgmq.q_mine ()',
      'CREATE TABLE tidings.mine ()',
      'ALTER TABLE pgmq.q_orders ADD COLUMN mine text',
      'CREATE TRIGGER mine AFTER INSERT ON pgmq.q_orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
      'CREATE OR REPLACE FUNCTION tidings.maintain() RETURNS void LANGUAGE sql AS $$ SELECT $$',
      'UPDATE tidings.migration SET version = 99',
      "INSERT INTO tidings.role VALUES ('more', 'postgres'::regrole)",
      'SELECT message FROM tidings.delayed',
      'SELECT message FROM tidings.topic_message',
      'SELECT tidings.promote($$orders$$, 1)',
      `SELECT tidings.make_queue('mine')`,
    ]
    const allowed: string[] = []
    for (const name of [...kinds, 'web', 'stranger'] as const)
      for (const text of attempts)
        await query(as(name), text).then(
          () => allowed.push(`${name}: ${text}`),
          (error) =>
            expect(error.code === '42501' || error.code === '42704', `${name}: ${text}: ${error.message}`).toBe(true),
        )
    expect(allowed).toEqual([])
  })

  test('what is sent by a producer is handled by a consumer, with every way to send and to end', async () => {
    const { admin, producer, consumer, monitor } = buses
    const orders = producer.queue('orders')
    await orders.sendBatch([
      { data: 'plain' },
      { data: 'fails', dedupId: 'one', meta: { correlationId: 'c', targetId: 't' } },
      { data: 'keyed', orderingKey: 'k' },
      { data: 'urgent', priority: 5 },
      { data: 'once', meta: { targetId: 'u' }, uniqueTarget: true },
      { data: 'late', delay: '50ms' },
      { data: 'much later', delay: '1h' },
    ])
    await expect(orders.send('again', { dedupId: 'one' })).rejects.toMatchObject({ code: 'DUPLICATE' })
    const handled: unknown[] = []
    const worker = consumer.queue('orders').work(
      (message) => {
        handled.push(message.data)
        if (message.data === 'fails') throw new Error('no')
      },
      { maxMessages: 6, maxAttempts: 1, onSuccess: 'archive' },
    )
    await worker.finished
    expect(handled.sort()).toEqual(['fails', 'keyed', 'late', 'once', 'plain', 'urgent'])
    // Its dead-letter queue was made for it, with the same rights, and belongs to the owner.
    expect(await consumer.queue('orders').deadLetters.list()).toHaveLength(1)
    expect(await consumer.queue('orders').deadLetters.redrive()).toHaveLength(1)
    const [again] = await consumer.queue('orders').read({ lease: '1m' })
    await again!.extend('2m')
    await again!.release({ delay: '1h' })
    expect(await monitor.queue('orders').stats()).toMatchObject({ ready: 0, delayed: 2, archived: 5 })
    await consumer.engine.maintain({ kind: 'due' })
    await admin.engine.maintain({ kind: 'due' })
    for (const kind of kinds)
      expect((await buses[kind].diagnose()).filter(({ level }) => level === 'problem')).toEqual([])
  })

  test('topics: created by an admin, published to by a producer, read by a consumer', async () => {
    const { producer, consumer, monitor } = buses
    await consumer
      .topic('news')
      .subscribe('payroll', () => {}, { from: 'earliest' })
      .stop()
    await producer.topic('news').publish({ n: 1 })
    const seen: unknown[] = []
    for await (const message of consumer.topic('news').consume('payroll', { untilEmpty: 1 })) seen.push(message.data)
    expect(seen).toEqual([{ n: 1 }])
    expect(await monitor.topics()).toMatchObject([{ topic: 'news' }])
  })

  /** Who may do it; everybody else is refused. */
  const matrix: [what: string, allowed: (Kind | 'web')[], call: (bus: Bus) => Promise<unknown>][] = [
    ['create a queue', ['admin'], (bus) => bus.queue(newName('fresh')).create()],
    ['send', ['producer'], (bus) => bus.queue('orders').send(1)],
    ['send to its own queue', ['producer', 'web'], (bus) => bus.queue('single').send(1)],
    ['send with a key', ['producer', 'web'], (bus) => bus.queue('single').send(1, { orderingKey: 'a', delay: '1h' })],
    ['send with a priority', ['producer', 'web'], (bus) => bus.queue('single').send(1, { priority: 1 })],
    ['send within a length', ['producer', 'web'], (bus) => bus.queue('single', { maxLength: 100 }).send(1)],
    ['read', ['consumer'], (bus) => bus.queue('orders').read({ limit: 1 })],
    ['read its own queue', ['consumer'], (bus) => bus.queue('single').read({ limit: 1 })],
    ['pop', ['consumer'], (bus) => bus.queue('orders').pop()],
    ['peek', ['consumer'], (bus) => bus.queue('orders').peek()],
    ['peek at the archive', ['consumer'], (bus) => bus.queue('orders').peek({ place: 'archived' })],
    ['cancel', ['consumer'], (bus) => bus.queue('orders').cancel(['999'])],
    ['retry now', ['consumer'], (bus) => bus.queue('orders').retryNow(['999'])],
    ['stats', ['admin', 'consumer', 'monitor'], (bus) => bus.queue('orders').stats()],
    ['history', ['admin', 'consumer', 'monitor'], (bus) => bus.queue('orders').history()],
    ['history of all queues', [...kinds], (bus) => bus.history()],
    ['settings', [...kinds, 'web'], (bus) => bus.queue('orders').settings()],
    ['configure', ['admin'], (bus) => bus.queue('orders').configure({ ttl: null })],
    ['purge', ['admin'], (bus) => bus.queue('orders').purge()],
    ['bind', ['admin'], (bus) => bus.bind('Orders.#', 'orders')],
    ['publish by a routing key', ['producer'], (bus) => bus.publish('Orders.Paid', 1)],
    ['unbind', ['admin'], (bus) => bus.unbind('Orders.#', 'orders')],
    ['create a topic', ['admin'], (bus) => bus.topic('fresh').create()],
    ['publish to a topic', ['producer'], (bus) => bus.topic('news').publish(1)],
    ['read a topic', ['consumer'], (bus) => bus.topic('news').read({ after: 0 })],
    ['drop a topic', ['admin'], (bus) => bus.topic('fresh').drop()],
    ['drop a queue', ['admin'], (bus) => bus.queue('spare').drop()],
  ]

  test.each(matrix)('%s: only %j', async (_, allowed, call) => {
    const done: string[] = []
    for (const name of [...kinds, 'web'] as const) {
      const error = await call(buses[name]).then(
        () => null,
        (reason: unknown) => reason as { code: string; message: string; hint: string },
      )
      if (error === null) done.push(name)
      else expect(error, `${name}: ${error.message}`).toMatchObject({ code: 'PERMISSION_DENIED' })
    }
    expect(done.sort()).toEqual([...allowed].sort())
  })

  test('a consumer gives back what a process had that is gone, a producer nothing, and nobody what a living one has', async () => {
    const queue = 'orders'
    await buses.admin.queue(queue).purge()
    await buses.producer.queue(queue).sendBatch([{ data: 1 }, { data: 2 }])
    const woken: string[] = []
    const consumers = [await connect(as('consumer')), await connect(as('consumer'))]
    for (const { engine } of consumers)
      await (
        await engine.listen({
          woken: (interest) => woken.push(interest),
          notified() {},
          lost() {},
          announcing() {},
          troubled() {},
          polling() {},
        })
      ).listen(['life', `queue:${queue}`])
    const request = { limit: 1, leaseMs: 60_000, ids: null, held: true }
    for (const { engine } of consumers) expect((await engine.claim(queue, request)).messages).toHaveLength(1)
    const holders = await query(url, 'SELECT number, secret FROM tidings.holder ORDER BY number')
    for (const kind of kinds)
      expect((await buses[kind].processes()).map(({ id }) => Number(id))).toEqual(
        expect.arrayContaining(holders.map(({ number }) => Number(number))),
      )
    await expect(buses.web.processes()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    const [first, second] = holders.map(({ number }) => Number(number)) as [number, number]
    await query(url, "SELECT pg_sleep(2.6); UPDATE tidings.holder SET missed_at = now() - interval '1 minute'")

    const refused = [
      `SELECT tidings.give_back('${queue}', ${second}, NULL, '-infinity')`,
      'SELECT * FROM tidings.holder',
      'DELETE FROM tidings.holder',
      'UPDATE tidings.holder SET missed_at = now()',
    ]
    for (const text of refused) await expect(query(as('consumer'), text), text).rejects.toMatchObject({ code: '42501' })
    for (const text of [
      'begin_life(NULL, NULL)',
      `give_back_of_gone(${first}, ${second}, NULL)`,
      'end_life(300, NULL)',
    ])
      for (const name of ['producer', 'stranger'] as const)
        await expect(query(as(name), `SELECT tidings.${text}`), text).rejects.toMatchObject({ code: '42501' })
    const idle = [
      `SELECT tidings.give_back_of_gone(${first}, ${second}, NULL) AS queue`,
      `SELECT tidings.give_back_of_gone(${second}, ${first}, NULL) AS queue`,
      `SELECT tidings.give_back_claim('${queue}', ${second}, gen_random_uuid(), 0, 0) AS queue`,
      `SELECT tidings.give_back_claim('${queue}', ${second}, NULL, 0, 0) AS queue`,
      `SELECT tidings.end_life(${second}, gen_random_uuid()) AS queue`,
    ]
    for (const text of idle)
      expect(await query(as('consumer'), text), text).toMatchObject([{ queue: expect.toBeOneOf([null, '']) }])
    expect((await buses.consumer.queue(queue).stats()).leased).toBe(2)
    expect(await query(url, 'SELECT number, secret FROM tidings.holder ORDER BY number')).toEqual(holders)

    woken.length = 0
    await consumers[1]!.close()
    await until(() => woken.includes(`queue:${queue}`), 'it was announced')
    await until(async () => (await buses.consumer.queue(queue).stats()).ready === 1, 'its message is ready')
    await consumers[0]!.close()
    await buses.admin.queue(queue).purge()
  })

  test('a refusal names the role, the right that it lacks, and how to grant it', async () => {
    await expect(buses.consumer.queue('orders').send(1)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining(
        `role "${login('consumer')}" may not send to queue "orders": it lacks INSERT on pgmq.q_orders`,
      ),
      hint: `GRANT INSERT ON pgmq.q_orders TO ${login('consumer')}, or make it a member of ${prefix}_producer.`,
    })
    await expect(buses.producer.queue('missing').send(1)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining(`it is no member of ${prefix}_admin`),
    })
    await expect(connect(as('stranger'))).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('rights on one queue are granted and taken back, and cover its dead-letter queue', async () => {
    await grant('receive')
    await buses.admin.queue('single').purge()
    await buses.web.queue('single').send(1)
    const worker = buses.web
      .queue('single')
      .work(() => Promise.reject(new Error('no')), { maxAttempts: 1, maxMessages: 1 })
    await worker.finished
    expect(await buses.web.queue('single').deadLetters.list()).toHaveLength(1)
    await expect(buses.web.queue('orders').read()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    await grant('receive', true)
    await expect(buses.web.queue('single').read()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('who may not read settings sends all the same', async () => {
    const queue = buses.admin.queue(newName('blind'))
    await queue.create()
    await queue.configure({ delay: '1h' })
    const readers = `ON FUNCTION tidings.all_settings(text)`
    await query(url, `REVOKE EXECUTE ${readers} FROM ${prefix}_producer`)
    const bus = await connect(as('producer'))
    await bus.queue(queue.name).send('now')
    await query(url, `GRANT EXECUTE ${readers} TO ${prefix}_producer`)
    await buses.producer.queue(queue.name).send('later')
    await bus.close()
    expect(await queue.stats()).toMatchObject({ ready: 1, delayed: 1 })
  })

  test('what a process counted is added to the queues that it may receive from', async () => {
    const queue = buses.admin.queue(newName('counted'))
    await queue.create()
    const tally = { queue: queue.name, minutesAgo: 0, done: 1, failed: 0, dead: 0, latency: [1] }
    for (const name of [...kinds, 'web'] as const)
      await buses[name].engine.history.writer!.add([tally, { ...tally, queue: 'missing' }]).catch(() => [])
    const { points } = await buses.monitor.queue(queue.name).history()
    expect(points.reduce((sum, { done }) => sum + done, 0)).toBe(1)
  })

  test('clients of PGMQ have the same rights', async () => {
    const call = (name: Kind, text: string) => query(as(name), text)
    await call('producer', `SELECT pgmq.send('orders', '1')`)
    await expect(call('producer', `SELECT * FROM pgmq.read('orders', 1, 1)`)).rejects.toMatchObject({ code: '42501' })
    await expect(call('consumer', `SELECT pgmq.send('orders', '1')`)).rejects.toMatchObject({ code: '42501' })
    expect(await call('consumer', `SELECT message FROM pgmq.read('orders', 1, 1)`)).toHaveLength(1)
    expect(await call('monitor', `SELECT * FROM pgmq.metrics('orders')`)).toHaveLength(1)
    await expect(call('monitor', `SELECT message FROM pgmq.q_orders`)).rejects.toMatchObject({ code: '42501' })
    await call('admin', `SELECT pgmq.create('by_pgmq')`)
    expect(await call('admin', `SELECT pgmq.drop_queue('by_pgmq')`)).toEqual([{ drop_queue: true }])
  })

  test.each(['before', 'after'])('events: applied %s the roles were made, heard by a monitor', async (when) => {
    if (when === 'after') await query(as('deployer'), `${eventsMigration().down}\n${eventsMigration().up}`)
    const seen: unknown[] = []
    await using events = buses.monitor.events()
    await events.listen((event) => void seen.push(event))
    await buses.admin.queue(`told_${when}`).create()
    await buses.producer.queue(`told_${when}`).send('now')
    await buses.producer.queue(`told_${when}`).send('late', { delay: '200ms' })
    await until(() => seen.length >= 3, `events came; there are ${JSON.stringify(seen)}`)
    expect(seen).toMatchObject([{ type: 'queue_created' }, { data: 'now' }, { data: 'late' }])
  })

  test('an upgrade by a member of the owner keeps owner and rights, and the roles can be made again', async () => {
    await query(url, `UPDATE tidings.migration SET fingerprint = ''`)
    await expect(connect(as('admin'))).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
    await migrate(as('deployer'))
    await migrate(as('deployer'), { roles: prefix })
    await query(url, "UPDATE tidings.migration SET fingerprint = '2999-01-01T00:00:00.000Z newer'")
    await expect(migrate(as('deployer'), { roles: prefix })).rejects.toMatchObject({ code: 'SCHEMA_NEWER' })
    await migrate(as('deployer'), { down: true })
    await expect(migrate(as('deployer'), { roles: `${prefix}_x` })).rejects.toMatchObject({
      message: expect.stringContaining('this database has other roles already'),
    })
    await buses.producer.queue('orders').send(1)
    await expect(buses.consumer.queue('orders').send(1)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
  })

  test('triggers of others on a queue are named before the owner takes it', async () => {
    await query(
      url,
      `CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
      CREATE TRIGGER evil AFTER INSERT ON pgmq.q_orders FOR EACH ROW EXECUTE FUNCTION public.evil()`,
    )
    await expect(migrate(as('deployer'), { roles: prefix })).rejects.toMatchObject({
      message: expect.stringContaining('evil on pgmq.q_orders'),
    })
    await query(url, 'DROP FUNCTION public.evil() CASCADE')
  })

  test('a PGMQ that was there keeps its functions and its queues, and other clients go on', async () => {
    const place = await newDatabase(await sharedServer(server))
    const peer = newName('peer')
    const at = (role: string) => {
      const own = new URL(place.url)
      own.username = role
      return own.href
    }
    try {
      // As PGMQ leaves it, with a client of it that has rights of its own.
      await query(
        place.url,
        `CREATE SCHEMA pgmq; ${pgmqPeer('1.5.1')}; SELECT pgmq.create('Old');
        CREATE ROLE ${peer} LOGIN;
        GRANT USAGE ON SCHEMA pgmq TO ${peer};
        GRANT ALL ON ALL TABLES IN SCHEMA pgmq TO ${peer}; GRANT ALL ON ALL SEQUENCES IN SCHEMA pgmq TO ${peer}`,
      )
      await migrate(place.url)
      await migrate(place.url, { roles: prefix })
      await query(at(peer), `SELECT pgmq.send('Old', '"by a peer"')`)
      await using producer = await connect(at(login('producer')))
      await using consumer = await connect(at(login('consumer')))
      await using admin = await connect(at(login('admin')))
      await producer.queue('old').send('by a producer')
      expect((await consumer.queue('old').read({ limit: 10 })).map(({ data }) => data)).toEqual([
        'by a peer',
        'by a producer',
      ])
      await admin.queue('fresh').create()
      await producer.queue('fresh').send(1)
      expect(await consumer.queue('fresh').pop()).toMatchObject([{ data: 1 }])
      expect((await admin.diagnose()).filter(({ level }) => level === 'problem')).toEqual([])
      expect(
        await query(
          place.url,
          `SELECT pg_get_userbyid(p.proowner) = session_user AS kept, p.prosecdef FROM pg_proc p
          WHERE p.oid = 'pgmq.purge_queue'::regproc`,
        ),
      ).toEqual([{ kept: true, prosecdef: false }])

      // What another client makes later belongs to that client, until the roles are made again.
      await query(
        place.url,
        `CREATE TABLE pgmq.q_later (LIKE pgmq.q_old INCLUDING ALL); CREATE TABLE pgmq.a_later (LIKE pgmq.a_old INCLUDING ALL);
        INSERT INTO pgmq.meta (queue_name, is_partitioned, is_unlogged) VALUES ('later', false, false)`,
      )
      expect((await admin.diagnose()).filter(({ level }) => level === 'problem')).toMatchObject([
        { check: 'permissions', message: 'pgmq.q_later does not belong to the owner role' },
      ])
      await migrate(place.url, { roles: prefix })
      await producer.queue('later').send(1)
      expect(await consumer.queue('later').pop()).toHaveLength(1)
    } finally {
      await query(place.url, `DROP OWNED BY ${peer}`)
      await place.drop()
      await query(await sharedServer(server), `DROP ROLE ${peer}`)
    }
  })
})
