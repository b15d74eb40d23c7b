import { Bus } from 'tidings/internal/bus/bus'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { newName, openEngine, queryAlone as query, until } from './support.ts'

// A standby has the same answer to writes as a server that was set so; connections stay as they are.
let server: TestPostgres
let bus: Bus

beforeAll(async () => {
  server = await startPostgres(18)
  bus = new Bus(await openEngine(server.url))
})
afterAll(async () => {
  await bus?.close()
  await server?.stop()
})

async function setReadOnly(setting: 'on' | 'off'): Promise<void> {
  await query(server.url, `ALTER SYSTEM SET default_transaction_read_only = ${setting}`)
  await query(server.url, 'SELECT pg_reload_conf()')
  await until(async () => {
    const [row] = await query(server.url, 'SHOW default_transaction_read_only')
    return row?.default_transaction_read_only === setting
  }, 'the setting is there')
}

test('a server that became read only: a typed error; then it goes on by itself', async () => {
  const queue = bus.queue<string>(newName('primary'))
  const handled: string[] = []
  const worker = queue.work(({ data }) => void handled.push(data))
  await Promise.all(Array.from({ length: 20 }, (_, index) => queue.send(`before ${index}`)))
  await until(() => handled.length === 20, 'all were handled')

  await setReadOnly('on')
  await expect(queue.send('refused')).rejects.toMatchObject({ code: 'STORAGE_READ_ONLY', retryable: true })
  await expect(bus.queue(newName('new')).create()).rejects.toMatchObject({ code: 'STORAGE_READ_ONLY' })
  expect(await bus.diagnose()).toContainEqual(expect.objectContaining({ check: 'writing', level: 'problem' }))
  await expect(openEngine(server.url).then((engine) => engine.close())).resolves.toBeUndefined()

  const duringTheSwitch = queue.send('during')
  await setReadOnly('off')
  await duringTheSwitch
  await queue.send('after')
  await until(() => handled.includes('after') && handled.includes('during'), 'the worker goes on')
  expect(handled).not.toContain('refused')
  await worker.stop()
})

test('connections that lead to a read-only server are replaced', async () => {
  const queue = bus.queue(newName('stale'))
  await queue.create()
  // Sessions that are there stay read only; new ones are not.
  const elsewhere = new URL(server.url)
  elsewhere.pathname = '/postgres'
  const makeStale = (setting: string) =>
    query(elsewhere.href, `ALTER DATABASE tidings SET default_transaction_read_only = ${setting}`)
  const pids = async () => {
    const rows = await query(
      server.url,
      "SELECT pid FROM pg_stat_activity WHERE application_name = 'tidings' AND datname = current_database()",
    )
    return rows.map(({ pid }) => pid as number)
  }
  await makeStale('on')
  await query(server.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings'")
  await Promise.all(Array.from({ length: 10 }, () => queue.stats()))
  const stale = await pids()
  expect(stale.length).toBeGreaterThan(3)
  await makeStale('off')
  await Promise.all(Array.from({ length: 10 }, (_, index) => bus.queue(`stale_${index}`).send(index)))
  await queue.send(1)
  expect(await queue.stats()).toMatchObject({ ready: 1 })
})
