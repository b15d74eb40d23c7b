import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { z } from 'zod'
import { refusal } from '../queue/support.ts'
import { lostConnection, runUntil, settleDown } from '../worker/support.ts'
import { otherBus, publishMany, scene } from './support.ts'

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const message of messages) all.push(message)
  return all
}

describe('a loop over a topic', () => {
  test('gets messages, each of which is acknowledged when the loop asks for the next', async () => {
    const { clock, news } = scene()
    await publishMany(news, 3)
    const payroll = news.subscription('payroll')
    const work = async () => {
      for await (const message of news.consume('payroll', { from: 'earliest' })) {
        if (message.offset === 3) break
      }
    }
    await runUntil(clock, work())
    const { cursor, consumer } = await payroll.state()
    assert.deepEqual([cursor, consumer], [2, null])
  })

  test('an error in it leaves the message to be read again', async () => {
    const { clock, news } = scene()
    await publishMany(news, 3)
    const work = async () => {
      for await (const _ of news.consume('payroll', { from: 'earliest' })) throw new Error('broken')
    }
    await assert.rejects(runUntil(clock, work()), /broken/)
    const { cursor, consumer } = await news.subscription('payroll').state()
    assert.deepEqual([cursor, consumer], [0, null])
  })

  test('message.ack passes it at once', async () => {
    const { clock, news } = scene()
    await publishMany(news, 3)
    const acked: boolean[] = []
    const work = async () => {
      for await (const message of news.consume('payroll', { from: 'earliest' })) {
        acked.push(await message.ack())
        assert.equal((await news.subscription('payroll').state()).cursor, message.offset)
        break
      }
    }
    await runUntil(clock, work())
    assert.deepEqual(acked, [true])
  })

  test('an ack after a seek changes nothing', async () => {
    const { clock, news, observe } = scene()
    await publishMany(news, 3)
    const got: string[] = []
    const work = async () => {
      const options = { from: 'earliest', manualAck: true, untilEmpty: 1, wait: 0, observe } as const
      for await (const message of news.consume('payroll', options)) {
        got.push(`${message.offset}${message.redelivered ? ' again' : ''}`)
        if (message.offset !== 2 || message.redelivered) continue
        await news.seek(1)
        assert.equal(await message.ack(), false)
      }
    }
    await runUntil(clock, work())
    assert.deepEqual(got, ['1', '2', '1 again', '2 again', '3'])
    assert.equal((await news.subscription('payroll').state()).cursor, 0, 'moved by ack alone')
  })

  test('ends after so many empty reads, and leaves', async () => {
    const { clock, news, watcher, observe } = scene()
    await publishMany(news, 2)
    const startedAt = clock.now()
    const options = { from: 'earliest', untilEmpty: 3, wait: '1s', observe } as const
    const collecting = collect(news.consume('payroll', options))
    await runUntil(clock, watcher.until('idle'))
    await clock.advance(2_500)
    await news.publish('one more')
    const all = await runUntil(clock, collecting)
    assert.deepEqual(
      all.map(({ data }) => data),
      [1, 2, 'one more'],
    )
    const tookMs = clock.now() - startedAt
    assert(tookMs >= 5_500 && tookMs < 6_500, `${tookMs} ms`)
    const { cursor, consumer } = await news.subscription('payroll').state()
    assert.deepEqual([cursor, consumer], [3, null])
  })

  test('an ephemeral subscription is removed, however the loop ends', async () => {
    const { clock, news } = scene()
    await publishMany(news, 2)
    const options = { from: 'earliest', untilEmpty: 1, wait: 0, ephemeral: true } as const
    assert.equal((await runUntil(clock, collect(news.consume('one', options)))).length, 2)
    assert.deepEqual(await news.subscriptions(), [])
    const failing = async () => {
      for await (const _ of news.consume('two', options)) {
        assert.equal((await news.subscriptions()).length, 1)
        throw new Error('broken')
      }
    }
    await assert.rejects(runUntil(clock, failing()), /broken/)
    assert.deepEqual(await news.subscriptions(), [])
  })

  test('a signal ends it, and the message at hand is read', async () => {
    const { clock, news } = scene()
    await publishMany(news, 2)
    const stop = new AbortController()
    const work = async () => {
      for await (const _ of news.consume('payroll', { from: 'earliest', signal: stop.signal })) stop.abort()
    }
    await runUntil(clock, work())
    const { cursor, consumer } = await news.subscription('payroll').state()
    assert.deepEqual([cursor, consumer], [1, null])
    assert.deepEqual(await runUntil(clock, collect(news.consume('payroll', { signal: stop.signal }))), [])
  })

  test('closing the bus ends a loop that waits', async () => {
    const here = scene()
    const { clock } = here
    const collecting = collect(here.news.consume('payroll'))
    await settleDown(clock)
    assert.notEqual((await otherBus(here).news.subscription('payroll').state()).consumer, null)
    await here.bus.close().catch(() => {})
    assert.deepEqual(await runUntil(clock, collecting), [])
    await refusal(() => here.news.consume('payroll').next(), 'CLOSED')
  })

  test('stands by while another consumer has the subscription', async () => {
    const here = scene()
    const { clock, news } = here
    const there = otherBus(here)
    await publishMany(news, 2)
    const first = news.consume('payroll', { from: 'earliest' })
    assert.equal((await runUntil(clock, first.next())).value?.offset, 1)
    const second = there.news.consume('payroll', { observe: there.watcher.observe })
    const next = second.next()
    await runUntil(clock, there.watcher.until('standingBy'))
    await clock.advance(60_000)
    await runUntil(clock, first.return())
    assert.equal((await runUntil(clock, next)).value?.offset, 1)
    await runUntil(clock, second.return())
  })

  test('invalid data goes into the dead-letter queue', async () => {
    const { clock, bus, news } = scene()
    for (const data of ['a', 5, 'b']) await news.publish(data)
    const strict = bus.topic('news', { schema: z.string() })
    const options = { from: 'earliest', untilEmpty: 1, wait: 0 } as const
    const all = await runUntil(clock, collect(strict.consume('payroll', options)))
    assert.deepEqual(
      all.map(({ data }) => data),
      ['a', 'b'],
    )
    const letters = await bus.queue('news_payroll_dlq').peek()
    assert.deepEqual(
      letters.map(({ data, meta }) => [data, meta.originOffset]),
      [[5, 2]],
    )
    const halting = collect(strict.consume('other', { ...options, deadLetter: false }))
    await assert.rejects(runUntil(clock, halting), /data of message 2 in topic 'news' is invalid/)
    const { cursor, consumer } = await news.subscription('other').state()
    assert.deepEqual([cursor, consumer], [1, null])
  })

  test('survives an outage', async () => {
    const { clock, news, server, watcher, observe, log } = scene()
    await publishMany(news, 1)
    const collecting = collect(news.consume('payroll', { from: 'earliest', untilEmpty: 5, observe }))
    await runUntil(clock, watcher.until('idle'))
    server.down = lostConnection()
    await runUntil(clock, watcher.until('interrupted'))
    await clock.advance(60_000)
    server.down = null
    await news.publish(2)
    assert.equal((await runUntil(clock, collecting)).length, 2)
    assert.equal(watcher.of('interrupted').length, 1)
    assert.equal(watcher.of('resumed').length, 1)
    assert(log.lines.some(({ text }) => text === 'the storage works again'))
  })

  test('two next at once give two messages', async () => {
    const { clock, news } = scene()
    await publishMany(news, 2)
    const messages = news.consume('payroll', { from: 'earliest' })
    const both = await runUntil(clock, Promise.all([messages.next(), messages.next()]))
    assert.deepEqual(
      both.map(({ value }) => value?.offset),
      [1, 2],
    )
    await runUntil(clock, messages.return())
  })
})
