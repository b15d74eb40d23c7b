import pg from 'pg'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, query, until } from './support.ts'

let url: string
let drop: () => Promise<void>
beforeAll(async () => {
  ;({ url, drop } = await migratedDatabase(await sharedServer('postgres18')))
})
afterAll(() => drop())

const hourMs = 3_600_000

test.each([
  ['a unique target', { uniqueTarget: 't' }, ''],
  ['a task', { tracked: { correlationId: 'c', completionQueue: null } }, ''],
  ['a message that is due', { delayMs: hourMs }, `UPDATE tidings.delayed SET due = now() - interval '1 minute'`],
])('upkeep passes over a queue with %s that another process drops at that moment', async (_what, fields, change) => {
  const engine = await openEngine(url)
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  onTestFinished(async () => {
    await client.end()
    await engine.close()
  })
  const queue = newName('dropped')
  await engine.createQueue(queue)
  await engine.send(queue, [message(fields)], null)
  if (change) await query(url, change)
  await client.query('BEGIN')
  await client.query('SELECT tidings.drop_queue($1)', [queue])
  const upkeep = engine.maintain({ kind: 'due' })
  await until(async () => {
    const [row] = await query(url, `SELECT count(*)::int AS waiting FROM pg_locks WHERE NOT granted`)
    return row!.waiting === 1
  }, 'upkeep waits for the table')
  await client.query('COMMIT')
  await expect(upkeep).resolves.toBe(0)
})
