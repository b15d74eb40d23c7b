import knex from 'knex'
import { CamelCasePlugin, Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgres from 'postgres'
import type { AnyTransaction } from 'tidings'
import { Bus } from 'tidings/internal/bus/bus'
import { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { newName } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'

/** Libraries that give rows other names and values than PostgreSQL did, as applications set them up. */

const url = await sharedServer('postgres18')
type Work = (tx: AnyTransaction) => Promise<void>

const rename = (row: Record<string, unknown>, to: (name: string) => string) =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [to(name), value]))
const upper = (name: string) => name.toUpperCase()

async function postgresJs(options: object, work: Work): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice() {}, ...options })
  await sql.begin(async (tx) => work(tx as never)).finally(() => sql.end())
}

async function client(config: pg.ClientConfig, of: (client: pg.Client) => unknown, work: Work): Promise<void> {
  const connection = new pg.Client({ connectionString: url, ...config })
  await connection.connect()
  try {
    await connection.query('BEGIN')
    await work(of(connection) as never)
    await connection.query('COMMIT')
  } finally {
    await connection.end()
  }
}

const libraries: Record<string, (work: Work) => Promise<void>> = {
  'Kysely with CamelCasePlugin': async (work) => {
    const dialect = new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 1 }) })
    const db = new Kysely({ dialect, plugins: [new CamelCasePlugin()] })
    await db
      .transaction()
      .execute(async (tx) => work(tx))
      .finally(() => db.destroy())
  },
  'Knex with names in capitals': async (work) => {
    const capitals = (answer: { rows?: Record<string, unknown>[] }) =>
      answer?.rows ? { ...answer, rows: answer.rows.map((row) => rename(row, upper)) } : answer
    const db = knex({ client: 'pg', connection: url, postProcessResponse: capitals })
    await db.transaction(async (tx) => work(tx)).finally(() => db.destroy())
  },
  'postgres.js in camel case': (work) => postgresJs({ transform: postgres.camel }, work),
  'postgres.js with a prefix': (work) => postgresJs({ transform: { column: (name: string) => `c_${name}` } }, work),
  'postgres.js with BigInt': (work) => postgresJs({ types: { bigint: postgres.BigInt } }, work),
  'pg with all as text': (work) =>
    client({ types: { getTypeParser: () => (text: string) => text } as never }, (one) => one, work),
  'a query function that renames': (work) =>
    client(
      {},
      (one) => ({
        query: async (text: string, values: unknown[]) => ({
          rows: (await one.query(text, values)).rows.map((row) => rename(row, upper)),
        }),
      }),
      work,
    ),
}

let bus: Bus
beforeAll(async () => {
  const engine = new PostgresEngine({ url })
  await engine.open()
  bus = new Bus(engine)
})
afterAll(() => bus.close())

test.each(Object.entries(libraries))('%s: the answers are right', async (_library, transact) => {
  const [queue, full] = [bus.queue(newName('renamed')), bus.queue(newName('full'), { maxLength: 1 })]
  const topic = bus.topic(newName('news'))
  await queue.create()
  await topic.publish(0)
  await full.send(0)
  await bus.bind(`${queue.name}.#`, queue)
  await transact(async (tx) => {
    const id = await queue.send({ some_key: 1, someKey: 2 }, { tx, orderingKey: 'k' })
    expect(id).toMatch(/^\d+$/)
    const same = [
      { data: 1, dedupId: 'same' },
      { data: 2, dedupId: 'same' },
    ]
    const [first, second] = await queue.sendBatch(same, { tx })
    expect([first!.duplicate, second]).toEqual([false, { id: first!.id, duplicate: true }])
    await expect(queue.send(3, { tx, dedupId: 'same' })).rejects.toMatchObject({ code: 'DUPLICATE' })
    const published = await bus.publish(`${queue.name}.x`, { x_y: 1 }, { tx })
    expect(published).toEqual([{ queue: queue.name, id: expect.stringMatching(/^\d+$/), duplicate: false }])
    await expect(full.send(4, { tx })).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    expect(await topic.publish(5, { tx })).toMatchObject({ duplicate: false })
  })
  expect((await queue.peek()).map(({ data }) => data)).toEqual([{ some_key: 1, someKey: 2 }, 1, { x_y: 1 }])
  expect(await full.stats()).toMatchObject({ ready: 1 })
})

test('an answer that cannot be read is an error, not a success', async () => {
  const queue = bus.queue(newName('odd'))
  await queue.create()
  const work: Work = (tx) => queue.send(1, { tx }).then(() => {})
  const odd = (one: pg.Client) => ({
    query: async (text: string, values: unknown[]) => ({ rows: (await one.query(text, values)).rows.map(() => ({})) }),
  })
  await expect(client({}, odd, work)).rejects.toMatchObject({
    code: 'STORAGE_FAILED',
    message: /library of the transaction/,
  })
  expect(await queue.peek()).toEqual([])
})
