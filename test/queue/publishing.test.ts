import assert from 'node:assert/strict'
import type { Bus } from 'tidings/internal/bus/bus'
import { describe, test } from 'vitest'
import { datas, refusal, scene, stored } from './support.ts'

async function bound(bus: Bus, bindings: Readonly<Record<string, readonly string[]>>): Promise<void> {
  for (const [queue, patterns] of Object.entries(bindings)) {
    await bus.queue(queue).create()
    for (const pattern of patterns) await bus.bind(pattern, queue)
  }
}

describe('bindings', () => {
  test('are made, listed and removed by name or by queue', async () => {
    const { bus, clock } = scene()
    const invoices = bus.queue('invoices')
    await invoices.create()
    assert.equal(await bus.bind('Orders.*.Paid', invoices), true)
    assert.equal(await bus.bind('Orders.*.Paid', 'invoices'), false)
    assert.deepEqual(await bus.bindings(), [
      { pattern: 'Orders.*.Paid', queue: 'invoices', boundAt: new Date(clock.now()) },
    ])
    assert.deepEqual(await bus.bindings('invoices'), await bus.bindings(invoices))
    assert.equal(await bus.unbind('Orders.*.Paid', invoices), true)
    assert.equal(await bus.unbind('Orders.*.Paid', invoices), false)
    assert.deepEqual(await bus.bindings(), [])
  })

  // 36
  test('of a queue that is missing are refused, with the name that was meant', async () => {
    const { bus } = scene()
    await bus.queue('invoices').create()
    for (const call of [
      () => bus.bind('a', 'invoice'),
      () => bus.unbind('a', 'invoice'),
      () => bus.bindings('invoice'),
    ])
      assert.equal((await refusal(call, 'QUEUE_NOT_FOUND')).hint, "Did you mean 'invoices'? Or create it first.")
    assert.equal((await bus.queues()).length, 1)
  })

  test('are checked before anything is asked of the storage', async () => {
    const { bus, spy } = scene()
    await refusal(() => bus.bind('a.**', 'q'), 'PATTERN_INVALID')
    await refusal(() => bus.unbind('', 'q'), 'PATTERN_INVALID')
    await refusal(() => bus.bind(7 as never, 'q'), 'TYPE')
    await refusal(() => bus.bind('a', 'Bad Name'), 'QUEUE_NAME_INVALID')
    await refusal(() => bus.bind('a', undefined as never), 'TYPE')
    await refusal(() => bus.bindings(null as never), 'TYPE')
    await refusal(() => bus.publish('a.*', 1), 'KEY_INVALID')
    await refusal(() => bus.publishBatch('a b', [{ data: 1 }]), 'KEY_INVALID')
    assert.deepEqual(spy.calls, [])
  })
})

describe('publish', () => {
  test('stores a copy in every bound queue, and tells its id there', async () => {
    const { bus } = scene()
    await bound(bus, { all: ['#'], invoices: ['Orders.*.Paid'], mails: ['Orders.Events.*'], other: ['Orders.Sent'] })
    await bus.queue('invoices').send('before')
    const deliveries = await bus.publish('Orders.Events.Paid', { n: 1 })
    assert.deepEqual(deliveries, [
      { queue: 'all', id: '1', duplicate: false },
      { queue: 'invoices', id: '2', duplicate: false },
      { queue: 'mails', id: '1', duplicate: false },
    ])
    assert.deepEqual(datas(await bus.queue('invoices').peek()), ['before', { n: 1 }])
    assert.deepEqual(await bus.queue('other').peek(), [])
  })

  // 38
  test('stores one copy where two bindings match', async () => {
    const { bus } = scene()
    await bound(bus, { q: ['a.#', 'a.*', '#'] })
    assert.equal((await bus.publish('a.b', 1)).length, 1)
    assert.equal((await bus.queue('q').peek()).length, 1)
  })

  // 37
  test('of what nobody is bound for stores nothing, and is refused where a route is mandatory', async () => {
    const { bus, memory } = scene()
    await bound(bus, { q: ['a'] })
    assert.deepEqual(await bus.publish('b', 1), [])
    assert.deepEqual(await bus.publishBatch('b', [{ data: 1 }, { data: 2 }]), [[], []])
    const error = await refusal(() => bus.publish('b', 1, { mandatory: true }), 'NO_ROUTE')
    assert.deepEqual(error.details, { routingKey: 'b' })
    await refusal(() => bus.publishBatch('b', [{ data: 1 }], { mandatory: true }), 'NO_ROUTE')
    assert.deepEqual((await stored(memory)).q, [])
    assert.equal((await bus.publish('a', 1, { mandatory: true })).length, 1)
  })

  test('tells the reader the routing key and the queue, whatever meta said', async () => {
    const { bus } = scene()
    await bound(bus, { one: ['a.#'], two: ['#'] })
    const meta = { routingKey: 'x', queueName: 'y', routing_key: 'z', targetId: 't', own: [1] }
    await bus.publish('a.b', 1, { meta, headers: { h: 1 }, priority: 4 })
    for (const name of ['one', 'two']) {
      const [message] = await bus.queue(name).read()
      assert.deepEqual(message?.meta, { queueName: name, routingKey: 'a.b', targetId: 't', own: [1] })
      assert.deepEqual([message?.headers, message?.priority], [{ h: 1 }, 4])
    }
  })

  test('a routing key goes on with the meta of a message that is sent on', async () => {
    const { bus } = scene()
    await bound(bus, { one: ['a.#'] })
    await bus.publish('a.b', 1)
    const [message] = await bus.queue('one').read()
    await bus.queue('q').send(1, { meta: message!.meta })
    assert.deepEqual((await bus.queue('q').peek())[0]?.meta, { queueName: 'q', routingKey: 'a.b' })
    for (const meta of [{ routingKey: 'a..b' }, { routing_key: 'a b' }, { routingKey: 5 as unknown as string }])
      await assert.rejects(bus.queue('q').send(1, { meta }), /meta\.routing_?[kK]ey/)
  })

  test('takes the options of send', async () => {
    const { bus, clock } = scene()
    await bound(bus, { one: ['#'], two: ['#'] })
    await bus.publish('a', 'later', { delay: '1h' })
    await bus.publish('a', 'at', { at: new Date(clock.now() + 5_000) })
    await bus.publish('a', 'first', { orderingKey: 'k' })
    await bus.publish('a', 'second', { orderingKey: 'k' })
    for (const name of ['one', 'two']) {
      const queue = bus.queue(name)
      assert.deepEqual(datas(await queue.peek({ place: 'delayed' })), ['later', 'at'])
      assert.deepEqual(datas(await queue.read({ limit: 10 })), ['first'])
    }
  })

  test('reports duplicates queue by queue, without failing', async () => {
    const { bus } = scene()
    await bound(bus, { one: ['#'], two: ['a'] })
    await bus.publish('b', 1, { dedupId: 'd' })
    assert.deepEqual(await bus.publish('a', 2, { dedupId: 'd' }), [
      { queue: 'one', id: '1', duplicate: true },
      { queue: 'two', id: '1', duplicate: false },
    ])
  })

  test('refuses what send refuses, before anything is stored', async () => {
    const { bus, spy } = scene()
    await refusal(() => bus.publish('a', undefined), 'BODY_NOT_JSON')
    await refusal(() => bus.publish('a', 'x'.repeat(1_048_577)), 'BODY_TOO_LARGE')
    await refusal(() => bus.publish('a', 1, { delay: -1 }), 'DELAY_RANGE')
    await refusal(() => bus.publish('a', 1, { delay: 1, at: new Date() }), 'OPTION_CONFLICT')
    await refusal(() => bus.publish('a', 1, { uniqueTarget: true }), 'OPTION_CONFLICT')
    await refusal(() => bus.publish('a', 1, { mandatroy: true } as never), 'OPTION_UNKNOWN')
    await refusal(() => bus.publishBatch('a', []), 'BATCH_SIZE')
    assert.match(
      (await refusal(() => bus.publishBatch('a', [{ data: 1 }, { data: 1, priority: 0.5 }]))).message,
      /^entry 1/,
    )
    const tx = { query: async () => ({ rows: [] }) }
    await refusal(() => bus.publish('a', 1, { tx }), 'UNSUPPORTED')
    assert.deepEqual(spy.calls, [])
  })

  test('lets what is published in one tick travel together, in its order', async () => {
    const { bus, spy } = scene()
    await bound(bus, { q: ['#'] })
    const results = await Promise.all(['a', 'b', 'c'].map((key, index) => bus.publish(key, index)))
    assert.deepEqual(
      results.map(([copy]) => copy && 'queue' in copy && copy.id),
      ['1', '2', '3'],
    )
    assert.equal(spy.of('publish').length, 1)
    assert.deepEqual(datas(await bus.queue('q').peek()), [0, 1, 2])
  })

  test('stores a batch under one routing key', async () => {
    const { bus } = scene()
    await bound(bus, { one: ['a'], two: ['#'] })
    const results = await bus.publishBatch('a', [{ data: 1 }, { data: 2, meta: { targetId: 't' } }])
    assert.deepEqual(results, [
      [
        { queue: 'one', id: '1', duplicate: false },
        { queue: 'two', id: '1', duplicate: false },
      ],
      [
        { queue: 'one', id: '2', duplicate: false },
        { queue: 'two', id: '2', duplicate: false },
      ],
    ])
    assert.deepEqual(datas(await bus.queue('two').peek()), [1, 2])
  })

  test('keeps the routing key on the way through a dead-letter queue and back', async () => {
    const { bus } = scene()
    await bound(bus, { q: ['#'] })
    await bus.publish('a.b', 1)
    const queue = bus.queue('q')
    const [message] = await queue.read()
    await message!.deadLetter('no')
    assert.equal((await bus.queue('q_dlq').peek())[0]?.meta.routingKey, 'a.b')
    await queue.deadLetters.redrive()
    assert.equal((await queue.peek())[0]?.meta.routingKey, 'a.b')
  })
})
