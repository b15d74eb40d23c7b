import { readFileSync } from 'node:fs'
import { Pgmq } from 'tidings/pgmq'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newDatabase, newName, query } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'

// The clients of PGMQ from npm as they are, on our SQL. Without their types, which are for other settings than ours.
const { Pgmq: PgmqJs } = await import('pgmq-js' as string)
const { Pgmq: Waiting } = await import('@waiting/pgmq-js' as string)

describe.each(['postgres15', 'postgres18'] as const)('on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  let fields: { host: string; port: number; user: string; database: string; password: string; ssl: boolean }

  beforeAll(async () => {
    ;({ url, drop } = await newDatabase(await sharedServer(server)))
    const { hostname: host, port, username: user, pathname } = new URL(url)
    fields = { host, port: Number(port), user, database: pathname.slice(1), password: 'none', ssl: false }
    await (await Pgmq.new(url)).close()
  })
  afterAll(() => drop())

  describe('pgmq-js', () => {
    /** Every call of it, with what comes back: the same code for it and for `tidings/pgmq`. */
    // biome-ignore lint/suspicious/noExplicitAny: either client
    async function everyCall(Client: any): Promise<[string, unknown][]> {
      const pgmq = await Client.new({ ...fields, max: 3 }, { skipExtensionCreation: true })
      const queue = newName('JsQueue')
      const unlogged = newName('unlogged')
      const found: [string, unknown][] = []
      const call = async (name: string, ...args: unknown[]) => {
        const [part, method] = name.split('.') as ['queue' | 'msg', string]
        const result = await pgmq[part][method](...args)
        found.push([name, comparable(result)])
        return result
      }
      /** Moments differ, and so do the names of the queues. */
      const comparable = (result: unknown) =>
        JSON.parse(
          JSON.stringify(result, (key, value) => (/At$|^vt$|Time$/.test(key) ? 'a time' : value))
            ?.replaceAll(queue, 'a queue')
            .replaceAll(unlogged, 'another queue') ?? 'null',
        )
      await call('queue.create', queue)
      await call('queue.create', queue)
      await call('queue.createUnlogged', unlogged)
      const listed = (await pgmq.queue.list()).filter(({ name }: { name: string }) => [queue, unlogged].includes(name))
      found.push(['queue.list', comparable(listed)])
      const first = await call('msg.send', queue, { id: 1, text: 'é"\\' })
      await call('msg.send', queue, 'text')
      await call('msg.send', queue, null)
      await call('msg.send', queue, { later: true }, 60)
      const ids = await call('msg.sendBatch', queue, [{ n: 1 }, [2], 3, null])
      const delayed = await call('msg.sendBatch', queue, [{ n: 4 }, { n: 5 }], 60)
      await call('queue.getMetrics', queue)
      const all = (await pgmq.queue.getAllMetrics()).filter(({ queueName }: { queueName: string }) =>
        [queue, unlogged].includes(queueName),
      )
      found.push(['queue.getAllMetrics', comparable(all)])
      await call('msg.read', queue)
      await call('msg.read', queue, 30)
      await call('msg.readBatch', queue, 0, 3)
      await call('msg.pop', queue)
      await call('msg.archive', queue, first)
      await call('msg.archive', queue, first)
      await call('msg.archiveBatch', queue, [ids[0], first])
      await call('msg.delete', queue, ids[1])
      await call('msg.delete', queue, ids[1])
      await call('msg.deleteBatch', queue, [ids[2], ids[1]])
      await call('msg.setVt', queue, delayed[0], 0)
      await call('msg.readBatch', queue, 30, 10)
      await call('msg.read', queue, 30)
      await call('msg.pop', queue)
      await call('msg.setVt', queue, 999_999, 0)
      await call('queue.detachArchive', queue)
      await call('queue.purge', queue)
      await call('queue.getMetrics', queue)
      await call('queue.drop', unlogged)
      await call('queue.drop', queue)
      await pgmq.close()
      return found
    }

    test('makes all its calls, and tidings/pgmq gives the same in its place', async () => {
      const theirs = await everyCall(PgmqJs)
      const ours = await everyCall(Pgmq)
      expect(ours.map(([name]) => name)).toEqual(theirs.map(([name]) => name))
      for (const [at, [name, result]] of theirs.entries()) {
        // Where theirs gives nothing, ours may.
        if (result !== null) expect({ name, result: ours[at]![1] }).toMatchObject({ name, result })
      }
      expect(theirs.filter(([, result]) => result !== null).length).toBeGreaterThan(20)
    })
  })

  describe('@waiting/pgmq-js', () => {
    // biome-ignore lint/suspicious/noExplicitAny: it comes without types
    let mq: any
    const queue = newName('waiting')

    beforeAll(async () => {
      const folder = 'node_modules/@waiting/pgmq-js/database/default/ddl'
      for (const table of ['tb_queue_meta', 'tb_route'])
        await query(url, readFileSync(`${folder}/${table}.sql`, 'utf8'))
      mq = new Waiting('test', { connection: fields })
      await mq.queue.create({ queue, queueKey: `${queue}.key`, json: { a: 1 } })
    })
    afterAll(() => mq.destroy())

    test('manages queues', async () => {
      expect(await mq.queue.hasQueue({ queue })).toBe(true)
      expect(await mq.queue.getOne({ queue })).toMatchObject({ queue, isPartitioned: false, isUnlogged: false })
      await expect(mq.queue.create({ queue })).rejects.toThrow('already exists')
      const other = newName('unlogged')
      await mq.queue.createUnlogged({ queue: other })
      expect((await mq.queue.list()).find((one: { queue: string }) => one.queue === other)).toMatchObject({
        isUnlogged: true,
        createdAt: expect.any(Date),
      })
      await mq.queue.detachArchive({ queue: other })
      await mq.msg.send({ queue: other, msg: { n: 1 } })
      expect(await mq.queue.getMetrics({ queue: other })).toMatchObject({ queueLength: '1', totalMessages: '1' })
      expect((await mq.queue.getAllMetrics()).length).toBeGreaterThan(1)
      expect(await mq.queue.purge({ queue: other })).toBe('1')
      expect(await mq.queue.drop({ queue: other })).toBe(true)
      expect(await mq.queue.hasQueue({ queue: other })).toBe(false)
    })

    test('sends, in its transaction too', async () => {
      const [id] = await mq.msg.send({ queue, msg: { n: 1 }, headers: { h: 1 } })
      expect(await mq.msg.read({ queue, vt: 30 })).toMatchObject({ msgId: id, message: { n: 1 }, headers: { h: 1 } })
      expect(await mq.sendMsg({ queue, msg: { n: 2 }, delay: 60 })).toHaveLength(1)
      const at = (await mq.getTimestamp('1 minute')).toISOString()
      expect(await mq.msg.send({ queue, msg: { n: 3 }, delay: at })).toHaveLength(1)
      expect(await mq.msg.send({ queue: [queue, 'nowhere'], msg: { n: 4 } })).toHaveLength(1)
      expect(await mq.msg.sendBatch({ queue, msgs: [{ n: 5 }, { n: 6 }], headers: [{}, { h: 2 }] })).toHaveLength(2)
      expect(await mq.msg.sendBatch({ queue, msgs: [{ n: 7 }], delay: at })).toHaveLength(1)
      const trx = await mq.startTransaction()
      await mq.msg.send({ queue, msg: { n: 8 }, trx })
      await trx.rollback()
      expect(await mq.getCurrentTime()).toBeInstanceOf(Date)
      const read = await mq.msg.readBatch({ queue, vt: 0, qty: 20 })
      expect(read.map((one: { message: { n: number } }) => one.message.n)).toEqual([4, 5, 6])
      await mq.queue.purge({ queue })
    })

    test('reads and finishes', async () => {
      const ids = await mq.msg.sendBatch({ queue, msgs: [1, 2, 3, 4, 5, 6].map((n) => ({ n })) })
      expect((await mq.msg.read({ queue, vt: 0, conditional: { n: 3 } })).msgId).toBe(ids[2])
      expect(await mq.msg.readBatch({ queue, vt: 0, qty: 2 })).toHaveLength(2)
      expect(await mq.msg.readWithPoll({ queue, vt: 0, qty: 3, maxPollSeconds: 2, pollIntervalMs: 50 })).toHaveLength(3)
      expect((await mq.msg.pop({ queue })).msgId).toBe(ids[0])
      expect(await mq.msg.delete({ queue, msgId: ids[1] })).toEqual([ids[1]])
      expect(await mq.msg.delete({ queue, msgId: ids[1] })).toEqual([])
      expect(await mq.msg.deleteBatch({ queue, msgIds: [ids[1], ids[2]] })).toEqual([ids[2]])
      expect(await mq.msg.archive({ queue, msgId: ids[3] })).toEqual([ids[3]])
      expect(await mq.msg.archiveBatch({ queue, msgIds: [ids[3], ids[4]] })).toEqual([ids[4]])
      expect(await mq.msg.setVt({ queue, msgId: ids[5], vt: 60 })).toMatchObject({ msgId: ids[5] })
      expect(await mq.msg.read({ queue })).toBeNull()
      await mq.queue.purge({ queue })
    })

    test('sends by its own routes', async () => {
      const routeName = newName('route')
      const meta = await mq.queueMeta.getByName({ queue })
      expect(await mq.queueMeta.getById({ queueId: meta.queueId })).toMatchObject({ queue })
      expect(await mq.queueMeta.count()).toBeGreaterThan(0n)
      expect(await mq.queueMeta.list()).not.toEqual([])
      await mq.queueMeta.update({ queue, queueKey: `${queue}.other` })
      expect(await mq.queueMeta.hasQueueMeta({ queue })).toBe(true)
      await mq.syncQueueMeta()
      const routeId = await mq.router.createMatch({ routeName, routeRules: [`${queue}.other`] })
      expect(await mq.router.getOne({ routeId })).toMatchObject({ routeName, queueIds: [meta.queueId] })
      expect(await mq.sendRouteMsg({ routeName, msg: { n: 1 } })).toMatchObject([{ queue, routeName }])
      expect((await mq.msg.pop({ queue })).message).toEqual({ n: 1 })
      expect(await mq.router.getAll({})).not.toEqual([])
      await mq.router.delete({ routeId })
      expect(await mq.tableExists('tb_route')).toBe(true)
    })

    test('is told that there are no partitions without pg_partman', async () => {
      const partitioned = mq.partition.createPartitioned({ queue: newName('parts') })
      await expect(partitioned).rejects.toThrow('pg_partman is required for partitioned queues')
    })
  })
})
