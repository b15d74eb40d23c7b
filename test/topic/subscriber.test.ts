import assert from 'node:assert/strict'
import { sleep } from 'tidings/internal/core/clock'
import { TidingsError } from 'tidings/internal/core/errors'
import type { StandardSchemaV1 } from 'tidings/internal/core/schema'
import { deadLetter, retry, snooze } from 'tidings/internal/worker/outcome'
import { describe, test } from 'vitest'
import { lostConnection, runUntil, Signal, settleDown } from '../worker/support.ts'
import { otherBus, publishMany, scene } from './support.ts'

/** A promise that nobody resolves: a handler that hangs, or a process that was killed. */
const never = new Promise<void>(() => {})

describe('handling', () => {
  test('gives every message to the handler, in order, and moves the cursor past it', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 250)
    const got: unknown[] = []
    const payroll = news.subscribe('payroll', (message) => void got.push(message.data), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('succeeded', 250))
    await news.publish(251)
    await runUntil(clock, watcher.until('succeeded', 251))
    await payroll.stop()
    assert.deepEqual(
      got,
      Array.from({ length: 251 }, (_, index) => index + 1),
    )
    const state = await news.subscription('payroll').state()
    assert.deepEqual([state.cursor, state.lag, state.consumer], [251, 0, null])
    assert.equal(payroll.stats().succeeded, 251)
  })

  test('handles one message at a time', async () => {
    const { clock, news } = scene()
    await publishMany(news, 5)
    let running = 0
    const payroll = news.subscribe(
      'payroll',
      async () => {
        assert.equal(++running, 1)
        await sleep(clock, 10)
        running--
      },
      { from: 'earliest' },
    )
    await runUntil(clock, payroll.drain())
    assert.equal(payroll.stats().succeeded, 5)
  })

  test('tells the handler of the message and its call', async () => {
    const { clock, bus } = scene()
    const news = bus.topic<{ name: string }>('news')
    await news.publish({ name: 'Ada' }, { meta: { targetId: 'p-1' }, headers: { tenant: 'acme' } })
    const seen: object[] = []
    const payroll = news.subscribe(
      'payroll',
      (message, { logger: _, signal, ...context }) => {
        seen.push({ ...message }, context, { aborted: signal.aborted })
      },
      { from: 'earliest', maxAttempts: 3 },
    )
    await runUntil(clock, payroll.drain())
    assert.deepEqual(seen, [
      {
        topic: 'news',
        offset: 1,
        data: { name: 'Ada' },
        meta: { targetId: 'p-1' },
        headers: { tenant: 'acme' },
        publishedAt: new Date(clock.now()),
        subscription: 'payroll',
        redelivered: false,
      },
      { topic: 'news', subscription: 'payroll', attempt: 1, maxAttempts: 3 },
      { aborted: false },
    ])
  })

  test('begins with new messages by default, and continues at its last position', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 3)
    const got: number[] = []
    const first = news.subscribe('payroll', ({ offset }) => void got.push(offset), { observe })
    await runUntil(clock, watcher.until('idle'))
    await news.publish('new')
    await runUntil(clock, watcher.until('succeeded'))
    await first.stop()
    await news.publish('newer')
    const second = news.subscribe('payroll', ({ offset }) => void got.push(offset), { from: 'earliest' })
    await runUntil(clock, second.drain())
    assert.deepEqual(got, [4, 5])
  })

  test('groups acknowledgements, and sends them within 100 ms', async () => {
    const { clock, news, server, watcher, observe } = scene()
    await publishMany(news, 100)
    const slow = new Signal()
    const payroll = news.subscribe('payroll', ({ offset }) => (offset === 41 ? slow.promise : sleep(clock, 10)), {
      from: 'earliest',
      observe,
    })
    await runUntil(clock, watcher.until('started', 41), 10)
    const early = watcher.of('acked').length
    assert(early >= 3 && early <= 6, `${early} times in 400 ms`)
    await clock.advance(100)
    assert.equal((await news.subscription('payroll').state()).cursor, 40)
    slow.resolve()
    await runUntil(clock, payroll.drain())
    assert.equal((await news.subscription('payroll').state()).cursor, 100)
    assert.equal(watcher.of('acked').length, server.countOf('ack'))
  })
})

describe('a storage that is away', () => {
  test('the number of handled but unacknowledged messages is bounded, and they are acknowledged after an outage', async () => {
    const { clock, news, server, watcher, observe } = scene()
    await publishMany(news, 500)
    server.trouble = (member) => (member === 'ack' ? lostConnection() : null)
    const payroll = news.subscribe('payroll', () => {}, { from: 'earliest', readAhead: 10, observe })
    await runUntil(clock, watcher.until('interrupted'))
    await clock.advance(60_000)
    assert.equal(payroll.stats().started, 10)
    server.trouble = () => null
    await runUntil(clock, payroll.drain())
    assert.equal(payroll.stats().started, 500)
    assert.equal((await news.subscription('payroll').state()).cursor, 500)
  })

  test.each(['CONNECTION_LOST', 'OUTCOME_UNKNOWN', 'STORAGE_FULL', 'STORAGE_FAILED', 'PERMISSION_DENIED'] as const)(
    'a sleeping subscriber goes on after %s, at most 2 s after it is back',
    async (code) => {
      const { clock, bus, news, server, watcher, observe, log } = scene()
      news.subscribe('payroll', () => {}, { from: 'earliest', observe })
      await runUntil(clock, watcher.until('idle'))
      server.down = new TidingsError(code, 'trouble')
      await runUntil(clock, watcher.until('interrupted'))
      await clock.advance(30_000)
      server.down = null
      const back = clock.now()
      await news.publish('x')
      await runUntil(clock, watcher.until('succeeded'))
      assert(clock.now() - back <= 2_000, `${clock.now() - back} ms`)
      assert.equal(log.lines.filter(({ text }) => text === 'the storage fails; trying again').length, 1)
      await bus.close()
    },
  )

  test('calls to a storage that is away are rare', async () => {
    const { clock, bus, news, server, watcher, observe } = scene()
    server.down = lostConnection()
    news.subscribe('payroll', () => {}, { observe })
    await runUntil(clock, watcher.until('interrupted'))
    // That of the process which listens is tried again by itself.
    const calls = () => server.calls.filter(({ member }) => member !== 'listen').length
    const before = calls()
    await clock.advance(10_000)
    assert(calls() - before < 16, `${calls() - before} calls`)
    server.down = null
    await runUntil(clock, bus.close())
  })
})

describe('failing', () => {
  test('tries again in place, so that the order is kept', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 3)
    const got: string[] = []
    const payroll = news.subscribe(
      'payroll',
      ({ offset, redelivered }, { attempt }) => {
        got.push(`${offset}.${attempt}${redelivered ? ' again' : ''}`)
        if (offset === 2 && attempt < 3) throw new Error('not yet')
      },
      { from: 'earliest', backoff: '1s', observe },
    )
    const startedAt = clock.now()
    await runUntil(clock, payroll.drain(), 10)
    assert.deepEqual(got, ['1.1', '2.1', '2.2', '2.3', '3.1'])
    assert(clock.now() - startedAt >= 2_000)
    assert.deepEqual(
      watcher.of('failed').map(({ attempt, retryMs }) => [attempt, retryMs]),
      [
        [1, 1_000],
        [2, 1_000],
      ],
    )
  })

  test('dead-letters at the last attempt, with the details in meta, and goes on', async () => {
    const { clock, bus, news, watcher, observe, log } = scene()
    await news.publish({ id: 7 }, { meta: { targetId: 'p-1' }, headers: { tenant: 'acme' } })
    await news.publish('next')
    const payroll = news.subscribe(
      'payroll',
      ({ offset }) => {
        if (offset === 1) throw new Error('broken')
      },
      { from: 'earliest', maxAttempts: 2, backoff: 10, observe },
    )
    await runUntil(clock, payroll.drain())
    const [letter] = await bus.queue('news_payroll_dlq').peek()
    assert.deepEqual(letter?.data, { id: 7 })
    assert.deepEqual(letter.headers, { tenant: 'acme' })
    const { stackTrace, ...meta } = letter.meta
    assert.match(String(stackTrace), /broken\n {4}at /)
    assert.deepEqual(meta, {
      targetId: 'p-1',
      queueName: 'news_payroll_dlq',
      errorMessage: 'broken',
      originTopic: 'news',
      originSubscription: 'payroll',
      originOffset: 1,
      attempts: 2,
      deadLetteredAt: letter.sentAt.toISOString(),
    })
    assert.equal((await news.subscription('payroll').state()).cursor, 2)
    assert.deepEqual(
      watcher.of('deadLettered').map(({ message, queue, id }) => [message.offset, queue, id]),
      [[1, 'news_payroll_dlq', letter.id]],
    )
    assert(log.lines.some(({ level, text }) => level === 'error' && text === 'a message was dead-lettered'))
  })

  test('does not pass a message that could not be kept', async () => {
    const { clock, bus, news, server, watcher, observe } = scene()
    await publishMany(news, 2)
    server.trouble = (member) => (member === 'send' ? lostConnection() : null)
    const first = news.subscribe('payroll', () => deadLetter('no'), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('interrupted'))
    await clock.advance(10_000)
    assert.equal((await news.subscription('payroll').state()).cursor, 0)
    await runUntil(clock, first.stop())
    assert.equal((await news.subscription('payroll').state()).cursor, 0)
    server.trouble = () => null
    await runUntil(clock, news.subscribe('payroll', () => deadLetter('no')).drain())
    assert.deepEqual(
      (await bus.queue('news_payroll_dlq').peek()).map(({ meta }) => meta.originOffset),
      [1, 2],
    )
  })

  test('a dead letter whose answer was lost is stored once', async () => {
    const { clock, bus, news, server, watcher, observe } = scene()
    await news.publish(1)
    await bus.queue('news_payroll_dlq').create()
    const send = server.memory.send.bind(server.memory)
    server.memory.send = async (...args) => {
      server.memory.send = send
      await send(...args)
      throw lostConnection()
    }
    const payroll = news.subscribe('payroll', () => deadLetter('no'), { from: 'earliest', observe })
    await runUntil(clock, payroll.drain())
    assert.equal(watcher.of('interrupted').length, 1)
    assert.equal((await bus.queue('news_payroll_dlq').stats()).ready, 1)
  })

  test('with deadLetter: false it stops at the message', async () => {
    const { clock, bus, news, watcher, observe, log } = scene()
    await publishMany(news, 3)
    const got: number[] = []
    const payroll = news.subscribe(
      'payroll',
      ({ offset }) => {
        got.push(offset)
        if (offset === 2) throw new Error('broken')
      },
      { from: 'earliest', maxAttempts: 2, backoff: 10, deadLetter: false, observe },
    )
    await runUntil(clock, payroll.finished)
    assert.deepEqual(got, [1, 2, 2])
    assert.equal((payroll.failure as Error).message, 'broken')
    assert.equal(watcher.of('stopped')[0]?.error, payroll.failure)
    assert(log.lines.some(({ level, text }) => level === 'error' && text === 'stopped by itself'))
    const { cursor, consumer } = await news.subscription('payroll').state()
    assert.deepEqual([cursor, consumer], [1, null])
    assert.deepEqual(await bus.queues(), [])
  })

  test('invalid data is dead-lettered at once; a schema that fails is called again', async () => {
    const { clock, bus, news, watcher, observe } = scene()
    for (const data of ['a', 5, 'b']) await news.publish(data)
    let isAway = true
    const validate = async (data: unknown) => {
      if (data === 'b' && isAway) throw new Error('the table of names is away')
      return typeof data === 'string' ? { value: data } : { issues: [{ message: 'is no text' }] }
    }
    const text: StandardSchemaV1<string> = { '~standard': { version: 1, vendor: 'test', validate } }
    const got: string[] = []
    const strict = bus.topic('news', { schema: text })
    const payroll = strict.subscribe('payroll', ({ data }) => void got.push(data), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('failed'))
    isAway = false
    await runUntil(clock, payroll.drain())
    assert.deepEqual(got, ['a', 'b'])
    assert.deepEqual(
      watcher.of('failed').map(({ message, error }) => [message.offset, (error as Error).message]),
      [[3, 'the table of names is away']],
    )
    assert.deepEqual(
      (await bus.queue('news_payroll_dlq').peek()).map(({ data, meta }) => [data, meta.attempts]),
      [[5, 1]],
    )
  })

  test('outcomes decide', async () => {
    const { clock, bus, news, watcher, observe } = scene()
    await publishMany(news, 3)
    const got: string[] = []
    const payroll = news.subscribe(
      'payroll',
      ({ offset }, { attempt }) => {
        got.push(`${offset}.${attempt}`)
        if (offset === 1 && got.length === 1) return snooze('1m')
        if (offset === 2) return deadLetter('never')
        return offset === 3 && attempt === 1 ? retry({ delay: '2m', reason: 'later' }) : undefined
      },
      { from: 'earliest', observe },
    )
    const startedAt = clock.now()
    await runUntil(clock, payroll.drain(), 1_000)
    assert.deepEqual(got, ['1.1', '1.1', '2.1', '3.1', '3.2'])
    assert(clock.now() - startedAt >= 180_000)
    assert.equal((await bus.queue('news_payroll_dlq').peek())[0]?.meta.errorMessage, 'never')
    assert.deepEqual([watcher.of('snoozed').length, watcher.of('failed')[0]?.error], [1, 'later'])
  })

  test('a backoff that answers nonsense costs a second and a warning', async () => {
    const { clock, news, watcher, observe, log } = scene()
    await news.publish(1)
    const backoff = () => Number.NaN
    const payroll = news.subscribe('payroll', (_, { attempt }) => (attempt === 1 ? Promise.reject(1) : undefined), {
      from: 'earliest',
      backoff,
      observe,
    })
    await runUntil(clock, payroll.drain())
    assert.equal(watcher.of('failed')[0]?.retryMs, 1_000)
    assert(log.lines.some(({ level, text }) => level === 'warn' && /backoff/.test(text)))
  })

  test('an observer that throws is no failure', async () => {
    const { clock, news, log } = scene()
    await news.publish(1)
    const observe = () => {
      throw new Error('my own')
    }
    const payroll = news.subscribe('payroll', () => {}, { from: 'earliest', observe })
    await runUntil(clock, payroll.drain())
    assert.equal(payroll.stats().succeeded, 1)
    assert(log.lines.some(({ text }) => /the observer or the logger threw/.test(text)))
  })
})

describe('one at a time', () => {
  test('of two subscribers one is active, and the other takes over when the first stops', async () => {
    const here = scene()
    const { clock, news, watcher, observe } = here
    const there = otherBus(here)
    const got: string[] = []
    const first = news.subscribe('payroll', ({ offset }) => void got.push(`first ${offset}`), { observe })
    await runUntil(clock, watcher.until('held'))
    const options = { observe: there.watcher.observe }
    const second = there.news.subscribe('payroll', ({ offset }) => void got.push(`second ${offset}`), options)
    await runUntil(clock, there.watcher.until('standingBy'))
    assert.deepEqual([first.stats().active, second.stats().active], [true, false])
    await news.publish(1)
    await runUntil(clock, watcher.until('succeeded'))
    await clock.advance(60_000)
    await first.stop()
    // Woken, and not by the slow poll.
    await settleDown(clock)
    assert.equal(there.watcher.of('held').length, 1)
    await news.publish(2)
    await runUntil(clock, there.watcher.until('succeeded'))
    await second.stop()
    assert.deepEqual(got, ['first 1', 'second 2'])
    assert.equal(there.watcher.of('standingBy').length, 1)
  })

  test('takes over within 2 s of a kill, after the last acknowledged message', async () => {
    const here = scene()
    const { clock, news, server, watcher, observe } = here
    const there = otherBus(here)
    await publishMany(news, 5)
    const got: number[] = []
    news.subscribe('payroll', ({ offset }) => (offset === 3 ? never : undefined), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('acked'))
    await clock.advance(60_000)
    const second = there.news.subscribe('payroll', ({ offset }) => void got.push(offset))
    await settleDown(clock)
    assert.equal(got.length, 0)
    await runUntil(clock, second.drain())
    assert.equal(second.stats().succeeded, 0, 'drain does not wait for what another one has')
    const killedAt = clock.now()
    const third = there.news.subscribe('payroll', ({ offset }) => void got.push(offset), {
      observe: there.watcher.observe,
    })
    await runUntil(clock, there.watcher.until('standingBy'))
    await server.kill()
    await runUntil(clock, there.watcher.until('succeeded', 3), 50)
    assert(clock.now() - killedAt <= 2_000, `${clock.now() - killedAt} ms`)
    await third.stop()
    assert.deepEqual(got, [3, 4, 5])
  })

  test('keeps the subscription while the handler runs, and while there is nothing to do', async () => {
    const here = scene()
    const { clock, news, watcher, observe } = here
    await news.publish(1)
    const slow = new Signal()
    const first = news.subscribe('payroll', () => slow.promise, { from: 'earliest', observe })
    await runUntil(clock, watcher.until('started'))
    const there = otherBus(here)
    const second = there.news.subscribe('payroll', () => {}, { observe: there.watcher.observe })
    for (let minute = 0; minute < 10; minute++) await clock.advance(60_000)
    slow.resolve()
    await runUntil(clock, watcher.until('idle'))
    for (let minute = 0; minute < 10; minute++) await clock.advance(60_000)
    assert.equal(there.watcher.of('held').length, 0)
    assert.equal(watcher.of('holdLost').length, 0)
    await Promise.all([second.stop(), first.stop()])
  })

  test('a lost hold aborts the handler, discards messages read ahead and begins anew', async () => {
    const here = scene()
    const { clock, news, server, watcher, observe } = here
    await publishMany(news, 3)
    const got: string[] = []
    const hang = new Signal()
    const first = news.subscribe(
      'payroll',
      async ({ offset, redelivered }, { signal }) => {
        got.push(`${offset}${redelivered ? ' again' : ''}`)
        if (offset !== 2 || redelivered) return
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        got.push(signal.reason.code)
        await hang.promise
      },
      { from: 'earliest', observe },
    )
    await runUntil(clock, watcher.until('started', 2))
    await clock.advance(200)
    // The process is away from the storage for longer than its lease, and somebody else comes.
    server.down = lostConnection()
    await runUntil(clock, watcher.until('holdLost'))
    const there = otherBus(here)
    const other = there.news.subscribe('payroll', () => {}, { observe: there.watcher.observe })
    await runUntil(clock, there.watcher.until('acked', 1))
    await news.publish(4).catch(() => {})
    server.down = null
    await there.news.seek(2)
    await other.stop()
    hang.resolve()
    await runUntil(clock, first.drain())
    assert.deepEqual(got, ['1', '2', 'LEASE_LOST', '2 again', '3'])
    assert.equal(first.stats().holdLost, 1)
  })

  test('a takeover is noticed while the handler runs', async () => {
    const here = scene()
    const { clock, news, server, watcher, observe } = here
    await news.publish(1)
    const aborted = new Signal<unknown>()
    const first = news.subscribe(
      'payroll',
      (_, { signal }) =>
        new Promise<void>((resolve) =>
          signal.addEventListener('abort', () => {
            aborted.resolve(signal.reason)
            resolve()
          }),
        ),
      { from: 'earliest', lease: '1h', observe },
    )
    await runUntil(clock, watcher.until('started'))
    // As if the storage had given the lease up early.
    const { topics } = server.memory
    const hold = topics!.hold.bind(topics)
    topics!.hold = async () => ({ held: false, retryMs: 3_600_000 })
    await runUntil(clock, watcher.until('holdLost'), 60_000)
    assert.equal(((await aborted.promise) as { code: string }).code, 'LEASE_LOST')
    await settleDown(clock)
    assert.equal(first.stats().succeeded, 0)
    topics!.hold = hold
    await first.stop()
  })
})

describe('moving', () => {
  test('a seek discards messages read ahead, continues at the new position, and lets the handler finish', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 5)
    const got: string[] = []
    const slow = new Signal()
    let wasAborted = true
    const payroll = news.subscribe(
      'payroll',
      async ({ offset, redelivered }, { signal }) => {
        got.push(`${offset}${redelivered ? ' again' : ''}`)
        if (offset !== 3 || redelivered) return
        await slow.promise
        wasAborted = signal.aborted
      },
      { from: 'earliest', observe },
    )
    await runUntil(clock, watcher.until('started', 3))
    assert.equal(await news.seek(2), 1)
    await runUntil(clock, watcher.until('moved'))
    slow.resolve()
    await runUntil(clock, payroll.drain())
    assert.equal(wasAborted, false)
    assert.deepEqual(got, ['1', '2', '3', '2 again', '3 again', '4', '5'])
    assert.equal(payroll.stats().holdLost, 0)
  })

  test('a seek back wakes a consumer that has nothing to do', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 3)
    const got: number[] = []
    const payroll = news.subscribe('payroll', ({ offset }) => void got.push(offset), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('idle'))
    await news.subscription('payroll').rollBack(2)
    await settleDown(clock, 100)
    assert.deepEqual(got, [1, 2, 3, 2, 3])
    await payroll.stop()
  })

  test('a seek ends the pause before another attempt', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 3)
    const got: number[] = []
    const payroll = news.subscribe(
      'payroll',
      ({ offset }) => {
        got.push(offset)
        if (offset === 1) throw new Error('broken')
      },
      { from: 'earliest', backoff: '1h', observe },
    )
    await runUntil(clock, watcher.until('failed'))
    await news.seek(3)
    await runUntil(clock, watcher.until('succeeded'))
    assert.deepEqual(got, [1, 3])
    await payroll.stop()
  })

  test('a subscription that was removed is made again, and so is its topic', async () => {
    const { clock, news, watcher, observe } = scene()
    const got: unknown[] = []
    const payroll = news.subscribe('payroll', ({ data }) => void got.push(data), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('idle'))
    await news.drop()
    await news.publish('after')
    await runUntil(clock, watcher.until('succeeded'))
    // Perhaps once more, if it was read before the loss was noticed.
    await clock.advance(60_000)
    const before = got.length
    assert.deepEqual(new Set(got), new Set(['after']))
    await news.subscription('payroll').delete()
    await runUntil(clock, watcher.until('succeeded', before + 1))
    assert.deepEqual(new Set(got), new Set(['after']))
    await payroll.stop()
  })

  test('messages that were removed before they were read are reported', async () => {
    const { clock, bus, server, watcher, observe, log } = scene()
    const news = bus.topic('news', { retention: { maxAge: '1m' } })
    await news.subscription('payroll').create({ from: 'earliest' })
    await publishMany(news, 3)
    await clock.advance(120_000)
    await server.memory.maintain({ kind: 'due' })
    await news.publish('kept')
    assert.equal((await news.subscription('payroll').state()).missed, 3)
    const got: number[] = []
    const payroll = news.subscribe('payroll', ({ offset }) => void got.push(offset), { observe })
    await runUntil(clock, payroll.drain())
    assert.deepEqual(got, [4])
    assert.deepEqual(
      watcher.of('missed').map(({ count, before }) => [count, before]),
      [[3, 4]],
    )
    assert(log.lines.some(({ level, text }) => level === 'warn' && /removed before/.test(text)))
  })
})
