import type { Bus } from 'tidings/internal/bus/bus'
import { connect } from 'tidings/internal/connect'
import { silentLogger } from 'tidings/internal/core/logger'
import { nextTurn } from 'tidings/internal/core/turns'
import { Connections } from 'tidings/internal/engines/postgres/connections'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, newName, query, until } from './support.ts'

let database: { url: string; drop(): Promise<void> }
const role = newName('limited')
let roleUrl: string

beforeAll(async () => {
  database = await migratedDatabase(await sharedServer('postgres18'))
  await query(database.url, `CREATE ROLE ${role} LOGIN SUPERUSER`)
  const url = new URL(database.url)
  url.username = role
  roleUrl = url.href
})
afterAll(async () => {
  await database?.drop()
  await query(await sharedServer('postgres18'), `DROP ROLE ${role}`)
})

const sessions = async () => {
  const rows = await query(
    database.url,
    "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tidings'",
  )
  return rows.length
}

/** Calls `look` again and again while the work goes on. @returns the largest of its answers */
async function mostDuring(work: Promise<unknown>, look: () => Promise<number>): Promise<number> {
  let most = 0
  let isOver = false
  void work.finally(() => {
    isOver = true
  })
  while (!isOver) most = Math.max(most, await look())
  await work
  return most
}

describe.each([1, 2, 3, 5])('at most %i connections', (max) => {
  async function worksWithin(bus: Bus): Promise<void> {
    const queue = bus.queue<number>(newName('few'))
    await queue.create()
    let handled = 0
    const worker = queue.work(() => void handled++, { concurrency: 10, lease: '1m' })
    const transactional = bus.queue<number>(newName('few_tx'))
    await transactional.sendBatch(Array.from({ length: 20 }, (_, data) => ({ data })))
    let committed = 0
    const other = transactional.work(
      async (_message, { tx }) => {
        await tx.query('SELECT pg_sleep(0.05)', [])
        committed++
      },
      { transactional: true, concurrency: 10, lease: '1m' },
    )
    await Promise.all(Array.from({ length: 100 }, (_, index) => queue.send(index)))
    await Promise.all(Array.from({ length: 10 }, (_, index) => bus.queue(`few_${index}`).send(index)))
    await until(() => handled === 100 && committed === 20, 'all were handled')
    await Promise.all([worker.stop(), other.stop()])
    expect(other.stats()).toMatchObject({ succeeded: 20, failed: 0, deadLettered: 0 })
  }

  test('by pool.max: everything works within it', async () => {
    const warnings: string[] = []
    const warn = (_details: object, text: string) => void warnings.push(text)
    const bus = await connect(database.url, { pool: { max }, logger: { ...silentLogger, warn } })
    // The bus connects, the first worker listens, the looking does not count.
    const most = await mostDuring(worksWithin(bus), sessions)
    const findings = await bus.diagnose()
    await bus.close()
    expect(most).toBeLessThanOrEqual(max)
    expect(findings).toContainEqual(expect.objectContaining({ check: 'wake-up', level: max < 3 ? 'warning' : 'ok' }))
    if (max < 3) expect(warnings).toContain('new messages are found by polling twice a second')
    expect(await sessions()).toBe(0)
  })

  test('by the limit of the role: everything works within it, and doctor names it', async () => {
    await query(database.url, `ALTER ROLE ${role} NOSUPERUSER CONNECTION LIMIT ${max}`)
    await query(database.url, `GRANT ALL ON DATABASE ${new URL(database.url).pathname.slice(1)} TO ${role}`)
    await query(
      database.url,
      `GRANT ALL ON SCHEMA pgmq, tidings TO ${role}; GRANT ALL ON ALL TABLES IN SCHEMA pgmq, tidings TO ${role};
       GRANT ALL ON ALL SEQUENCES IN SCHEMA pgmq, tidings TO ${role};
       GRANT ALL ON ALL FUNCTIONS IN SCHEMA pgmq, tidings TO ${role}`,
    )
    const bus = await connect(roleUrl)
    await worksWithin(bus)
    const findings = await bus.diagnose()
    expect(findings).toContainEqual(expect.objectContaining({ check: 'wake-up', level: max < 3 ? 'warning' : 'ok' }))
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'connections', message: expect.stringContaining(`${role} allows ${max}`) }),
    )
    await bus.close()
  })
})

test('what would listen does not keep the only connection that the role turns out to have', async () => {
  await query(database.url, `ALTER ROLE ${role} NOSUPERUSER CONNECTION LIMIT 1`)
  const connections = new Connections({ connectionString: roleUrl }, 10, 'here')
  const only = await connections.connect('statement')
  const listening: Promise<unknown>[] = []
  // The first one finds out, and waits for a connection; later ones are refused at once.
  await until(async () => {
    const one = connections.connect('listening')
    listening.push(one)
    const refused = one.then(
      () => false,
      () => true,
    )
    return Promise.race([refused, nextTurn().then(() => false)])
  }, 'the limit is known')
  only.release(false)
  for (const one of listening) await expect(one).rejects.toMatchObject({ code: 'CONNECTION_LIMIT' })
  const next = await connections.connect('statement')
  next.release(false)
  await connections.close()
})

test('no connection at all: a typed error soon', async () => {
  const bus = await connect(roleUrl)
  await query(database.url, `ALTER ROLE ${role} CONNECTION LIMIT 0`)
  const startedAt = performance.now()
  await expect(connect(roleUrl)).rejects.toMatchObject({
    code: 'CONNECTION_LIMIT',
    message: expect.stringContaining(role),
  })
  expect(performance.now() - startedAt).toBeLessThan(20_000)
  await bus.close()
})

test('handlers that hold all connections and wait for another one are told so', async () => {
  const bus = await connect(database.url, { pool: { max: 1 } })
  const queue = bus.queue(newName('self'))
  await queue.send(1)
  const errors: unknown[] = []
  const worker = queue.work(
    async () => {
      await bus.queue(`${queue.name}_more`).send(2)
    },
    {
      transactional: true,
      maxAttempts: 1,
      lease: '1m',
      observe: (event) => void (event.type === 'failed' && errors.push(event.error)),
    },
  )
  await until(() => errors.length > 0, 'the handler failed')
  expect(errors[0]).toMatchObject({ code: 'CONNECTION_LIMIT', message: expect.stringContaining('pool.max is 1') })
  await worker.stop()
  await bus.close()
})

test('pool is refused where there is none', async () => {
  await expect(connect('memory:', { pool: { max: 3 } })).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
  await expect(connect(database.url, { pool: { max: 0 } })).rejects.toMatchObject({ code: 'RANGE' })
})
