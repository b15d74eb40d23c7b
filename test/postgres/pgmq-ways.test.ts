import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { extensionFiles, migrationsOf } from 'tidings/internal/connect'
import type { MigrationWish } from 'tidings/internal/port/migrations'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serverDirectory } from '../support/directories.ts'
import { type PgmqVersion, pgmqPeer } from '../support/pgmq-peer.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { claimAll, message, newDatabase, newName, openEngine, query } from './support.ts'

const long = { delayMs: 3_600_000 }

async function migrate(url: string, wish: MigrationWish = {}) {
  const migrations = (await migrationsOf(url))!
  await migrations.open()
  try {
    return await migrations.apply(wish)
  } finally {
    await migrations.close()
  }
}

async function diagnosed(url: string): Promise<string> {
  const engine = await openEngine(url)
  try {
    const found = (await engine.diagnose()).filter(({ check }) => check === 'pgmq')
    return found.map(({ message }) => message).join()
  } finally {
    await engine.close()
  }
}

/** Puts messages there as clients of PGMQ do; one of them is read and one is archived. */
const fill = (url: string) =>
  query(
    url,
    `SELECT pgmq.create('Orders'); SELECT pgmq.send('Orders', to_jsonb(n)) FROM generate_series(1, 4) n;
    SELECT pgmq.read('Orders', 600, 1); SELECT pgmq.archive('Orders', 2)`,
  )

const idsIn = async (url: string, table: string) =>
  (await query(url, `SELECT msg_id::int AS id FROM pgmq.${table} ORDER BY msg_id`)).map(({ id }) => id)

/** Whether every verb of PGMQ and of Tidings does its work on the queue `orders`, whose next id is given. */
async function allWorks(url: string, nextId: number): Promise<void> {
  const engine = await openEngine(url)
  try {
    expect((await engine.send('orders', [message(), message(long)], null)).map(({ id }) => Number(id))).toEqual([
      nextId,
      nextId + 1,
    ])
    expect(await query(url, `SELECT pgmq.delete('orders', ${nextId + 1}::bigint) AS done`)).toEqual([{ done: true }])
    expect(await query(url, `SELECT read_ct FROM pgmq.read('orders', 600, 1)`)).toEqual([{ read_ct: 1 }])
    expect(await query(url, `SELECT read_ct FROM pgmq.set_vt('orders', 1::bigint, 600)`)).toEqual([{ read_ct: 1 }])
    const claimed = await claimAll(engine, 'orders')
    const settlements = claimed.map(({ id, receipt }) => ({ kind: 'delete' as const, id, receipt: receipt! }))
    expect((await engine.settle('orders', settlements)).every(({ settled }) => settled)).toBe(true)
    const own = newName('own')
    await engine.createQueue(own)
    await query(url, `SELECT pgmq.send('${own}', '1')`)
    expect(await query(url, `SELECT message FROM pgmq.pop('${own}')`)).toEqual([{ message: 1 }])
    expect(await query(url, `SELECT pgmq.drop_queue('${own}') AS done`)).toEqual([{ done: true }])
    await query(url, `SELECT pgmq.create('${own}')`)
    expect(await engine.dropQueue(own)).toBe(true)
  } finally {
    await engine.close()
  }
}

describe.each(['postgres15', 'postgres18'] as const)('PGMQ by plain SQL on %s', (server) => {
  let url: string
  let drop: () => Promise<void>

  const install = async (version: PgmqVersion) => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    await query(url, `CREATE SCHEMA pgmq; ${pgmqPeer(version)}`)
  }

  test('is refused before 1.5, and nothing is done', async () => {
    await install('1.4.4')
    await expect(openEngine(url)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: 'the schema pgmq is an SQL install of PGMQ before 1.5, and Tidings takes 1.5 or newer',
    })
    expect(await query(url, "SELECT FROM pg_namespace WHERE nspname = 'tidings'")).toEqual([])
    await drop()
  })

  test.each([
    ['1.5.1', 'attached to PGMQ 1.5 to 1.9, an SQL install'],
    ['1.12.0', 'attached to PGMQ 1.12, an SQL install'],
  ] as const)('%s is shared, becomes ours, and PGMQ again, with all messages', async (version, told) => {
    await install(version)
    await fill(url)
    await query(
      url,
      'CREATE FUNCTION public.peek() RETURNS SETOF pgmq.message_record LANGUAGE sql AS $$ SELECT NULL::pgmq.message_record LIMIT 0 $$',
    )
    expect(await diagnosed(url)).toContain(told)
    await allWorks(url, 5)

    expect((await migrate(url, { adopt: true })).steps).not.toEqual([])
    expect((await migrate(url, { adopt: true })).steps).toEqual([])
    expect(await diagnosed(url)).toContain('the schema pgmq is of Tidings')
    expect(await idsIn(url, 'q_orders')).toContain(1)
    expect(await idsIn(url, 'a_orders')).toEqual([2])
    expect(await query(url, 'SELECT queue_name FROM pgmq.list_queues()')).toEqual([{ queue_name: 'Orders' }])
    await allWorks(url, 7)

    const engine = await openEngine(url)
    const [sent] = await engine.send('orders', [message(long)], null)
    await engine.close()
    await query(url, 'DROP FUNCTION public.peek()')
    await migrate(url, { handOver: pgmqPeer('1.12.0') })
    expect(await diagnosed(url)).toContain('attached to PGMQ 1.12, an SQL install')
    expect(await query(url, 'SELECT queue_name FROM pgmq.list_queues()')).toEqual([{ queue_name: 'Orders' }])
    expect(await idsIn(url, 'q_orders')).toContain(Number(sent!.id))
    expect(await idsIn(url, 'a_orders')).toEqual([2])
    await allWorks(url, Number(sent!.id) + 1)
    await expect(migrate(url, { handOver: pgmqPeer('1.12.0') })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await drop()
  })

  test('bindings and who is told of inserts come along, both ways', async () => {
    await install('1.12.0')
    await query(
      url,
      `SELECT pgmq.create('Orders'); INSERT INTO pgmq.topic_bindings (pattern, queue_name) VALUES ('orders.#', 'Orders');
      INSERT INTO pgmq.notify_insert_throttle (queue_name, throttle_interval_ms) VALUES ('Orders', 50)`,
    )
    await migrate(url, { adopt: true })
    expect(await query(url, `SELECT pgmq.send_topic('orders.paid', '1') AS sent`)).toEqual([{ sent: 1 }])
    const throttles = 'SELECT queue_name, throttle_interval_ms AS ms FROM pgmq.list_notify_insert_throttles()'
    expect(await query(url, throttles)).toEqual([{ queue_name: 'Orders', ms: 50 }])
    expect(
      await query(url, "SELECT FROM pg_trigger WHERE tgname = 'trigger_notify_queue_insert_listeners'"),
    ).toHaveLength(1)
    await migrate(url, { handOver: pgmqPeer('1.12.0') })
    expect(await query(url, 'SELECT pattern, queue_name FROM pgmq.topic_bindings')).toEqual([
      { pattern: 'orders.#', queue_name: 'Orders' },
    ])
    await drop()
  })

  test('what depends on our types, and a PGMQ that is too old, keep the schema ours', async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    await migrate(url)
    await query(url, `SELECT pgmq.create('orders'); SELECT pgmq.send('orders', '1')`)
    await expect(migrate(url, { handOver: pgmqPeer('1.5.1') })).rejects.toThrow('no PGMQ of 1.10 or newer')
    await expect(migrate(url, { handOver: true })).rejects.toThrow('the server offers no extension pgmq but ours')
    await query(url, 'CREATE TABLE public.kept (one pgmq.message_record)')
    await expect(migrate(url, { handOver: pgmqPeer('1.12.0') })).rejects.toThrow('other objects depend on')
    expect(await diagnosed(url)).toBe('the schema pgmq is of Tidings')
    expect(await query(url, `SELECT message FROM pgmq.pop('orders')`)).toEqual([{ message: 1 }])
    await drop()
  })
})

describe('PGMQ as an extension', () => {
  let server: TestPostgres
  let folder: string
  let url: string
  let drop: () => Promise<void>

  /** Which extension the server offers from now on. */
  async function offer(what: 'ours' | PgmqVersion): Promise<void> {
    const files =
      what === 'ours'
        ? await extensionFiles()
        : {
            'pgmq.control': `default_version = '${what}'\nschema = 'pgmq'\nrelocatable = false\nsuperuser = false\n`,
            [`pgmq--${what}.sql`]: pgmqPeer(what),
          }
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, 'extension', name), text)
  }

  const extensions = async () =>
    (await query(url, "SELECT extversion AS version FROM pg_extension WHERE extname = 'pgmq'")).map(
      (row) => row.version,
    )
  const freshDatabase = async () => {
    ;({ url, drop } = await newDatabase(server.url))
  }

  beforeAll(async () => {
    folder = await serverDirectory('extensions')
    await mkdir(join(folder, 'extension'))
    for (const path of [folder, join(folder, 'extension')]) await chmod(path, 0o755)
    server = await startPostgres(18, { extension_control_path: `${folder}:$system` })
  })
  afterAll(() => server.stop())

  test('before 1.5 is refused by its name', async () => {
    await freshDatabase()
    await offer('1.4.4')
    await query(url, 'CREATE EXTENSION pgmq')
    await expect(openEngine(url)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: 'the schema pgmq is PGMQ 1.4.4, and Tidings takes 1.5 or newer',
      hint: expect.stringContaining('ALTER EXTENSION pgmq UPDATE'),
    })
    await drop()
  })

  test.each(['1.5.1', '1.12.0'] as const)('%s is shared, becomes ours, and an extension again', async (version) => {
    await freshDatabase()
    await offer(version)
    await query(url, 'CREATE EXTENSION pgmq')
    await fill(url)
    expect(await diagnosed(url)).toContain(`attached to PGMQ ${version}, an extension`)
    // Each side drops what the other has created.
    await allWorks(url, 5)

    await migrate(url, { adopt: true })
    expect(await extensions()).toEqual([])
    expect(await idsIn(url, 'a_orders')).toEqual([2])
    await allWorks(url, 7)

    await offer('1.12.0')
    await migrate(url, { handOver: true })
    expect(await extensions()).toEqual(['1.12.0'])
    expect(await diagnosed(url)).toContain('attached to PGMQ 1.12.0, an extension')
    expect(await query(url, 'SELECT queue_name FROM pgmq.list_queues()')).toEqual([{ queue_name: 'Orders' }])
    await allWorks(url, 9)
    await drop()
  })

  test('of a queue that Tidings made by itself, as it once did, is dropped all the same', async () => {
    await freshDatabase()
    await offer('1.5.1')
    await query(url, 'CREATE EXTENSION pgmq')
    const engine = await openEngine(url)
    await engine.createQueue('early')
    await query(url, 'ALTER EXTENSION pgmq DROP TABLE pgmq.q_early; ALTER EXTENSION pgmq DROP TABLE pgmq.a_early')
    expect(await engine.dropQueue('early')).toBe(true)
    expect(await query(url, "SELECT FROM pg_class WHERE relname IN ('q_early', 'a_early')")).toEqual([])
    await engine.close()
    await drop()
  })

  test('ours is created, dropped but for its queues, and created again', async () => {
    await freshDatabase()
    await offer('ours')
    await query(url, 'CREATE EXTENSION pgmq')
    await fill(url)
    await allWorks(url, 5)
    const outside = await query(
      url,
      `SELECT format('%s.%s', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('tidings', 'pgmq') AND c.relkind IN ('r', 'v')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY 1`,
    )
    expect(outside.map(({ name }) => name)).toEqual(['pgmq.a_orders', 'pgmq.q_orders'])
    await query(url, 'DROP EXTENSION pgmq CASCADE')
    expect(await idsIn(url, 'q_orders')).toContain(1)
    expect(await query(url, "SELECT FROM pg_proc WHERE pronamespace = 'pgmq'::regnamespace")).toEqual([])
    expect(await query(url, "SELECT FROM pg_namespace WHERE nspname = 'tidings'")).toEqual([])

    await query(url, `CREATE EXTENSION pgmq; SELECT pgmq.create('Orders')`)
    expect(await idsIn(url, 'a_orders')).toEqual([2])
    await allWorks(url, 7)
    expect(await diagnosed(url)).toMatch(/^the schema pgmq is of Tidings, as extension pgmq 1\.13\.1\+tidings/)
    await drop()
  })

  test('ours takes in what Tidings has made, so that clients that create it find it', async () => {
    await freshDatabase()
    await offer('1.12.0')
    await (await openEngine(url)).close()
    await fill(url)
    // The files are another PGMQ's: what is told of it is PostgreSQL's own error.
    await expect(query(url, 'CREATE EXTENSION IF NOT EXISTS pgmq CASCADE')).rejects.toMatchObject({ code: '42P07' })
    await offer('ours')
    await query(url, 'CREATE EXTENSION IF NOT EXISTS pgmq CASCADE')
    await query(url, 'CREATE EXTENSION IF NOT EXISTS pgmq CASCADE')
    expect(await idsIn(url, 'a_orders')).toEqual([2])
    await allWorks(url, 5)

    // A newer program replaces functions, and what is new belongs to the extension, too.
    await query(url, 'DROP EXTENSION pgmq CASCADE')
    await drop()
    await freshDatabase()
    await (await openEngine(url)).close()
    expect(await extensions()).toEqual(['1.13.1+tidings'])
    await query(
      url,
      "UPDATE tidings.migration SET fingerprint = ''; ALTER EXTENSION pgmq DROP FUNCTION tidings.maintain()",
    )
    await (await openEngine(url)).close()
    expect(
      await query(
        url,
        "SELECT FROM pg_proc p WHERE pronamespace = 'tidings'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
      ),
    ).toEqual([])
    await drop()
  })

  test("ours does not cover another PGMQ's schema", async () => {
    await freshDatabase()
    await offer('ours')
    await query(url, `CREATE SCHEMA pgmq; ${pgmqPeer('1.12.0')}`)
    await expect(query(url, 'CREATE EXTENSION pgmq')).rejects.toThrow()
    await migrate(url, { adopt: true })
    expect(await diagnosed(url)).toContain('the schema pgmq is of Tidings')
    await drop()
  })
})
