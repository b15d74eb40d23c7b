import pg from 'pg'
import { Pgmq } from 'tidings/pgmq'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newDatabase, newName, query } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { openPgmq } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)('queues, groups and topics by tidings/pgmq on %s', (server) => {
  let url: string
  let pgmq: Pgmq
  let newQueue: () => Promise<string>
  let close: () => Promise<void>

  beforeAll(async () => {
    ;({ url, pgmq, newQueue, close } = await openPgmq(server))
  })
  afterAll(() => close())

  describe('queues', () => {
    test('are created, listed by the name that was given, and dropped', async () => {
      const queue = newName('Mixed Case')
      await pgmq.queue.create(queue)
      await pgmq.queue.create(queue)
      const found = (await pgmq.queue.list()).filter(({ name }) => name === queue)
      expect(found).toEqual([{ name: queue, createdAt: expect.any(Date), isPartitioned: false, isUnlogged: false }])
      expect(Math.abs(Date.now() - found[0]!.createdAt.getTime())).toBeLessThan(60_000)
      expect(await pgmq.queue.drop(queue)).toBe(true)
      expect(await pgmq.queue.drop(queue)).toBe(false)
      expect((await pgmq.queue.list()).map(({ name }) => name)).not.toContain(queue)
    })

    test('are created unlogged', async () => {
      const queue = newName('unlogged')
      await pgmq.queue.createUnlogged(queue)
      expect((await pgmq.queue.list()).find(({ name }) => name === queue)?.isUnlogged).toBe(true)
    })

    test('keep their archive', async () => {
      const queue = await newQueue()
      await pgmq.queue.detachArchive(queue)
      await pgmq.msg.archive(queue, await pgmq.msg.send(queue, 1))
      expect(await query(url, `SELECT message FROM pgmq.a_${queue}`)).toEqual([{ message: 1 }])
    })

    test('get an index for grouped reads', async () => {
      const [one, other] = [await newQueue(), await newQueue()]
      await pgmq.queue.createFifoIndex(one)
      await pgmq.queue.createFifoIndexes()
      for (const queue of [one, other])
        expect(await query(url, `SELECT FROM pg_indexes WHERE indexname = 'q_${queue}_fifo_idx'`)).toHaveLength(1)
    })

    test('are not partitioned without pg_partman', async () => {
      const partitioned = pgmq.queue.createPartitioned(newName('parts'), { partitionInterval: '1 day', premake: 2 })
      await expect(partitioned).rejects.toMatchObject({ code: 'UNSUPPORTED', hint: expect.stringContaining('partman') })
      await expect(pgmq.queue.createPartitioned(newName('parts'))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    })
  })

  describe('groups', () => {
    const group = (name: string) => ({ 'x-pgmq-group': name })
    const bodies = (read: readonly { message: unknown }[]) => read.map(({ message }) => message)

    async function newGroups(): Promise<string> {
      const queue = await newQueue()
      await pgmq.msg.sendBatch(queue, ['a1', 'b1', 'a2', 'c1', 'a3', 'b2'], 0, [...'abacab'].map(group))
      return queue
    }

    test('are read one after the other', async () => {
      expect(bodies(await pgmq.msg.readGrouped(await newGroups(), 30, 4)).sort()).toEqual(['a1', 'a2', 'a3', 'b1'])
    })

    test('are read in turns', async () => {
      const queue = await newGroups()
      expect(bodies(await pgmq.msg.readGroupedRoundRobin(queue, 30, 5))).toEqual(['a1', 'b1', 'c1', 'a2', 'b2'])
    })

    test('are read by their heads', async () => {
      const queue = await newGroups()
      expect(bodies(await pgmq.msg.readGroupedHead(queue, 30, 9)).sort()).toEqual(['a1', 'b1', 'c1'])
      expect(await pgmq.msg.readGroupedHead(queue, 30, 9)).toEqual([])
    })

    test.each(['readGroupedWithPoll', 'readGroupedRoundRobinWithPoll', 'readGroupedHeadWithPoll'] as const)(
      'are waited for by %s',
      async (verb) => {
        const queue = await newQueue()
        const waiting = pgmq.msg[verb](queue, 30, 5, { maxPollSeconds: 30, pollIntervalMs: 20 })
        await pgmq.msg.send(queue, 'there', 0, group('g'))
        expect(bodies(await waiting)).toEqual(['there'])
        expect(await pgmq.msg[verb](queue, 30, 5, { maxPollSeconds: 0 })).toEqual([])
      },
    )
  })

  describe('topics', () => {
    test('lead to the queues that are bound', async () => {
      const [one, other] = [await newQueue(), await newQueue()]
      const key = `${one}.eu.paid`
      await pgmq.topic.bind(`${one}.*.paid`, one)
      await pgmq.topic.bind(`${one}.#`, one)
      await pgmq.topic.bind(`${one}.#`, other)
      expect((await pgmq.topic.list(one)).map(({ pattern }) => pattern).sort()).toEqual([`${one}.#`, `${one}.*.paid`])
      expect((await pgmq.topic.list()).filter(({ queueName }) => queueName === other)).toEqual([
        {
          pattern: `${one}.#`,
          queueName: other,
          boundAt: expect.any(Date),
          compiledRegex: `^${one}\\..*$`,
        },
      ])
      expect(await pgmq.topic.testRouting(key)).toHaveLength(3)
      expect(await pgmq.topic.send(key, { n: 1 }, 0, { h: 1 })).toBe(2)
      expect(await pgmq.topic.send(key, { n: 2 })).toBe(2)
      expect((await pgmq.msg.pop(one))?.headers).toMatchObject({ h: 1 })
      const sent = await pgmq.topic.sendBatch(key, [{ n: 3 }, { n: 4 }], 0, [null, { h: 2 }])
      expect(sent.map(({ queueName }) => queueName).sort()).toEqual([one, one, other, other].sort())
      expect(await pgmq.topic.unbind(`${one}.#`, other)).toBe(true)
      expect(await pgmq.topic.unbind(`${one}.#`, other)).toBe(false)
      expect(await pgmq.topic.sendBatch(key, [{ n: 5 }], new Date())).toHaveLength(1)
      expect(await pgmq.topic.send('nobody.is.bound', 1)).toBe(0)
      expect((await pgmq.queue.getMetrics(other)).queueLength).toBe(4)
    })

    test('refuse keys and patterns that PGMQ does not take', async () => {
      const queue = await newQueue()
      await expect(pgmq.topic.send('a..b', 1)).rejects.toMatchObject({ code: 'KEY_INVALID' })
      await expect(pgmq.topic.testRouting('')).rejects.toMatchObject({ code: 'KEY_INVALID' })
      await expect(pgmq.topic.bind('a.**', queue)).rejects.toMatchObject({ code: 'PATTERN_INVALID' })
      await expect(pgmq.topic.bind('a', newName('none'))).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
    })
  })

  test('notifications are switched on, changed and off', async () => {
    const queue = await newQueue()
    const listener = new pg.Client({ connectionString: url })
    await listener.connect()
    const heard = new Promise<string>((resolve) => listener.once('notification', ({ channel }) => resolve(channel)))
    await listener.query(`LISTEN "pgmq.q_${queue}.INSERT"`)
    await pgmq.notify.enable(queue, 0)
    await pgmq.msg.send(queue, 1)
    expect(await heard).toBe(`pgmq.q_${queue}.INSERT`)
    await listener.end()
    const ours = async () => (await pgmq.notify.list()).filter(({ queueName }) => queueName === queue)
    expect(await ours()).toEqual([{ queueName: queue, throttleIntervalMs: 0, lastNotifiedAt: expect.any(Date) }])
    await pgmq.notify.update(queue, 750)
    expect((await ours())[0]?.throttleIntervalMs).toBe(750)
    await pgmq.notify.disable(queue)
    expect(await ours()).toEqual([])
    await expect(pgmq.notify.enable(newName('none'))).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' })
  })
})

test('queues are partitioned where pg_partman is', async () => {
  const { url, drop } = await newDatabase(await sharedServer('postgres15'))
  await query(url, 'CREATE SCHEMA partman; CREATE EXTENSION pg_partman SCHEMA partman')
  const pgmq = await Pgmq.new(url)
  try {
    await pgmq.queue.createPartitioned('ids')
    await pgmq.queue.createPartitioned('days', { partitionInterval: '1 day', retentionInterval: '9 days', premake: 2 })
    const partitioned = (await pgmq.queue.list()).filter(({ isPartitioned }) => isPartitioned)
    expect(partitioned.map(({ name }) => name).sort()).toEqual(['days', 'ids'])
    const id = await pgmq.msg.send('ids', 1)
    expect((await pgmq.msg.pop('ids'))?.msgId).toBe(id)
    expect((await pgmq.queue.getMetrics('ids')).defaultPartitionLength).toBe(0)
    const config = 'SELECT parent_table, retention, premake FROM partman.part_config ORDER BY 1'
    expect(await query(url, `${config} DESC`)).toMatchObject([
      { parent_table: 'pgmq.q_ids', retention: '100000', premake: 4 },
      { parent_table: 'pgmq.q_days', retention: '9 days', premake: 2 },
      { parent_table: 'pgmq.a_ids' },
      { parent_table: 'pgmq.a_days' },
    ])
    await pgmq.queue.create('plain')
    expect(await pgmq.queue.getMetrics('plain')).not.toHaveProperty('defaultPartitionLength')
    await pgmq.queue.convertArchivePartitioned('plain', { partitionInterval: '1 month' })
    expect(await query(url, "SELECT relkind FROM pg_class WHERE relname = 'a_plain'")).toEqual([{ relkind: 'p' }])
    expect(await pgmq.queue.drop('days')).toBe(true)
  } finally {
    await pgmq.close()
    await drop()
  }
})
