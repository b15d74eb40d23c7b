import { connect } from 'tidings/internal/connect'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, newName, queryAlone as query, until } from './support.ts'

/** Longer than any pause between two looks. */
const quietMs = 4_000

describe("idle: 'sleep'", () => {
  let url: string
  let drop: () => Promise<void>
  let bus: Awaited<ReturnType<typeof connect>>
  let queues: string[]
  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer('postgres18')))
  })
  afterAll(() => drop())
  beforeEach(async () => {
    bus = await connect(url, { idle: 'sleep' })
    queues = [newName('one'), newName('other')]
  })
  afterEach(() => bus.close())

  /** What handlers were called with, and the next call of one. */
  function startWorkers() {
    const handled: unknown[] = []
    for (const queue of queues) bus.queue(queue).work(({ data }) => void handled.push(data))
    return handled
  }

  const sessions = () =>
    query(
      url,
      `SELECT pid, state, query, query_start::text AS asked_at, clock_timestamp() - query_start > $1::interval AS is_quiet
      FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
      [`${quietMs} ms`],
    )
  const quiet = () =>
    until(async () => {
      const all = await sessions()
      return all.length > 0 && all.every(({ is_quiet }) => is_quiet)
    }, 'nothing is asked of the server')

  test('nothing is asked while no message is due, and a message wakes its worker', async () => {
    const handled = startWorkers()
    const sender = await connect(url)
    for (const queue of queues) await sender.queue(queue).create()
    await sender.close()
    await quiet()
    // Upkeep comes at intervals: once after there was something to do, and not again.
    await bus.engine.maintain({ kind: 'due' })
    await quiet()
    const asked = async () => (await sessions()).map(({ asked_at }) => asked_at).sort()
    const before = await asked()
    await bus.engine.maintain({ kind: 'due' })
    expect(await bus.engine.history.writer!.begin()).toBeNull()
    expect(await asked()).toEqual(before)

    const again = await connect(url, { idle: 'sleep' })
    await again.queue(queues[0]!).send('sent')
    await until(() => handled.includes('sent'), 'the message is handled')
    await quiet()
    await again.queue(queues[1]!).send('later', { delay: '6s' })
    await quiet()
    await until(() => handled.includes('later'), 'the delayed message is handled')
    await again.close()
    await quiet()
  })

  test('a connection that the server ends is made again with the next call, which also brings what was missed', async () => {
    const handled = startWorkers()
    await quiet()
    const ended = await query(
      url,
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
    )
    expect(ended.length).toBeGreaterThan(0)
    await query(url, `SELECT tidings.send($1, '[{"m": {"data": "missed", "meta": {}}, "h": null}]', true)`, [queues[0]])
    // Time itself: what is not to happen would happen within it.
    await new Promise((resolve) => setTimeout(resolve, quietMs))
    expect(await sessions()).toEqual([])
    expect(handled).toEqual([])

    await bus.queue(queues[1]!).send('own')
    await until(() => handled.length === 2, 'both messages are handled')
    await quiet()
  })

  test('what another client inserts without a word is seen once something else wakes the process', async () => {
    const handled = startWorkers()
    await quiet()
    await query(url, `INSERT INTO pgmq.q_${queues[0]} (vt, message) VALUES (now(), '"silent"')`)
    await bus.queue(queues[1]!).send('own')
    await until(() => handled.includes('silent'), 'the message is handled')
  })
})

test.each([
  ['memory:', { idle: 'sleep' as const }],
  ['http://127.0.0.1:1', { idle: 'sleep' as const }],
  ['postgres://127.0.0.1:1/none', { idle: 'sleep' as const, pool: { max: 2 } }],
])('%s is refused with %o', async (url, options) => {
  await expect(connect(url, options)).rejects.toMatchObject({ code: 'OPTION_CONFLICT' })
})
