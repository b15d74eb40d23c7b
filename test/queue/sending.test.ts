import assert from 'node:assert/strict'
import { type ErrorCode, TidingsError } from 'tidings/internal/core/errors'
import type { NewMessage } from 'tidings/internal/port/engine'
import { describe, test } from 'vitest'
import { datas, refusal, scene, settle } from './support.ts'

const messagesOf = (args: unknown[] | undefined) => (args?.[1] ?? []) as readonly NewMessage[]

describe('sending', () => {
  test('what is sent in one tick travels in one call and keeps its order', async () => {
    const { bus, spy } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    const ids = await Promise.all(Array.from({ length: 50 }, (_, index) => jobs.send(index)))
    assert.equal(spy.of('send').length, 1)
    assert.deepEqual(
      ids,
      Array.from({ length: 50 }, (_, index) => String(index + 1)),
    )
    assert.deepEqual(datas(await jobs.peek({ limit: 100 })), [...Array(50).keys()])
  })

  test('also through several objects of one queue, and not with other queues', async () => {
    const { bus, spy } = scene()
    await Promise.all([bus.queue('a').create(), bus.queue('b').create()])
    await Promise.all([bus.queue('a').send(1), bus.queue('b').send(2), bus.queue('a').send(3)])
    assert.deepEqual(
      spy.of('send').map(([queue, messages]) => [queue, (messages as NewMessage[]).map(({ data }) => data)]),
      [
        ['a', ['1', '3']],
        ['b', ['2']],
      ],
    )
  })

  test('what comes while a call is under way makes up the next one', async () => {
    const { bus, spy, clock } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    let proceed = () => {}
    const gate = new Promise<void>((resolve) => {
      proceed = resolve
    })
    spy.before = (member) => (member === 'send' ? gate : undefined)
    const sends = [jobs.send(1)]
    await settle(clock)
    sends.push(jobs.send(2))
    await settle(clock)
    sends.push(jobs.send(3))
    await settle(clock)
    assert.equal(spy.of('send').length, 1)
    proceed()
    await Promise.all(sends)
    assert.deepEqual(
      spy.of('send').map((args) => messagesOf(args).length),
      [1, 2],
    )
  })

  test('many and large messages go in several calls, in their order', async () => {
    const { bus, spy } = scene()
    const jobs = bus.queue('jobs')
    await jobs.create()
    await Promise.all(Array.from({ length: 2_500 }, (_, index) => jobs.send(index)))
    assert.deepEqual(
      spy.of('send').map((args) => messagesOf(args).length),
      [1_000, 1_000, 500],
    )
    spy.calls.length = 0
    const large = 'x'.repeat(1_000_000)
    await Promise.all(Array.from({ length: 20 }, (_, index) => jobs.send([index, large])))
    const calls = spy.of('send').map((args) => messagesOf(args))
    assert.deepEqual(
      calls.map(({ length }) => length),
      [16, 4],
    )
    assert.deepEqual(
      calls.flat().map(({ data }) => JSON.parse(data)[0]),
      [...Array(20).keys()],
    )
  })

  test.each<ErrorCode>(['CONNECTION_LOST', 'OUTCOME_UNKNOWN', 'STORAGE_FULL'])(
    'a call that fails by %s rejects every send in it and none after it',
    async (code) => {
      const { bus, spy } = scene()
      const jobs = bus.queue('jobs')
      await jobs.create()
      spy.before = (member) => {
        if (member === 'send') throw new TidingsError(code, 'no')
      }
      const results = await Promise.allSettled([jobs.send(1), jobs.send(2)])
      for (const result of results)
        await refusal(() => (result.status === 'rejected' ? Promise.reject(result.reason) : 0), code)
      spy.before = () => {}
      await jobs.send(3)
      assert.deepEqual(datas(await jobs.peek()), [3])
    },
  )

  test('a bad message is refused alone', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const results = await Promise.allSettled([jobs.send(1), jobs.send(Number.NaN), jobs.send(3)])
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.deepEqual(datas(await jobs.peek()), [1, 3])
  })

  test('what the application changes after the call is not sent', async () => {
    const { bus } = scene()
    const data = { list: [1] }
    const headers = { tags: ['a'] }
    const meta = { tenant: { id: 1 } }
    const sent = bus.queue('jobs').send(data, { headers, meta })
    data.list.push(2)
    headers.tags.push('b')
    meta.tenant.id = 2
    await sent
    const [message] = await bus.queue('jobs').read()
    assert.deepEqual(message?.data, { list: [1] })
    assert.deepEqual(message?.headers, { tags: ['a'] })
    assert.deepEqual(message?.meta.tenant, { id: 1 })
  })

  test('options travel with the message', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    const meta = { correlationId: 'c-1', targetId: 'person-7', version: '2', tenant: { id: 5 } }
    await jobs.send('x', { headers: { a: 1 }, meta, orderingKey: 'k' })
    await jobs.send('y', { priority: 7 })
    const [y, x] = await jobs.read({ limit: 2 })
    assert(x && y)
    assert.deepEqual(x.meta, { queueName: 'jobs', ...meta })
    assert.deepEqual([x.queue, x.headers, x.orderingKey, x.priority, x.readCount], ['jobs', { a: 1 }, 'k', 0, 1])
    assert.deepEqual([y.data, y.priority, y.headers, y.meta], ['y', 7, {}, { queueName: 'jobs' }])
    const now = new Date(clock.now())
    assert.deepEqual([x.sentAt, x.firstReadAt, x.lastReadAt, x.archivedAt], [now, now, now, null])
    assert.deepEqual(x.visibleAt, new Date(clock.now() + 30_000))
  })

  test('the data alone where no envelope is wanted', async () => {
    const { bus, spy } = scene()
    const bare = bus.queue('jobs', { envelope: 'none' })
    await bare.send({ a: 1 }, { meta: { version: '2' } })
    await bus.queue('jobs').send({ a: 2 })
    assert.deepEqual(
      spy
        .of('send')
        .flatMap((args) => messagesOf(args).map(({ bare }) => bare))
        .slice(-2),
      [true, false],
    )
    const [message] = await bare.read()
    assert.deepEqual([message?.data, message?.meta.version], [{ a: 1 }, '2'])
  })
})

describe('a delay', () => {
  test.each([
    ['as a duration', { delay: '5s' } as const],
    ['in milliseconds', { delay: 5_000 }],
    ['as a Date', { at: new Date(Date.UTC(2026, 0, 1, 0, 0, 5)) }],
    ['as a text', { at: '2026-01-01T00:00:05Z' }],
    ['as PostgreSQL writes it', { at: '2026-01-01 02:00:05.000000+02' }],
  ])('%s', async (_how, options) => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send('later', options)
    await jobs.send('now')
    assert.deepEqual(datas(await jobs.read({ limit: 10, lease: '1h' })), ['now'])
    assert.equal((await jobs.stats()).delayed, 1)
    await clock.advance(4_999)
    assert.deepEqual(await jobs.read(), [])
    await clock.advance(1)
    assert.deepEqual(datas(await jobs.read()), ['later'])
  })

  test('of ten years is the longest', async () => {
    const { bus } = scene()
    await bus.queue('jobs').send(1, { delay: '3650d' })
    assert.equal((await bus.queue('jobs').stats()).delayed, 1)
  })
})

describe('priority and ordering', () => {
  test('higher priority is read first, then what is older', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    for (const [data, priority] of [
      ['low', -5],
      ['a', 0],
      ['high', 9],
      ['b', 0],
    ] as const)
      await jobs.send(data, { priority })
    assert.deepEqual(datas(await jobs.read({ limit: 10 })), ['high', 'a', 'b', 'low'])
  })

  test('messages of one key are read one after the other', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.sendBatch([
      { data: 'a1', orderingKey: 'a' },
      { data: 'a2', orderingKey: 'a' },
      { data: 'b1', orderingKey: 'b' },
      { data: 'free' },
    ])
    const first = await jobs.read({ limit: 10 })
    assert.deepEqual(datas(first).sort(), ['a1', 'b1', 'free'])
    assert.deepEqual(await jobs.read({ limit: 10 }), [])
    await first.find(({ data }) => data === 'a1')?.delete()
    assert.deepEqual(datas(await jobs.read({ limit: 10 })), ['a2'])
  })
})

describe('duplicates', () => {
  test('by dedup id are refused with the id of the first, whatever became of it', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    const first = await jobs.send('x', { dedupId: 'order-1', dedupWindow: '10s' })
    await jobs.pop()
    const error = await refusal(() => jobs.send('y', { dedupId: 'order-1' }), 'DUPLICATE')
    assert.equal(error.details.firstId, first)
    assert.equal(error.message, `queue 'jobs' already has message ${first} with dedup id "order-1"`)
    assert.equal(error.retryable, false)
    await bus.queue('other').send('y', { dedupId: 'order-1' })
    await clock.advance(10_000)
    assert.notEqual(await jobs.send('z', { dedupId: 'order-1' }), first)
  })

  test('in one tick: the first wins', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const [first, second] = await Promise.allSettled([jobs.send(1, { dedupId: 'x' }), jobs.send(2, { dedupId: 'x' })])
    assert.equal(first?.status, 'fulfilled')
    assert.equal(second?.status, 'rejected')
    assert.deepEqual(datas(await jobs.peek()), [1])
  })

  test('are marked in the result of a batch', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const first = await jobs.send(0, { dedupId: 'a' })
    const results = await jobs.sendBatch([
      { data: 1 },
      { data: 2, dedupId: 'a' },
      { data: 3, dedupId: 'b' },
      { data: 4, dedupId: 'b' },
    ])
    assert.deepEqual(
      results.map(({ duplicate }) => duplicate),
      [false, true, false, true],
    )
    assert.equal(results[1]?.id, first)
    assert.equal(results[3]?.id, results[2]?.id)
    assert.deepEqual(datas(await jobs.peek()), [0, 1, 3])
  })

  test('by target are refused while the first is waiting or in hand', async () => {
    const { bus, clock } = scene()
    const jobs = bus.queue('jobs')
    const options = { uniqueTarget: true, meta: { targetId: 'person-7' } }
    const first = await jobs.send('x', { ...options, delay: '1s' })
    const isRefused = async () => {
      const error = await refusal(() => jobs.send('y', options), 'DUPLICATE')
      assert.equal(error.details.firstId, first)
      assert.equal(error.message, `queue 'jobs' already has message ${first} with target "person-7"`)
    }
    await isRefused()
    await clock.advance(1_000)
    await isRefused()
    const [message] = await jobs.read()
    await isRefused()
    await message?.archive()
    await jobs.send('z', options)
  })

  test('a target is no hindrance to those who do not ask for it', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    const meta = { targetId: 'person-7' }
    await jobs.send('x', { uniqueTarget: true, meta })
    await jobs.send('y', { meta })
    await jobs.send('z', { uniqueTarget: true, meta: { target_id: 'person-8' } })
    await refusal(() => jobs.send('z', { uniqueTarget: true, meta: { targetId: 'person-8' } }), 'DUPLICATE')
  })
})

describe('a missing queue', () => {
  test('is created by a send, once for all that miss it', async () => {
    const { bus, spy } = scene()
    const jobs = bus.queue('jobs')
    const ids = await Promise.all(Array.from({ length: 10 }, (_, index) => jobs.send(index)))
    assert.equal(spy.of('createQueue').length, 1)
    assert.deepEqual(ids, ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10'])
    assert.deepEqual(datas(await jobs.peek()), [...Array(10).keys()])
  })

  test('keeps the order of the sends, however long creating takes', async () => {
    const { bus, spy, clock } = scene()
    const jobs = bus.queue('jobs')
    let created = () => {}
    const gate = new Promise<void>((resolve) => {
      created = resolve
    })
    spy.before = (member) => (member === 'createQueue' ? gate : undefined)
    const sends = [jobs.send(1), jobs.send(2), jobs.sendBatch([{ data: 3 }])]
    await settle(clock)
    created()
    await Promise.all(sends)
    assert.deepEqual(
      datas(await jobs.peek()).filter((data) => data !== 3),
      [1, 2],
    )
  })

  test('is created again when it was dropped', async () => {
    const { bus, memory } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send(1)
    await memory.dropQueue('jobs')
    await jobs.send(2)
    await memory.dropQueue('jobs')
    await jobs.sendBatch([{ data: 3 }])
    assert.deepEqual(datas(await jobs.peek()), [3])
  })

  test('is not created where that is not wanted', async () => {
    const { bus, memory } = scene()
    const jobs = bus.queue('jobs', { create: false })
    await refusal(() => jobs.send(1), 'QUEUE_NOT_FOUND')
    assert.deepEqual(await memory.describe(null), [])
    await jobs.create()
    await jobs.send(1)
  })

  test('a failure to create it reaches every send', async () => {
    const { bus, spy } = scene()
    spy.before = (member) => {
      if (member === 'createQueue') throw new TidingsError('PERMISSION_DENIED', 'no')
    }
    const jobs = bus.queue('jobs')
    const results = await Promise.allSettled([jobs.send(1), jobs.send(2)])
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    spy.before = () => {}
    await jobs.send(3)
  })
})

describe('a transaction of the application', () => {
  const tx = { query: async () => ({ rows: [] }) }

  test('goes through to the engine, once the queue is there', async () => {
    const { bus, spy } = scene()
    Object.defineProperty(spy.memory, 'supports', { value: new Set(['transactions']) })
    const jobs = bus.queue('jobs')
    await refusal(() => jobs.send(1, { tx }), 'UNSUPPORTED')
    await refusal(() => jobs.sendBatch([{ data: 2 }], { tx }), 'UNSUPPORTED')
    assert.deepEqual(
      spy.of('send').map((args) => typeof (args[2] as typeof tx).query),
      ['function', 'function'],
    )
    assert.deepEqual(
      spy.calls.map(({ member }) => member),
      ['describe', 'createQueue', 'send', 'send'],
    )
  })

  test('a queue that may not be created is looked for', async () => {
    const { bus, spy } = scene()
    Object.defineProperty(spy.memory, 'supports', { value: new Set(['transactions']) })
    await bus.queue('jobs').create()
    const error = await refusal(() => bus.queue('josb', { create: false }).send(1, { tx }), 'QUEUE_NOT_FOUND')
    assert.match(error.hint, /Did you mean 'jobs'/)
  })
})

test('a batch of more data than goes into one step is refused before it is made whole', async () => {
  const { bus, memory } = scene()
  let made = 0
  const large = { toJSON: () => `${made++}`.padEnd(1_000_000, 'x') }
  const batch = Array.from({ length: 560 }, () => ({ data: large }))
  await assert.rejects(bus.queue('q').sendBatch(batch), { code: 'BATCH_SIZE', message: /bytes or more; at most/ })
  assert(made <= 200, `${made} were made`)
  assert.deepEqual(await memory.describe(null), [])
})
