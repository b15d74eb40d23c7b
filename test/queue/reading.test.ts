import assert from 'node:assert/strict'
import { Message, StoredCopy } from 'tidings/internal/messages/message'
import { describe, test } from 'vitest'
import { datas, refusal, scene, settle, stored } from './support.ts'

async function filled(...data: unknown[]) {
  const all = scene()
  const jobs = all.bus.queue('jobs')
  await jobs.create()
  for (const each of data) await jobs.send(each)
  return { ...all, jobs }
}

describe('reading', () => {
  test('gives one message, or as many as are wanted and there, oldest first', async () => {
    const { jobs } = await filled('a', 'b', 'c')
    assert.deepEqual(datas(await jobs.read()), ['a'])
    assert.deepEqual(datas(await jobs.read({ limit: 10 })), ['b', 'c'])
    assert.deepEqual(await jobs.read(), [])
  })

  test('hides a message for the length of the lease', async () => {
    const { jobs, clock } = await filled('a')
    const [first] = await jobs.read({ lease: '5s' })
    assert.deepEqual([first?.readCount, first?.visibleAt], [1, new Date(clock.now() + 5_000)])
    await clock.advance(4_999)
    assert.deepEqual(await jobs.read(), [])
    await clock.advance(1)
    const [again] = await jobs.read()
    assert.deepEqual([again?.id, again?.readCount, again?.firstReadAt], [first?.id, 2, first?.firstReadAt])
    assert.notDeepEqual(again?.lastReadAt, again?.firstReadAt)
  })

  test('by id takes that message, if it is ready', async () => {
    const { jobs } = await filled('a', 'b')
    const message = await jobs.readById('2', { lease: '5s' })
    assert.equal(message?.data, 'b')
    assert.equal(await jobs.readById('2'), null, 'it is in hand')
    assert.equal(await jobs.readById('3'), null, 'there is none')
    const delayed = await jobs.send('c', { delay: '1m' })
    assert.equal(await jobs.readById(delayed), null, 'it is not due')
    assert.equal(await message?.delete(), true)
  })
})

describe('a read that waits', () => {
  test('does not wait if there is something', async () => {
    const { jobs, spy } = await filled('a')
    assert.deepEqual(datas(await jobs.read({ wait: '1m' })), ['a'])
    assert.equal(spy.of('listen').length, 0)
  })

  test('wakes when a message is sent', async () => {
    const { jobs, clock } = await filled()
    const startedAt = clock.now()
    const reading = jobs.read({ wait: '1m' })
    await settle(clock)
    await jobs.send('a')
    assert.deepEqual(datas(await reading), ['a'])
    assert.equal(clock.now(), startedAt)
    assert.equal(clock.pending, 0)
  })

  test('wakes when a message that was there becomes due', async () => {
    const { jobs, clock } = await filled()
    await jobs.send('a', { delay: '1500ms' })
    const reading = jobs.read({ wait: '1m' })
    await clock.advance(1_499)
    assert.equal(clock.pending, 1)
    await clock.advance(1)
    assert.deepEqual(datas(await reading), ['a'])
  })

  test('wakes when a message that is sent meanwhile becomes due', async () => {
    const { jobs, clock } = await filled()
    const reading = jobs.read({ wait: '1m' })
    await settle(clock)
    await jobs.send('a', { delay: '700ms' })
    await clock.advance(700)
    assert.deepEqual(datas(await reading), ['a'])
  })

  test('wakes when a lease runs out, and when a message is given back', async () => {
    const { jobs, clock } = await filled('a')
    const [held] = await jobs.read({ lease: '900ms' })
    const first = jobs.read({ wait: '1m', lease: '1h' })
    await clock.advance(900)
    const [again] = await first
    assert.equal(again?.id, held?.id)
    const second = jobs.read({ wait: '1m' })
    await settle(clock)
    await again?.release()
    assert.equal((await second)[0]?.id, held?.id)
  })

  test('looks every two seconds if nothing wakes it', async () => {
    const { jobs, clock, spy } = await filled()
    spy.memory.listen = async () => ({ listen: async () => new Map(), unlisten() {}, close: async () => {} })
    const reading = jobs.read({ wait: '1m' })
    await settle(clock)
    await jobs.send('a')
    await clock.advance(1_999)
    assert.equal(clock.pending, 1)
    await clock.advance(1)
    assert.deepEqual(datas(await reading), ['a'])
  })

  test('gives up when the time is over or its signal is aborted', async () => {
    const { jobs, clock } = await filled()
    const late = jobs.read({ wait: '5s' })
    await clock.advance(5_000)
    assert.deepEqual(await late, [])
    const controller = new AbortController()
    const early = jobs.read({ wait: '1h', signal: controller.signal })
    await settle(clock)
    controller.abort()
    assert.deepEqual(await early, [])
    assert.equal(clock.pending, 0)
  })

  test('two that wait get one message each', async () => {
    const { jobs, clock } = await filled()
    const readings = [jobs.read({ wait: '1m' }), jobs.read({ wait: '1m' })]
    await settle(clock)
    await Promise.all([jobs.send('a'), jobs.send('b')])
    assert.deepEqual((await Promise.all(readings)).flatMap(datas).sort(), ['a', 'b'])
  })

  test('ends when the bus is closed', async () => {
    const { bus, jobs, clock } = await filled()
    const reading = refusal(() => jobs.read({ wait: '1h' }), 'CLOSED')
    await settle(clock)
    await bus.close()
    await clock.advance(2_000)
    await reading
  })
})

describe('popping', () => {
  test('takes messages for good, as copies without a lease', async () => {
    const { jobs, memory } = await filled('a', 'b', 'c')
    const popped = await jobs.pop({ limit: 2 })
    assert.deepEqual(datas(popped), ['a', 'b'])
    assert.deepEqual(
      popped.map(({ readCount }) => readCount),
      [1, 1],
    )
    assert(popped.every((copy) => copy instanceof StoredCopy && !(copy instanceof Message)))
    assert.equal((await stored(memory)).jobs?.length, 1)
  })

  test('is one call', async () => {
    const { jobs, spy } = await filled('a')
    spy.calls.length = 0
    await jobs.pop()
    assert.deepEqual(
      spy.calls.map(({ member }) => member),
      ['pop'],
    )
  })

  test('waits too, for a send and for what becomes due', async () => {
    const { jobs, clock, memory } = await filled()
    const first = jobs.pop({ wait: '1m' })
    await settle(clock)
    await jobs.send('a')
    assert.deepEqual(datas(await first), ['a'])
    await jobs.send('b', { delay: '1500ms' })
    const second = jobs.pop({ wait: '1m' })
    await clock.advance(1_500)
    assert.deepEqual(datas(await second), ['b'])
    assert.deepEqual((await stored(memory)).jobs, [])
  })
})

describe('peeking', () => {
  test('changes nothing', async () => {
    const { jobs, memory, clock } = await filled('ready', 'held')
    await jobs.send('later', { delay: '1m' })
    await (await jobs.readById('2'))?.extend('1h')
    const before = await stored(memory)
    const seen = await jobs.peek()
    assert.deepEqual(datas(seen), ['ready', 'held', 'later'])
    assert.deepEqual(await stored(memory), before)
    assert.deepEqual(
      seen.map(({ readCount }) => readCount),
      [0, 1, 0],
    )
    assert.equal(clock.pending, 0)
  })

  test('shows messages by the place where they are', async () => {
    const { jobs } = await filled('archived', 'held', 'ready')
    await jobs.send('later', { delay: '1m' })
    await (await jobs.read())[0]?.archive()
    await jobs.read()
    const show = async (place: 'ready' | 'delayed' | 'leased' | 'archived') => datas(await jobs.peek({ place }))
    assert.deepEqual(await show('ready'), ['ready'])
    assert.deepEqual(await show('delayed'), ['later'])
    assert.deepEqual(await show('leased'), ['held'])
    assert.deepEqual(await show('archived'), ['archived'])
    assert.deepEqual(datas(await jobs.peek()), ['held', 'ready', 'later'])
  })

  test('goes on after an id', async () => {
    const { jobs } = await filled(1, 2, 3, 4, 5)
    const [, second] = await jobs.peek({ limit: 2 })
    assert.deepEqual(datas(await jobs.peek({ limit: 2, after: second!.id })), [3, 4])
  })
})

describe('cancelling', () => {
  test('takes away what nobody has in hand', async () => {
    const { jobs } = await filled('held', 'ready')
    const later = await jobs.send('later', { delay: '1m' })
    const [held] = await jobs.read()
    assert.deepEqual(await jobs.cancel('2'), { removed: ['2'], running: [] })
    assert.deepEqual(await jobs.cancel([later]), { removed: [later], running: [] })
    assert.deepEqual(await jobs.cancel([later]), { removed: [], running: [] }, 'it is gone')
    assert.deepEqual(await jobs.cancel(held!.id), { removed: [], running: [held!.id] })
    assert.equal(await held?.delete(), true)
  })
})

describe('purging and figures', () => {
  test('purge takes everything but the archive', async () => {
    const { jobs } = await filled('archived', 'held', 'ready')
    await jobs.send('later', { delay: '1m' })
    await (await jobs.read())[0]?.archive()
    const [held] = await jobs.read()
    assert.equal(await jobs.purge(), 3)
    await refusal(() => held?.delete(), 'LEASE_LOST')
    const { ready, delayed, leased, archived, totalSent } = await jobs.stats()
    assert.deepEqual([ready, delayed, leased, archived, totalSent], [0, 0, 0, 1, 4])
  })

  test('the state is empty, ready, or when something becomes ready', async () => {
    const { jobs, clock } = await filled()
    assert.equal(await jobs.state(), 'empty')
    await jobs.send('later', { delay: '1m' })
    assert.deepEqual(await jobs.state(), { dueAt: new Date(clock.now() + 60_000) })
    await jobs.send('now')
    assert.equal(await jobs.state(), 'ready')
    const [message] = await jobs.read({ lease: '5s' })
    assert.deepEqual(await jobs.state(), { dueAt: new Date(clock.now() + 5_000) })
    await message!.archive()
    assert.deepEqual(await jobs.state(), { dueAt: new Date(clock.now() + 60_000) })
    await clock.advance(60_000)
    assert.equal(await jobs.state(), 'ready')
    await jobs.drop()
    await refusal(() => jobs.state(), 'QUEUE_NOT_FOUND')
  })

  test('messages of all queues can be looked at', async () => {
    const { jobs, bus } = await filled('a', 'b')
    await bus.queue('empty').create()
    await bus.queue('others').send('c', { delay: '1m' })
    assert.deepEqual(Object.keys(await bus.peek({ place: 'delayed' })), ['others'])
    const found = await bus.peek({ limit: 1 })
    assert.deepEqual(Object.keys(found), ['jobs', 'others'])
    assert.deepEqual(datas(found.jobs as StoredCopy<unknown>[]), ['a'])
    assert.equal((await jobs.stats()).ready, 2)
  })

  test('a look at the newest begins with the last one', async () => {
    const { jobs } = await filled()
    await jobs.sendBatch(Array.from({ length: 450 }, (_, n) => ({ data: n, meta: { eventKey: `k${n % 2}` } })))
    assert.deepEqual(datas(await jobs.peek({ newest: true, limit: 3 })), [449, 448, 447])
    assert.deepEqual(datas(await jobs.peek({ newest: true, limit: 2, meta: { eventKey: 'k0' } })), [448, 446])
    assert.deepEqual(datas(await jobs.peek({ newest: true, after: '449' })), [449])
  })

  test('figures count by place and age', async () => {
    const { jobs, clock } = await filled('held', 'ready')
    await jobs.read()
    await jobs.send('later', { delay: '1m' })
    await clock.advance(5_000)
    const stats = await jobs.stats()
    assert.deepEqual(stats, {
      queue: 'jobs',
      ready: 1,
      heldBack: 0,
      delayed: 1,
      leased: 1,
      archived: 0,
      totalSent: 3,
      oldestReadyMs: 5_000,
      nextDueMs: 25_000,
      pause: null,
      newestMs: 5_000,
      oldestMs: 5_000,
      createdAt: new Date(clock.now() - 5_000),
    })
  })
})
