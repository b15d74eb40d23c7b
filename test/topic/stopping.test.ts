import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { refusal } from '../queue/support.ts'
import { lostConnection, runUntil, Signal, settleDown } from '../worker/support.ts'
import { otherBus, publishMany, scene } from './support.ts'

describe('stopping', () => {
  test('lets the handler finish, begins nothing more, and leaves', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 3)
    const slow = new Signal()
    const payroll = news.subscribe('payroll', () => slow.promise, { from: 'earliest', observe })
    await runUntil(clock, watcher.until('started'))
    const stopping = payroll.stop()
    await clock.advance(20_000)
    assert.equal(payroll.state, 'stopping')
    slow.resolve()
    await runUntil(clock, stopping)
    assert.deepEqual([payroll.state, watcher.of('started').length, watcher.of('stopped').length], ['stopped', 1, 1])
    const { cursor, consumer } = await news.subscription('payroll').state()
    assert.deepEqual([cursor, consumer], [1, null])
    assert.equal(clock.pending, 0, 'no timer is left')
  })

  test('at the deadline it aborts the handler, and the message comes again', async () => {
    const here = scene()
    const { clock, news, watcher, observe } = here
    await publishMany(news, 2)
    const hanging = new Signal()
    let reason: unknown
    const payroll = news.subscribe(
      'payroll',
      async ({ offset }, { signal }) => {
        if (offset === 1) return
        signal.addEventListener('abort', () => {
          reason = signal.reason
        })
        await hanging.promise
      },
      { from: 'earliest', observe },
    )
    await runUntil(clock, watcher.until('started', 2))
    const startedAt = clock.now()
    await runUntil(clock, payroll.stop({ deadline: '5s' }), 10)
    assert(clock.now() - startedAt <= 5_200)
    assert.equal((reason as { code: string }).code, 'STOPPED')
    const { cursor, consumer } = await news.subscription('payroll').state()
    assert.deepEqual([cursor, consumer], [1, null])
    // What it does later counts for nothing.
    hanging.resolve()
    await settleDown(clock)
    assert.equal((await news.subscription('payroll').state()).cursor, 1)
  })

  test('a second stop can only bring the deadline forward', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 1)
    const payroll = news.subscribe('payroll', () => new Promise(() => {}), { from: 'earliest', observe })
    await runUntil(clock, watcher.until('started'))
    const startedAt = clock.now()
    const both = Promise.all([payroll.stop({ deadline: '10m' }), payroll.stop({ deadline: '1s' })])
    await runUntil(clock, both, 10)
    assert(clock.now() - startedAt <= 1_200)
    await payroll.stop()
    await payroll.start()
    assert.equal(payroll.state, 'stopped')
  })

  test('does not wait for a storage that is away, beyond the deadline', async () => {
    const { clock, news, server, watcher, observe } = scene()
    await publishMany(news, 1)
    const slow = new Signal()
    const payroll = news.subscribe('payroll', () => slow.promise, { from: 'earliest', observe })
    await runUntil(clock, watcher.until('started'))
    server.down = lostConnection()
    slow.resolve()
    await runUntil(clock, watcher.until('succeeded'))
    const startedAt = clock.now()
    await runUntil(clock, payroll.stop({ deadline: '5s' }), 10)
    assert(clock.now() - startedAt <= 6_500, `${clock.now() - startedAt} ms`)
    await clock.advance(5_000)
    const before = server.calls.length
    await clock.advance(60_000)
    assert.equal(server.calls.length, before, 'it tries no more')
  })

  test('ends a pause before another attempt', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 1)
    const fail = () => Promise.reject(new Error('broken'))
    const payroll = news.subscribe('payroll', fail, { from: 'earliest', backoff: '1h', observe })
    await runUntil(clock, watcher.until('failed'))
    await runUntil(clock, payroll.stop(), 1)
    assert.equal((await news.subscription('payroll').state()).cursor, 0)
  })

  test('while the subscriber stands by', async () => {
    const here = scene()
    const { clock, news, watcher, observe } = here
    const first = news.subscribe('payroll', () => {}, { observe })
    await runUntil(clock, watcher.until('held'))
    const there = otherBus(here)
    const second = there.news.subscribe('payroll', () => {}, { observe: there.watcher.observe })
    await runUntil(clock, there.watcher.until('standingBy'))
    await runUntil(clock, second.stop(), 1)
    assert.notEqual((await news.subscription('payroll').state()).consumer, null)
    await first.stop()
  })

  test('by a signal, by await using, and with the bus', async () => {
    const { clock, bus, news, watcher, observe } = scene()
    const stop = new AbortController()
    const bySignal = news.subscribe('a', () => {}, { signal: stop.signal })
    const byBus = news.subscribe('b', () => {}, { observe })
    {
      await using byUsing = news.subscribe('c', () => {})
      assert.equal(byUsing.state, 'running')
    }
    assert.equal((await news.subscription('c').state()).consumer, null)
    await runUntil(clock, watcher.until('idle'))
    stop.abort()
    await runUntil(clock, bySignal.finished)
    assert.equal(byBus.state, 'running')
    await runUntil(clock, bus.close())
    assert.equal(byBus.state, 'stopped')
    assert.equal(clock.pending, 0)
    await refusal(() => news.subscribe('a', () => {}), 'CLOSED')
  })

  test('an ephemeral subscription is removed', async () => {
    const { clock, news, watcher, observe } = scene()
    const cache = news.subscribe('cache-1', () => {}, { ephemeral: true, observe })
    await runUntil(clock, watcher.until('held'))
    assert.equal((await news.subscriptions()).length, 1)
    await cache.stop()
    assert.deepEqual(await news.subscriptions(), [])
  })

  test('the dead letters of an ephemeral subscription go to the queue of the topic', async () => {
    const { news } = scene()
    const name = 'x'.repeat(47)
    const cache = news.subscribe(name, () => {}, { ephemeral: true })
    assert.equal(cache.deadLetterQueue, 'news_dlq')
    await cache.stop()
  })
})

describe('draining', () => {
  test('ends when there is nothing to read', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 250)
    const payroll = news.subscribe('payroll', () => {}, { from: 'earliest', readAhead: 7, observe })
    await runUntil(clock, payroll.drain())
    assert.deepEqual([payroll.state, payroll.stats().succeeded], ['stopped', 250])
    assert.equal(watcher.of('drained').length, 1)
  })

  test('ends a sleeping subscriber', async () => {
    const { clock, news, watcher, observe } = scene()
    const payroll = news.subscribe('payroll', () => {}, { observe })
    await runUntil(clock, watcher.until('idle'))
    const before = clock.now()
    await settleDown(clock)
    const draining = payroll.drain()
    await settleDown(clock, 50)
    await draining
    assert.equal(clock.now(), before, 'it needed no time')
  })

  test('waits for messages that are tried again', async () => {
    const { clock, news } = scene()
    await publishMany(news, 1)
    const handler = (_: unknown, { attempt }: { attempt: number }) => {
      if (attempt === 1) throw new Error('not yet')
    }
    const payroll = news.subscribe('payroll', handler, { from: 'earliest', backoff: '1m' })
    await runUntil(clock, payroll.drain())
    assert.equal(payroll.stats().succeeded, 1)
  })
})
