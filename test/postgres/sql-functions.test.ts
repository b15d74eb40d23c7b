import { connect } from 'tidings'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'
import { migratedDatabase, newName, query } from './support.ts'

describe.each(['postgres15', 'postgres18'] as const)('the functions for SQL on %s', (server) => {
  let url: string
  let drop: () => Promise<void>
  beforeAll(async () => {
    ;({ url, drop } = await migratedDatabase(await sharedServer(server)))
    await (await connect(url)).close()
  })
  afterAll(() => drop())

  const call = async (text: string, values: unknown[] = []) => {
    const rows = await query(url, `SELECT * FROM tidings.${text}`, values)
    return rows.map((row) => (Object.keys(row).length === 1 ? Object.values(row)[0] : row))
  }

  test('publish to topics, and read them by subscriptions that go forward and back', async () => {
    const topic = newName('topic')
    expect(await call('v1_create_topic($1, $2)', [topic, 'News'])).toEqual([true])
    expect(await call('v1_create_topic($1)', [topic])).toEqual([false])
    await using bus = await connect(url)
    expect((await bus.topic(topic).info()).description).toBe('News')
    await call('v1_publish($1, $2)', [topic, '{"n": 1}'])
    expect(await call('v1_subscribe($1, $2)', [topic, 'new'])).toEqual([true])
    expect(await call('v1_subscribe($1, $2, 1)', [topic, 'old'])).toEqual([true])
    await call('v1_publish($1, $2, $3)', [topic, '"two"', '{"a": 1}'])
    const fetch = (name: string) => call('v1_fetch($1, $2, 10)', [topic, name])
    expect(await fetch('new')).toEqual([
      { offset: '2', data: 'two', meta: {}, headers: { a: 1 }, published_at: expect.any(Date) },
    ])
    expect((await fetch('old')).map((row) => (row as { offset: string }).offset)).toEqual(['1', '2'])
    expect(await call('v1_ack($1, $2, 9)', [topic, 'old'])).toEqual(['2'])
    expect(await call('v1_ack($1, $2, 1)', [topic, 'old'])).toEqual(['2'])
    expect(await fetch('old')).toEqual([])
    expect(await call('v1_seek($1, $2, 1)', [topic, null])).toEqual([2])
    expect(await fetch('new')).toHaveLength(2)
    // Our own readers find what a program would have sent.
    expect((await bus.topic(topic).read())[0]).toMatchObject({ data: { n: 1 } })
    expect(await call('v1_unsubscribe($1, $2)', [topic, 'old'])).toEqual([true])
    await expect(fetch('old')).rejects.toMatchObject({ code: 'TD406' })
    expect(await call('v1_drop_topic($1)', [topic])).toEqual([true])
    await expect(call('v1_publish($1, $2)', [topic, '1'])).rejects.toMatchObject({ code: 'TD405' })
  })

  test('refuse names and headers that nobody else could use', async () => {
    await expect(call("v1_create_topic('Two words')")).rejects.toMatchObject({ code: '22023' })
    const topic = newName('topic')
    await call('v1_create_topic($1)', [topic])
    await expect(call("v1_subscribe($1, 'a--b')", [topic])).rejects.toMatchObject({ code: '22023' })
    await expect(call(`v1_publish($1, '1', '{"x-pgmq-group": "a"}')`, [topic])).rejects.toMatchObject({ code: '22023' })
  })

  test('what a topic is bound to gets publications of SQL, too, and only with their transaction', async () => {
    await using bus = await connect(url)
    const [topic, queue] = [bus.topic(newName('topic')), bus.queue(newName('queue'))]
    await topic.create()
    await queue.create()
    await topic.bind(queue)
    await query(url, `BEGIN; SELECT tidings.v1_publish('${topic.name}', '1'); ROLLBACK`)
    await call('v1_publish($1, $2)', [topic.name, '2'])
    expect((await topic.read()).map(({ data, offset }) => [data, offset])).toEqual([[2, 1]])
    expect((await queue.peek()).map(({ data }) => data)).toEqual([2])
  })

  test('claim by id what is ready, once', async () => {
    await using bus = await connect(url)
    const queue = bus.queue(newName('queue'))
    const ids = [await queue.send('one', { meta: { version: '2' } }), await queue.send('two', { delay: '1h' })]
    const claim = () => call("v1_claim($1, $2, '1 minute')", [queue.name, ids])
    expect(await claim()).toEqual([
      expect.objectContaining({
        id: ids[0],
        data: 'one',
        meta: expect.objectContaining({ version: '2' }),
        read_count: 1,
      }),
    ])
    expect(await claim()).toEqual([])
    expect(await queue.stats()).toMatchObject({ leased: 1, delayed: 1 })
    await query(url, 'SELECT pgmq.archive($1, $2::bigint)', [queue.name, ids[0]])
    expect((await queue.stats()).archived).toBe(1)
  })
})
