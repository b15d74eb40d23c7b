import { connect } from 'tidings'
import { Pgmq } from 'tidings/pgmq'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newDatabase, query } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { openPgmq } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)('tidings/pgmq on %s', (server) => {
  let url: string
  let pgmq: Pgmq
  let newQueue: () => Promise<string>
  let close: () => Promise<void>

  beforeAll(async () => {
    ;({ url, pgmq, newQueue, close } = await openPgmq(server))
  })
  afterAll(() => close())

  describe('queues', () => {
    test('tell their figures', async () => {
      const queue = await newQueue()
      const empty = await pgmq.queue.getMetrics(queue)
      expect(empty).toMatchObject({ queueName: queue, queueLength: 0, totalMessages: 0, queueVisibleLength: 0 })
      expect(empty).not.toHaveProperty('newestMsgAgeSec')
      await pgmq.msg.sendBatch(queue, [1, 2])
      await pgmq.msg.send(queue, 3, 60)
      const figures = await pgmq.queue.getMetrics(queue)
      expect(figures).toMatchObject({ queueLength: 3, totalMessages: 3, queueVisibleLength: 2 })
      expect(figures.oldestMsgAgeSec).toBeTypeOf('number')
      expect(figures.scrapeTime).toBeInstanceOf(Date)
      const all = await pgmq.queue.getAllMetrics()
      expect(all.find(({ queueName }) => queueName === queue)?.queueLength).toBe(3)
      expect(await pgmq.queue.purge(queue)).toBe(3)
      expect((await pgmq.queue.getMetrics(queue)).queueLength).toBe(0)
    })
  })

  describe('messages', () => {
    test('come back as they were sent, with their headers', async () => {
      const queue = await newQueue()
      const body = { text: '"\\{},NULL \u00fc\u{1f600}', list: [1, null], deep: { a: 0.1 } }
      const id = await pgmq.msg.send(queue, body, 0, { 'x-pgmq-group': 'g', n: 1 })
      expect(await pgmq.msg.read(queue, 30)).toEqual({
        msgId: id,
        readCount: 1,
        enqueuedAt: expect.any(Date),
        lastReadAt: expect.any(Date),
        vt: expect.any(Date),
        message: body,
        headers: { 'x-pgmq-group': 'g', n: 1 },
      })
      expect(await pgmq.msg.read(queue, 30)).toBeUndefined()
      const bodies = [body, null, 'text', 0, [], false]
      const ids = await pgmq.msg.sendBatch(queue, bodies, 0, [{ a: 'x"\\' }, null, null, {}, null, null])
      const read = await pgmq.msg.readBatch(queue, 30, 10)
      expect(read.map(({ msgId, message }) => [msgId, message])).toEqual(ids.map((id, at) => [id, bodies[at]]))
      expect(read.map(({ headers }) => headers)).toEqual([{ a: 'x"\\' }, null, null, {}, null, null])
    })

    test('have exact numbers beyond those that a number holds, as ids and in the body', async () => {
      const queue = await newQueue()
      await query(url, `SELECT setval('pgmq.q_${queue}_msg_id_seq', 9007199254740992)`)
      const id = await pgmq.msg.send(queue, { amount: 9_007_199_254_740_993n })
      expect(id).toBe(9_007_199_254_740_993n)
      const read = await pgmq.msg.read(queue, 0)
      expect(read).toMatchObject({ msgId: id, message: { amount: 9_007_199_254_740_993n } })
      expect(await pgmq.msg.setVtBatch(queue, [id], 0)).toHaveLength(1)
      expect(await pgmq.msg.deleteBatch(queue, [String(id)])).toEqual([id])
    })

    test('are delayed by seconds and until a time', async () => {
      const queue = await newQueue()
      const at = new Date(Date.now() + 30_000)
      await pgmq.msg.send(queue, 'seconds', 30)
      await pgmq.msg.send(queue, 'time', at)
      await pgmq.msg.sendBatch(queue, ['past'], -5)
      await pgmq.msg.sendBatch(queue, ['now'], new Date())
      const due = await query(url, `SELECT message, vt FROM pgmq.q_${queue} WHERE vt > now() ORDER BY msg_id`)
      expect(due.map(({ message }) => message)).toEqual(['seconds', 'time'])
      expect(due[1]!.vt).toEqual(at)
      expect((await pgmq.msg.readBatch(queue, 0, 9)).map(({ message }) => message)).toEqual(['past', 'now'])
    })

    test('are read by what they contain', async () => {
      const queue = await newQueue()
      await pgmq.msg.sendBatch(queue, [{ kind: 'a' }, { kind: 'b' }])
      expect((await pgmq.msg.read(queue, 30, { conditional: { kind: 'b' } }))?.message).toEqual({ kind: 'b' })
      const poll = { conditional: { kind: 'b' }, maxPollSeconds: 1, pollIntervalMs: 50 }
      expect(await pgmq.msg.readWithPoll(queue, 30, 5, poll)).toEqual([])
    })

    test('are waited for', async () => {
      const queue = await newQueue()
      const waiting = pgmq.msg.readWithPoll<string>(queue, 30, 5, { maxPollSeconds: 30, pollIntervalMs: 20 })
      await pgmq.msg.send(queue, 'there')
      expect((await waiting).map(({ message }) => message)).toEqual(['there'])
    })

    test('are popped', async () => {
      const queue = await newQueue()
      await pgmq.msg.sendBatch(queue, [1, 2, 3])
      expect((await pgmq.msg.pop(queue))?.message).toBe(1)
      expect((await pgmq.msg.popBatch(queue, 5)).map(({ message }) => message)).toEqual([2, 3])
      expect(await pgmq.msg.pop(queue)).toBeUndefined()
    })

    test('are deleted and archived, one and many, and those that are not there are told', async () => {
      const queue = await newQueue()
      const [a, b, c, d] = await pgmq.msg.sendBatch(queue, [1, 2, 3, 4])
      expect(await pgmq.msg.delete(queue, a!)).toBe(true)
      expect(await pgmq.msg.delete(queue, String(a))).toBe(false)
      expect(await pgmq.msg.deleteBatch(queue, [a!, b!])).toEqual([b])
      expect(await pgmq.msg.archive(queue, BigInt(c!))).toBe(true)
      expect(await pgmq.msg.archive(queue, c!)).toBe(false)
      expect(await pgmq.msg.archiveBatch(queue, [c!, d!])).toEqual([d])
      expect(await pgmq.msg.deleteBatch(queue, [])).toEqual([])
      expect(await query(url, `SELECT message FROM pgmq.a_${queue} ORDER BY 1`)).toEqual([
        { message: 3 },
        { message: 4 },
      ])
    })

    test('are hidden for a while and until a time', async () => {
      const queue = await newQueue()
      const [a, b] = await pgmq.msg.sendBatch(queue, [1, 2])
      const until = new Date('2040-01-02T03:04:05.678Z')
      expect((await pgmq.msg.setVt(queue, a!, until))?.vt).toEqual(until)
      expect((await pgmq.msg.setVtBatch(queue, [a!, b!], until)).map(({ vt }) => vt)).toEqual([until, until])
      expect(await pgmq.msg.read(queue)).toBeUndefined()
      expect((await pgmq.msg.setVt(queue, b!, 0))?.msgId).toBe(b)
      expect((await pgmq.msg.read(queue))?.message).toBe(2)
      expect(await pgmq.msg.setVt(queue, 999, 0)).toBeUndefined()
    })
  })

  test('a worker of Tidings has the same queue', async () => {
    const queue = await newQueue()
    await using bus = await connect(url)
    let done: ((data: unknown) => void) | undefined
    const handled = new Promise((resolve) => {
      done = resolve
    })
    bus.queue(queue).work(({ data }) => done?.(data))
    await pgmq.msg.send(queue, { name: 'Ada' })
    expect(await handled).toEqual({ name: 'Ada' })
    const other = await newQueue()
    await bus.queue(other, { envelope: 'none' }).send({ name: 'Grace' })
    expect((await pgmq.msg.pop(other))?.message).toEqual({ name: 'Grace' })
  })

  describe('what is wrong is told', () => {
    test.each([
      ['QUEUE_NOT_FOUND', () => pgmq.msg.send('nowhere', 1)],
      ['QUEUE_NOT_FOUND', () => pgmq.msg.read('nowhere')],
      ['QUEUE_NOT_FOUND', () => pgmq.msg.delete('nowhere', 1)],
      ['QUEUE_NOT_FOUND', () => pgmq.queue.purge('nowhere')],
      ['QUEUE_NOT_FOUND', () => pgmq.queue.getMetrics('nowhere')],
    ] as const)('%s by %s', async (code, call) => {
      await expect(call()).rejects.toMatchObject({
        code,
        message: "queue 'nowhere' does not exist",
        details: { queue: 'nowhere' },
      })
    })

    test('what this PGMQ does not have, with the version that has it', async () => {
      const other = await newDatabase(await sharedServer(server))
      try {
        const old = await Pgmq.new(other.url)
        await old.queue.create('q')
        await query(other.url, 'DROP FUNCTION IF EXISTS pgmq.read_grouped_head(text, integer, integer)')
        await query(other.url, 'DROP FUNCTION IF EXISTS pgmq.set_vt(text, bigint[], timestamptz)')
        await expect(old.msg.readGroupedHead('q', 1, 1)).rejects.toMatchObject({
          code: 'UNSUPPORTED',
          message: 'the installed PGMQ has no pgmq.read_grouped_head(text, integer, integer)',
          hint: expect.stringContaining('PGMQ 1.11.1 has it'),
        })
        await expect(old.msg.setVtBatch('q', [1], new Date())).rejects.toMatchObject({
          code: 'UNSUPPORTED',
          hint: expect.stringContaining('tidings migrate'),
        })
        await query(other.url, 'DROP SCHEMA pgmq CASCADE')
        await expect(old.msg.read('q')).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
        await old.close()
        await expect(old.msg.read('q')).rejects.toMatchObject({ code: 'CLOSED' })
      } finally {
        await other.drop()
      }
    })
  })
})

describe('inputs', () => {
  /** Nothing is asked: what is wrong does not reach the server. */
  const silent = { query: () => Promise.reject(new Error('asked')) }
  const never = Pgmq.new(silent, { skipExtensionCreation: true })
  // biome-ignore lint/suspicious/noExplicitAny: what no type allows
  const wrong = (value: unknown) => value as any

  test.each([
    ['TYPE', 'queue name is 5; it must be a string', (pgmq: Pgmq) => pgmq.queue.create(wrong(5))],
    ['QUEUE_NAME_INVALID', 'queue name "a;b" contains ";"', (pgmq: Pgmq) => pgmq.msg.send('a;b', 1)],
    ['QUEUE_NAME_INVALID', 'is 48 characters long', (pgmq: Pgmq) => pgmq.queue.create('x'.repeat(48))],
    ['BODY_NOT_JSON', 'msg is undefined', (pgmq: Pgmq) => pgmq.msg.send('q', undefined)],
    ['BODY_NOT_JSON', 'msgs[1].a is NaN', (pgmq: Pgmq) => pgmq.msg.sendBatch('q', [1, { a: Number.NaN }])],
    ['BATCH_SIZE', 'msgs are none', (pgmq: Pgmq) => pgmq.msg.sendBatch('q', [])],
    ['BATCH_SIZE', 'headers are 1 for 2 messages', (pgmq: Pgmq) => pgmq.msg.sendBatch('q', [1, 2], 0, [{}])],
    ['TYPE', 'msgs is "x"; it must be an array', (pgmq: Pgmq) => pgmq.msg.sendBatch('q', wrong('x'))],
    ['HEADERS_INVALID', 'headers is "x"', (pgmq: Pgmq) => pgmq.msg.send('q', 1, 0, wrong('x'))],
    ['RANGE', 'delay is 0.5; it must be a whole number', (pgmq: Pgmq) => pgmq.msg.send('q', 1, 0.5)],
    ['RANGE', 'delay is', (pgmq: Pgmq) => pgmq.msg.send('q', 1, new Date(Number.NaN))],
    ['TYPE', 'vt is "30"', (pgmq: Pgmq) => pgmq.msg.read('q', wrong('30'))],
    ['RANGE', 'numMessages is -1', (pgmq: Pgmq) => pgmq.msg.readBatch('q', 0, -1)],
    ['OPTION_UNKNOWN', 'no option "condition"', (pgmq: Pgmq) => pgmq.msg.read('q', 0, wrong({ condition: {} }))],
    ['TYPE', 'conditional is null', (pgmq: Pgmq) => pgmq.msg.read('q', 0, { conditional: wrong(null) })],
    ['RANGE', 'pollIntervalMs is 0', (pgmq: Pgmq) => pgmq.msg.readGroupedWithPoll('q', 0, 1, { pollIntervalMs: 0 })],
    ['MESSAGE_ID_INVALID', 'msgId is 1.5', (pgmq: Pgmq) => pgmq.msg.delete('q', 1.5)],
    ['MESSAGE_ID_INVALID', 'msgId is "x"', (pgmq: Pgmq) => pgmq.msg.archive('q', 'x')],
    ['MESSAGE_ID_INVALID', 'which is no id', (pgmq: Pgmq) => pgmq.msg.delete('q', 2 ** 53)],
    ['MESSAGE_ID_INVALID', 'msgIds[1] is', (pgmq: Pgmq) => pgmq.msg.setVtBatch('q', [1, 2n ** 63n], 0)],
    ['RANGE', 'throttleMs is -1', (pgmq: Pgmq) => pgmq.notify.enable('q', -1)],
    ['RANGE', 'premake is 0', (pgmq: Pgmq) => pgmq.queue.createPartitioned('q', { premake: 0 })],
    ['TYPE', 'routingKey is 1', (pgmq: Pgmq) => pgmq.topic.send(wrong(1), 1)],
  ])('%s: %s', async (code, message, call) => {
    await expect(call(await never)).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
  })

  test.each([
    ['TYPE', undefined],
    ['TYPE', 5],
    ['URL_INVALID', 'redis://localhost'],
    ['URL_INVALID', 'localhost'],
    ['OPTION_UNKNOWN', { host: 'localhost', database: 'x', user: 'x', idleTimeoutMillis: 5 }],
    ['TYPE', { host: 'localhost', user: 'x' }],
  ])('%s for the source %j', async (code, source) => {
    await expect(Pgmq.new(wrong(source))).rejects.toMatchObject({ code })
  })
})
