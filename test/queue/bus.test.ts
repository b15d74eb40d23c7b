import assert from 'node:assert/strict'
import { Bus } from 'tidings/internal/bus/bus'
import { connect } from 'tidings/internal/connect'
import { TidingsError } from 'tidings/internal/core/errors'
import { FakeClock, memoryBus } from 'tidings/testing'
import { describe, test } from 'vitest'
import { refusal, scene, settle } from './support.ts'

describe('a bus', () => {
  test('gives out queues without touching the storage', () => {
    const { bus, spy } = scene()
    assert.equal(bus.queue('jobs').name, 'jobs')
    assert.deepEqual(spy.calls, [])
  })

  test('lists its queues and their figures', async () => {
    const { bus, clock } = scene()
    await bus.queue('b').send(1)
    await bus.queue('a').create()
    assert.deepEqual(await bus.queues(), [
      { queue: 'a', createdAt: new Date(clock.now()) },
      { queue: 'b', createdAt: new Date(clock.now()) },
    ])
    assert.deepEqual(
      (await bus.stats()).map(({ queue, ready }) => [queue, ready]),
      [
        ['a', 0],
        ['b', 1],
      ],
    )
  })

  test('figures leave out a queue that was dropped meanwhile, and pass on other failures', async () => {
    const { bus, spy } = scene()
    await Promise.all([bus.queue('a').create(), bus.queue('b').create()])
    spy.before = async (member, [queue]) => {
      if (member === 'stats' && queue === 'a') await spy.memory.dropQueue('a')
    }
    assert.deepEqual(
      (await bus.stats()).map(({ queue }) => queue),
      ['b'],
    )
    spy.before = () => {
      throw new TidingsError('CONNECTION_LOST', 'no')
    }
    await refusal(() => bus.stats(), 'CONNECTION_LOST')
  })

  test('says what could hurt', async () => {
    const { bus } = scene()
    const [finding] = await bus.diagnose()
    assert.deepEqual([finding?.level, finding?.check], ['warning', 'durability'])
  })

  test('a circle of dead-letter queues can be cut by saying where one ends', () => {
    const { bus } = scene()
    bus.queue('jobs', { deadLetter: false })
    assert.equal(bus.queue('jobs_dlq', { deadLetter: 'jobs' }).deadLetterQueue, 'jobs')
    bus.queue('a', { deadLetter: 'b' })
    bus.queue('a')
    bus.queue('a', { deadLetter: 'c' })
    assert.equal(bus.queue('b', { deadLetter: 'a' }).deadLetterQueue, 'a')
  })
})

describe('closing a bus', () => {
  test('stops its workers first, and lets them settle what they have in hand', async () => {
    const { bus, spy, clock } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send('it')
    let handling = () => {}
    let finish = () => {}
    const began = new Promise<void>((resolve) => {
      handling = resolve
    })
    const worker = jobs.work(
      () =>
        new Promise<void>((resolve) => {
          handling()
          finish = resolve
        }),
    )
    await began
    let closed = false
    const closing = bus.close().then(() => {
      closed = true
    })
    await clock.advance(10)
    assert.equal(closed, false)
    assert.equal(spy.of('close').length, 0)
    finish()
    await closing
    assert.equal(worker.state, 'stopped')
    assert.deepEqual(
      spy.calls.map(({ member }) => member).filter((member) => member === 'settle' || member === 'close'),
      ['settle', 'close'],
    )
  })

  test('twice or at the same time is once', async () => {
    const { bus, spy } = scene()
    await Promise.all([bus.close(), bus.close()])
    await bus.close()
    assert.equal(spy.of('close').length, 1)
  })

  test('happens at the end of its block', async () => {
    const { bus, spy } = scene()
    {
      await using open = bus
      await open.queue('jobs').send(1)
    }
    assert.equal(spy.of('close').length, 1)
    await refusal(() => bus.queue('jobs').send(1), 'CLOSED')
  })

  test('lets go of workers that stopped before', async () => {
    const { bus } = scene()
    const jobs = bus.queue('jobs')
    await jobs.send(1)
    const worker = jobs.work(() => {})
    await worker.drain()
    let asked = 0
    worker.stop = async () => {
      asked++
    }
    await bus.close()
    assert.equal(asked, 0)
  })

  test('no worker can be started while it closes', async () => {
    const { bus } = scene()
    const closing = bus.close()
    await refusal(() => bus.queue('jobs').work(() => {}), 'CLOSED')
    await closing
  })
})

describe('connecting', () => {
  test('to memory', async () => {
    await using bus = await connect('memory:')
    await bus.queue('jobs').send(1)
    assert.equal(bus.engine.name, 'memory')
  })

  test.each([
    ['', 'the URL without a scheme is not known'],
    ['jobs', 'the URL without a scheme is not known'],
    ['mysql://user:hunter2@host/db', 'the URL scheme "mysql" is not known'],
    ['//user:hunter2@host', 'the URL without a scheme is not known'],
  ])('to %j is refused, without the password', async (url, message) => {
    const error = await refusal(() => connect(url), 'URL_INVALID')
    assert.equal(error.message, message)
    assert.doesNotMatch(JSON.stringify(error), /hunter2/)
  })

  test('with what is no URL or no logger is refused', async () => {
    assert.match((await refusal(() => connect(5 as unknown as string), 'TYPE')).message, /^url is 5/)
    const logger = { info() {} } as never
    assert.match((await refusal(() => connect('memory:', { logger }), 'TYPE')).message, /^logger is an object; .*debug/)
  })
})

describe('a bus in memory for tests', () => {
  test('has a storage of its own', async () => {
    await using one = memoryBus()
    await using other = memoryBus()
    await one.queue('jobs').send(1)
    assert.deepEqual(await other.queues(), [])
    assert(one instanceof Bus && one.engine.name === 'memory')
  })

  test('takes its time from the clock that it is given', async () => {
    const clock = new FakeClock()
    await using bus = memoryBus({ clock })
    const jobs = bus.queue('jobs')
    await jobs.send('later', { delay: '1h', meta: { version: '2' } })
    await jobs.send('at noon', { at: '2026-01-01T12:00:00Z' })
    assert.deepEqual(await jobs.read(), [])
    await clock.advance(3_600_000)
    const [later] = await jobs.read()
    assert.equal(later?.data, 'later')
    assert.deepEqual(later?.sentAt, new Date('2026-01-01T00:00:00Z'))
    const reading = jobs.read({ wait: '1h' })
    await clock.advance(3_600_000)
    assert.equal((await reading)[0]?.id, later?.id, 'the lease ran out meanwhile')
  })

  test('runs workers by that clock too', async () => {
    const clock = new FakeClock()
    await using bus = memoryBus({ clock })
    const jobs = bus.queue('jobs')
    await jobs.send('it')
    const times: number[] = []
    const startedAt = clock.now()
    let done = () => {}
    const finished = new Promise<void>((resolve) => {
      done = resolve
    })
    jobs.work(
      () => {
        times.push(clock.now() - startedAt)
        if (times.length < 3) throw new Error('not yet')
        done()
      },
      { backoff: '10s' },
    )
    for (let seconds = 0; seconds < 20; seconds++) {
      await settle(clock)
      await clock.advance(1_000)
    }
    await finished
    assert.deepEqual(times, [0, 10_000, 20_000])
  })
})

describe('closing', () => {
  test('what was sent in the same tick is stored first, with the queue that this takes', async () => {
    const { bus } = scene()
    await bus.queue('bound').create()
    await bus.bind('a.#', 'bound')
    const sending = Promise.all([
      bus.queue('new').send(1),
      bus.queue('new').sendBatch([{ data: 2 }]),
      bus.topic('news').publish(3),
      bus.publish('a.b', 4),
    ])
    await bus.close()
    const [id, [second], { offset }, copies] = await sending
    assert.deepEqual([[id, second!.id].sort(), offset, copies.length], [['1', '2'], 1, 1])
    await refusal(() => bus.queue('new').send(5), 'CLOSED')
  })
})
