import type { PostgresEngine } from 'tidings/internal/engines/postgres/postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { message, migratedDatabase, newName, openEngine, query } from './support.ts'

// The order within x-pgmq-group does not depend on what our own senders have told the queue.
describe.each(['postgres15', 'postgres18'] as const)('groups on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let engine: PostgresEngine
  let queue: string

  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    engine = await openEngine(url)
  })
  afterAll(async () => {
    await engine.close()
    await drop()
  })
  beforeEach(async () => {
    queue = newName('groups')
    await engine.createQueue(queue)
  })

  const sendAsPeer = (...groups: unknown[]) =>
    query(
      url,
      `INSERT INTO pgmq.q_${queue} (vt, message, headers)
      SELECT now(), '1', CASE WHEN g <> 'null' THEN jsonb_build_object('x-pgmq-group', g) END
      FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS entries (g, n) ORDER BY n`,
      [JSON.stringify(groups)],
    )
  const claim = async (by = engine) =>
    (await by.claim(queue, { limit: 10, leaseMs: 60_000, ids: null })).messages.sort(
      (a, b) => Number(a.id) - Number(b.id),
    )
  const idsOf = (messages: readonly { id: string }[]) => messages.map(({ id }) => Number(id))

  test('one message of a group is handed out at a time, whoever sent it', async () => {
    await sendAsPeer('a', 'a', null, 'b', 'a', 42, 42)
    const first = await claim()
    expect(idsOf(first)).toEqual([1, 3, 4, 6])
    expect(first.map(({ orderingKey }) => orderingKey)).toEqual(['a', null, 'b', '42'])
    const other = await openEngine(url)
    expect(idsOf(await claim(other))).toEqual([])
    await engine.settle(
      queue,
      first.map(({ id, receipt }) => ({ kind: 'delete', id, receipt: receipt! })),
    )
    expect(idsOf(await claim(other))).toEqual([2, 7])
    await other.close()
  })

  test('popping and later groups behind many plain messages', async () => {
    await sendAsPeer(...Array(20).fill(null), 'a', 'a')
    expect(idsOf(await engine.pop(queue, 10))).toHaveLength(10)
    expect(idsOf(await engine.pop(queue, 20))).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21])
    expect(idsOf(await engine.pop(queue, 20))).toEqual([22])
  })

  test('keys of ours hold where the queue was not told of them yet', async () => {
    const keyed = message({ orderingKey: 'k' })
    await engine.send(queue, [keyed, keyed, message({ priority: 5 })], null)
    await query(url, `UPDATE tidings.queue SET has_keys = false, has_priorities = false WHERE queue_name = '${queue}'`)
    expect(idsOf(await claim())).toEqual([1, 3])
    expect(idsOf(await claim())).toEqual([])
  })
})
