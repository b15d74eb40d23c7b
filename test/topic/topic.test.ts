import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { z } from 'zod'
import { refusal } from '../queue/support.ts'
import { runUntil, settleDown } from '../worker/support.ts'
import { offsets, publishMany, scene, withoutTopics } from './support.ts'

describe('publishing', () => {
  test('creates the topic, and counts offsets from 1', async () => {
    const { bus, news } = scene()
    assert.deepEqual(await news.publish('a'), { offset: 1, duplicate: false })
    assert.deepEqual(await news.publish('b'), { offset: 2, duplicate: false })
    assert.deepEqual(
      (await bus.topics()).map(({ topic, lastOffset }) => [topic, lastOffset]),
      [['news', 2]],
    )
  })

  test('messages published in one tick share a call, in their order', async () => {
    const { news, server } = scene()
    await news.create()
    const results = await Promise.all([1, 2, 3].map((data) => news.publish(data)))
    assert.deepEqual(
      results.map(({ offset }) => offset),
      [1, 2, 3],
    )
    assert.equal(server.countOf('append'), 1)
  })

  test('two callers that find the topic missing create it once', async () => {
    const { bus, news, server } = scene()
    await Promise.all([news.publish(1), bus.topic('news').publish(2)])
    assert.equal(server.countOf('createTopic'), 1)
    assert.equal((await news.info()).lastOffset, 2)
  })

  test('a duplicate is told with the offset of the first', async () => {
    const { clock, news } = scene()
    const options = { dedupId: 'a', dedupWindow: '1m' } as const
    await news.publish('first', options)
    assert.deepEqual(await news.publish('second', options), { offset: 1, duplicate: true })
    await clock.advance(60_000)
    assert.deepEqual(await news.publish('third', options), { offset: 2, duplicate: false })
  })

  test('a batch is all or none', async () => {
    const { news } = scene()
    assert.deepEqual(await publishMany(news, 2), [
      { offset: 1, duplicate: false },
      { offset: 2, duplicate: false },
    ])
    await refusal(() => news.publishBatch([{ data: 3 }, { data: () => {} }]), 'BODY_NOT_JSON')
    assert.equal((await news.info()).lastOffset, 2)
  })

  test('the schema validates data when published and when read', async () => {
    const { bus, news } = scene()
    const strict = bus.topic('news', { schema: z.object({ name: z.string(), at: z.coerce.date().optional() }) })
    const error = await refusal(() => strict.publish({ name: 5 as unknown as string }), 'BODY_INVALID')
    assert.match(error.message, /^data for topic 'news' is invalid at name: /)
    await strict.publish({ name: 'Ada', at: '2026-01-01' })
    await strict.subscription('payroll').create({ from: 'earliest' })
    const [message] = await strict.subscription('payroll').fetch()
    assert.deepEqual(message?.data.at, new Date('2026-01-01'))
    assert.deepEqual((await news.read())[0]?.data, { name: 'Ada', at: '2026-01-01' }, 'stored as it was given')
  })

  test('create: false creates nothing, and the hint names what may be meant', async () => {
    const { bus, news } = scene()
    await news.create()
    const other = bus.topic('new', { create: false })
    assert.match((await refusal(() => other.publish(1), 'TOPIC_NOT_FOUND')).hint, /^Did you mean 'news'\?/)
    assert.match((await refusal(() => other.info(), 'TOPIC_NOT_FOUND')).hint, /^Did you mean 'news'\?/)
    await refusal(() => other.subscription('payroll').create(), 'TOPIC_NOT_FOUND')
  })
})

describe('looking', () => {
  test('read shows the log and changes nothing', async () => {
    const { news } = scene()
    await publishMany(news, 5)
    assert.deepEqual(offsets(await news.read({ after: 2, limit: 2 })), [3, 4])
    assert.deepEqual(offsets(await news.read()), [1, 2, 3, 4, 5])
  })

  test('settings are kept; those of create replace them', async () => {
    const { bus } = scene()
    const news = bus.topic('news', { description: 'what happened', retention: { maxAge: '7d', whenRead: true } })
    assert.equal(await news.create(), true)
    assert.deepEqual((await news.info()).retention, { maxAgeMs: 604_800_000, maxBytes: null, whenRead: true })
    await bus.topic('news').publish(1)
    assert.equal(await bus.topic('news', { retention: { maxBytes: 5_000 } }).create(), false)
    const { description, retention } = await bus.topic('news').info()
    assert.deepEqual([description, retention], ['what happened', { maxAgeMs: null, maxBytes: 5_000, whenRead: false }])
  })

  test('using a topic that is there leaves its settings', async () => {
    const { bus } = scene()
    await bus.topic('news', { description: 'first' }).create()
    await bus.topic('news', { description: 'second' }).publish(1)
    assert.equal((await bus.topic('news').info()).description, 'first')
  })

  test('dropping removes all of it', async () => {
    const { news } = scene()
    await news.publish(1)
    await news.subscription('payroll').create()
    assert.equal(await news.drop(), true)
    assert.equal(await news.drop(), false)
    assert.deepEqual(await news.publish(1), { offset: 1, duplicate: false })
    assert.deepEqual(await news.subscriptions(), [])
  })
})

describe('links', () => {
  test('a bound queue gets the later messages of the topic, with delay and other options', async () => {
    const { clock, bus, news } = scene()
    await bus.queue('invoices').create()
    await news.publish('before')
    assert.equal(await news.bind('invoices'), true)
    assert.equal(await news.bind(bus.queue('invoices')), false)
    await news.publish('late', { delay: '1m' })
    assert.deepEqual(offsets(await news.read()), [1, 2])
    assert.equal((await bus.queue('invoices').read()).length, 0)
    await clock.advance(60_000)
    const [copy] = await bus.queue('invoices').read()
    assert.deepEqual([copy?.data, copy?.meta.queueName], ['late', 'invoices'])
    assert.deepEqual((await news.info()).queues, ['invoices'])
    assert.equal(await news.unbind('invoices'), true)
    assert.equal(await news.unbind('invoices'), false)
  })

  test('a queue that is missing is named', async () => {
    const { bus, news } = scene()
    await bus.queue('invoices').create()
    assert.match((await refusal(() => news.bind('invoice'), 'QUEUE_NOT_FOUND')).hint, /'invoices'/)
  })

  test('a pattern that is bound to the topic leads there', async () => {
    const { bus, news } = scene()
    await bus.queue('paid').create()
    await bus.bind('Orders.*.Paid', 'paid')
    await refusal(() => bus.bind('Orders.#', news), 'TOPIC_NOT_FOUND')
    await news.create()
    assert.equal(await bus.bind('Orders.#', news), true)
    assert.equal(await bus.bind('Orders.#', news), false)
    assert.deepEqual(await bus.publish('Orders.7.Paid', 'data'), [
      { queue: 'paid', id: '1', duplicate: false },
      { topic: 'news', offset: 1, duplicate: false },
    ])
    assert.equal((await news.read())[0]?.meta.routingKey, 'Orders.7.Paid')
    assert.deepEqual((await news.info()).patterns, ['Orders.#'])
    assert.equal(await bus.unbind('Orders.#', news), true)
    await refusal(() => bus.publish('Orders.7.Sent', 1, { mandatory: true }), 'NO_ROUTE')
  })

  test('a queue and a topic may have the same name', async () => {
    const { bus } = scene()
    await Promise.all([bus.queue('orders').create(), bus.topic('orders').create()])
    await bus.bind('Orders.#', bus.queue('orders'))
    assert.deepEqual((await bus.topic('orders').info()).patterns, [])
    await bus.bind('Orders.#', bus.topic('orders'))
    assert.equal((await bus.publish('Orders', 1)).length, 2)
  })
})

describe('a subscription', () => {
  test('fetches after its cursor, which moves by ack alone', async () => {
    const { news } = scene()
    await publishMany(news, 5)
    const payroll = news.subscription('payroll')
    assert.equal(await payroll.create({ from: 'earliest' }), true)
    assert.equal(await payroll.create(), false)
    assert.deepEqual(offsets(await payroll.fetch()), [1])
    assert.deepEqual(offsets(await payroll.fetch({ limit: 3 })), [1, 2, 3])
    await payroll.ack(2)
    assert.deepEqual(offsets(await payroll.fetch({ limit: 3 })), [3, 4, 5])
    await payroll.ack(1)
    await payroll.ack(99)
    const { cursor, lag, missed, consumer } = await payroll.state()
    assert.deepEqual([cursor, lag, missed, consumer], [5, 0, 0, null])
    assert.deepEqual(await payroll.fetch(), [])
  })

  test('begins at `from`', async () => {
    const { clock, news } = scene()
    await publishMany(news, 2)
    await clock.advance(60_000)
    const later = new Date(clock.now())
    await publishMany(news, 2)
    const begin = async (name: string, from?: 'earliest' | 'latest' | number | Date | string) => {
      await news.subscription(name).create({ from })
      return (await news.subscription(name).state()).cursor
    }
    assert.equal(await begin('a'), 4)
    assert.equal(await begin('b', 'latest'), 4)
    assert.equal(await begin('c', 'earliest'), 0)
    assert.equal(await begin('d', 3), 2)
    assert.equal(await begin('e', later), 2)
    assert.equal(await begin('f', later.toISOString()), 2)
    assert.deepEqual(
      (await news.subscriptions()).map(({ subscription }) => subscription),
      ['a', 'b', 'c', 'd', 'e', 'f'],
    )
  })

  test('waits for new messages', async () => {
    const { clock, news } = scene()
    const payroll = news.subscription('payroll')
    await payroll.create()
    const fetching = payroll.fetch({ wait: '1m' })
    await settleDown(clock)
    await news.publish('a')
    await settleDown(clock)
    assert.deepEqual(offsets(await fetching), [1])
    await payroll.ack(1)
    assert.deepEqual(await runUntil(clock, payroll.fetch({ wait: '5s' })), [])
    const stop = new AbortController()
    const waiting = payroll.fetch({ wait: '1h', signal: stop.signal })
    await settleDown(clock)
    stop.abort()
    assert.deepEqual(await waiting, [])
  })

  test('moves to an offset, a time, an end, and back', async () => {
    const { clock, news } = scene()
    await publishMany(news, 3)
    await clock.advance(1_000)
    const later = new Date(clock.now())
    await publishMany(news, 3)
    const payroll = news.subscription('payroll')
    await payroll.create()
    const cursor = async () => (await payroll.state()).cursor
    await payroll.seek(2)
    assert.equal(await cursor(), 1)
    await payroll.seek('latest')
    assert.equal(await cursor(), 6)
    await payroll.rollBack(4)
    assert.equal(await cursor(), 2)
    await payroll.seek(later)
    assert.equal(await cursor(), 3)
    await payroll.seek('earliest')
    assert.equal(await cursor(), 0)
  })

  test('all subscriptions of a topic move at once, or one', async () => {
    const { news } = scene()
    await publishMany(news, 5)
    for (const name of ['a', 'b']) await news.subscription(name).create()
    assert.equal(await news.seek(0), 2)
    assert.equal(await news.seek('latest', { subscription: 'b' }), 1)
    assert.deepEqual(
      (await news.subscriptions()).map(({ cursor }) => cursor),
      [0, 5],
    )
    const error = await refusal(() => news.seek(0, { subscription: 'c' }), 'SUBSCRIPTION_NOT_FOUND')
    assert.match(error.hint, /Did you mean '[ab]'\?/)
  })

  test('is removed', async () => {
    const { news } = scene()
    const payroll = news.subscription('payroll')
    await payroll.create()
    assert.equal(await payroll.delete(), true)
    assert.equal(await payroll.delete(), false)
    for (const call of [
      () => payroll.state(),
      () => payroll.fetch(),
      () => payroll.ack(1),
      () => payroll.seek(1),
      () => payroll.rollBack(1),
    ])
      await refusal(call, 'SUBSCRIPTION_NOT_FOUND')
  })

  test('an invalid message is passed by ack', async () => {
    const { bus, news } = scene()
    for (const data of ['a', 5, 'b']) await news.publish(data)
    const payroll = bus.topic('news', { schema: z.string() }).subscription('payroll')
    await payroll.create({ from: 'earliest' })
    assert.deepEqual(offsets(await payroll.fetch({ limit: 10 })), [1])
    await payroll.ack(1)
    const { message, details } = await refusal(() => payroll.fetch({ limit: 10 }), 'BODY_INVALID')
    assert.match(message, /^data of message 2 in topic 'news' is invalid/)
    assert.deepEqual([details.topic, details.offset], ['news', 2])
    await payroll.ack(details.offset as number)
    assert.deepEqual(offsets(await payroll.fetch({ limit: 10 })), [3])
  })
})

describe('an engine without topics', () => {
  test('is reported at once', async () => {
    const bus = withoutTopics()
    for (const call of [() => bus.topic('news'), () => bus.topics()]) {
      const error = await refusal(call, 'UNSUPPORTED')
      assert.equal(error.message, 'the memory engine has no topics')
    }
    await refusal(() => bus.bind('a', { name: 'news', kind: 'topic' }), 'UNSUPPORTED')
  })
})
