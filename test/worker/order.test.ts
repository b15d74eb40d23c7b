import { TidingsError } from 'tidings/internal/core/errors'
import type { Message } from 'tidings/internal/messages/message'
import { retry, snooze } from 'tidings/internal/worker/outcome'
import type { HandlerContext } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { lostConnection, runUntil, Signal, scene, settleDown } from './support.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))

/** Calls in the order in which they began; fails the test if two overlap. */
function recorder(fails: (data: number, attempt: number) => boolean) {
  const calls: string[] = []
  let running = 0
  const handler = async ({ data }: Message<number>, { attempt }: HandlerContext) => {
    expect(++running).toBe(1)
    calls.push(`${data}.${attempt}`)
    await new Promise(setImmediate)
    running--
    if (fails(data, attempt)) throw new Error(`${data} fails`)
  }
  return { calls, handler }
}

describe('strict order', () => {
  test('one after the other, in the order of sending', async () => {
    const { bus, observe } = scene()
    const queue = bus.queue<number>('order')
    await queue.sendBatch(numbers(300))
    const { calls, handler } = recorder(() => false)
    await queue.work(handler, { concurrency: 1, observe }).drain()
    expect(calls).toEqual(numbers(300).map(({ data }) => `${data}.1`))
  })

  test('a failing message pauses the queue, is tried again first, and gives way when it is dead-lettered', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('pause')
    await queue.sendBatch(numbers(100))
    const { calls, handler } = recorder((data, attempt) => data === 60 || (data === 40 && attempt < 3))
    queue.work(handler, { concurrency: 1, maxAttempts: 4, backoff: '10s', observe })
    await runUntil(clock, watcher.until('succeeded', 99), 500)
    const expected = numbers(100).flatMap(({ data }) => {
      if (data === 40) return ['40.1', '40.2', '40.3']
      return data === 60 ? ['60.1', '60.2', '60.3', '60.4'] : [`${data}.1`]
    })
    expect(calls).toEqual(expected)
    expect(watcher.of('paused').map((event) => event.delayMs)).toEqual([10_000, 10_000, 10_000, 10_000, 10_000])
    await bus.close()
  })

  test('messages read ahead are given back for the pause, and no attempt is counted', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('given-back')
    await queue.sendBatch(numbers(200))
    const { handler } = recorder((data, attempt) => data === 150 && attempt === 1)
    const worker = queue.work(handler, { concurrency: 1, backoff: '1m', observe })
    const returned = watcher.until('returned')
    await watcher.until('paused')
    expect((await returned).count).toBeGreaterThan(0)
    expect(await queue.stats()).toMatchObject({ delayed: 1, leased: 0, ready: 49 })
    const waiting = await queue.peek({ place: 'ready', limit: 100 })
    expect(waiting.map((message) => message.readCount)).toEqual(waiting.map(() => 0))
    expect(worker.stats()).toMatchObject({ running: 0, buffered: 0 })
    await runUntil(clock, watcher.until('succeeded', 200), 1_000)
    await bus.close()
  })

  test('a new message does not break the pause, even one of higher priority', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('unbroken')
    await queue.send(1)
    const { calls, handler } = recorder((data, attempt) => data === 1 && attempt === 1)
    queue.work(handler, { concurrency: 1, backoff: '10s', observe })
    await watcher.until('paused')
    await queue.send(2, { priority: 9 })
    await settleDown(clock)
    await clock.advance(9_000)
    expect(calls).toEqual(['1.1'])
    await runUntil(clock, watcher.until('succeeded', 2))
    expect(calls).toEqual(['1.1', '1.2', '2.1'])
    await bus.close()
  })

  test('retry and snooze pause the queue, too', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('asked')
    await queue.sendBatch(numbers(3))
    const calls: string[] = []
    const handler = ({ data }: Message<number>, { attempt }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data === 0 && calls.length === 1) return snooze('1m')
      if (data === 1 && attempt === 1) return retry({ delay: '1m' })
    }
    const start = clock.now()
    queue.work(handler, { concurrency: 1, observe })
    await runUntil(clock, watcher.until('succeeded', 3), 1_000)
    expect(calls).toEqual(['0.1', '0.1', '1.1', '1.2', '2.1'])
    expect(clock.now() - start).toBeGreaterThanOrEqual(120_000)
    await bus.close()
  })

  test('the next message waits until the one before it is settled', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<number>('settled')
    await queue.sendBatch(numbers(2))
    server.trouble = (member) => (member === 'settle' ? lostConnection() : null)
    const { calls, handler } = recorder(() => false)
    queue.work(handler, { concurrency: 1, observe })
    await watcher.until('settleFailed')
    await settleDown(clock)
    expect(calls).toEqual(['0.1'])
    server.trouble = () => null
    await runUntil(clock, watcher.until('succeeded', 2))
    expect(calls).toEqual(['0.1', '1.1'])
    await bus.close()
  })

  test('a message whose lease was lost comes before the others again', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<number>('lost')
    await queue.sendBatch(numbers(5))
    server.trouble = (member) => (member === 'extend' ? lostConnection() : null)
    const calls: string[] = []
    const handler = async ({ data }: Message<number>, { attempt, signal }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data === 2 && attempt === 1)
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    }
    queue.work(handler, { concurrency: 1, observe })
    await runUntil(clock, watcher.until('succeeded', 5))
    expect(calls).toEqual(['0.1', '1.1', '2.1', '2.2', '3.1', '4.1'])
    expect(watcher.of('leaseLost')).toHaveLength(1)
    await bus.close()
  })

  test('messages given back for the pause are claimed again in their order, even after a long time', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<number>('slow-return')
    await queue.sendBatch(numbers(1_000))
    let away = false
    server.trouble = (member, args) => {
      if (!away || member !== 'settle') return null
      const isReturn = (args[1] as { uncount?: boolean }[]).every((settlement) => settlement.uncount === true)
      if (isReturn) away = false
      return isReturn ? lostConnection() : null
    }
    const { calls, handler } = recorder((data, attempt) => {
      if (data === 150) away = true
      return data === 150 && attempt === 1
    })
    queue.work(handler, { concurrency: 1, backoff: 10, observe })
    await runUntil(clock, watcher.until('succeeded', 1_000), 5)
    expect(calls).toEqual(numbers(1_000).flatMap(({ data }) => (data === 150 ? ['150.1', '150.2'] : [`${data}.1`])))
    await bus.close()
  })

  test('messages read ahead whose leases ran out in an interruption are handled in their order', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<number>('ran-out')
    await queue.sendBatch(numbers(200))
    const calls: string[] = []
    const handler = async ({ data }: Message<number>, { attempt, signal }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data === 150 && attempt === 1)
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    }
    const worker = queue.work(handler, { concurrency: 1, observe })
    await watcher.until('succeeded', 150)
    await settleDown(clock)
    expect(worker.stats().buffered).toBeGreaterThan(0)
    server.down = lostConnection()
    await runUntil(clock, watcher.until('leaseLost'))
    for (let ms = 0; ms < 3_000; ms += 100) await clock.advance(100)
    server.down = null
    await runUntil(clock, watcher.until('succeeded', 200))
    expect(calls).toEqual(numbers(200).flatMap(({ data }) => (data === 150 ? ['150.1', '150.2'] : [`${data}.1`])))
    await bus.close()
  })

  test('a claim under way when a message fails: its messages go back', async () => {
    const { bus, clock, engine, watcher, observe } = scene()
    const queue = bus.queue<number>('under-way')
    // Fast ones first, so that the worker has come to read ahead.
    await queue.sendBatch(numbers(100))
    const begun = new Signal()
    const fail = new Signal()
    const calls: string[] = []
    const handler = async ({ data }: Message<number>, { attempt }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data !== 99 || attempt > 1) return
      begun.resolve()
      await fail.promise
      throw new Error('once')
    }
    queue.work(handler, { concurrency: 1, backoff: '1s', observe })
    await begun.promise
    await settleDown(clock)
    const asked = new Signal()
    const answer = new Signal()
    const claim = engine.claim.bind(engine)
    engine.claim = async (...args) => {
      const result = await claim(...args)
      asked.resolve()
      await answer.promise
      return result
    }
    await queue.send(100)
    await asked.promise
    fail.resolve()
    await watcher.until('paused')
    answer.resolve()
    await runUntil(clock, watcher.until('succeeded', 101))
    expect(calls.slice(-3)).toEqual(['99.1', '99.2', '100.1'])
    await bus.close()
  })

  test('a new worker waits for a message that an earlier worker left in backoff', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('restart')
    await queue.send(99, { delay: '1h' })
    await queue.sendBatch(numbers(3))
    const { calls, handler } = recorder((data, attempt) => data === 0 && attempt === 1)
    const first = queue.work(handler, { concurrency: 1, backoff: '30s', observe })
    await watcher.until('paused')
    await first.stop()
    queue.work(handler, { concurrency: 1, observe })
    await settleDown(clock)
    expect(calls).toEqual(['0.1'])
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(calls).toEqual(['0.1', '0.2', '1.1', '2.1'])
    await bus.close()
  })

  test('a new worker waits for the lease of a killed process', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('killed')
    await queue.sendBatch(numbers(3))
    await queue.read({ lease: '4s' })
    const { calls, handler } = recorder(() => false)
    queue.work(handler, { concurrency: 1, observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(calls).toEqual(['0.2', '1.1', '2.1'])
    await bus.close()
  })

  test('a message that somebody else holds for long does not stop the queue for ever', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('held')
    await queue.sendBatch(numbers(3))
    await queue.read({ lease: '1h' })
    const { calls, handler } = recorder(() => false)
    queue.work(handler, { concurrency: 1, lease: '4s', observe })
    const start = clock.now()
    await runUntil(clock, watcher.until('succeeded', 2))
    expect(calls).toEqual(['1.1', '2.1'])
    expect(clock.now() - start).toBeLessThan(6_000)
    await bus.close()
  })

  test('a failed message that somebody removed during the pause does not stop the queue', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('removed')
    await queue.sendBatch(numbers(2))
    const { calls, handler } = recorder((data) => data === 0)
    queue.work(handler, { concurrency: 1, backoff: '5s', observe })
    const { ids } = await watcher.until('paused')
    expect((await queue.cancel(ids[0]!)).removed).toEqual([ids[0]])
    await runUntil(clock, watcher.until('succeeded'))
    expect(calls).toEqual(['0.1', '1.1'])
    await bus.close()
  })

  test('a message whose settlement was refused for good comes again, before the others', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<number>('refused')
    await queue.sendBatch(numbers(3))
    let refuse = true
    server.trouble = (member) => {
      if (member !== 'settle' || !refuse) return null
      refuse = false
      return new TidingsError('PERMISSION_DENIED', 'no right to delete')
    }
    const { calls, handler } = recorder(() => false)
    queue.work(handler, { concurrency: 1, observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(calls).toEqual(['0.1', '0.2', '1.1', '2.1'])
    await bus.close()
  })

  test('a message that the storage says is lost, but keeps under its lease, comes again before the others', async () => {
    const { bus, clock, engine, watcher, observe } = scene()
    const queue = bus.queue<number>('says-lost')
    await queue.sendBatch(numbers(3))
    engine.extend = async (_, leases) => leases.map(() => null)
    const calls: string[] = []
    const handler = async ({ data }: Message<number>, { attempt, signal }: HandlerContext) => {
      calls.push(`${data}.${attempt}`)
      if (data === 0 && attempt === 1)
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    }
    queue.work(handler, { concurrency: 1, observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(calls).toEqual(['0.1', '0.2', '1.1', '2.1'])
    await bus.close()
  })

  test('batches: messages that come again at different times are handled together, in order', async () => {
    const { bus, clock, engine, watcher, observe } = scene()
    const queue = bus.queue<number>('together')
    await queue.sendBatch(numbers(4))
    const settle = engine.settle.bind(engine)
    // The first message of the first batch stays under its lease for a while.
    engine.settle = async (name, [first, ...rest]) => {
      engine.settle = settle
      expect(first).toMatchObject({ id: '1' })
      return [{ settled: false, newId: null }, ...(await settle(name, rest))]
    }
    const calls: string[] = []
    const handler = (messages: Message<number>[]) => {
      calls.push(messages.map(({ data, readCount }) => `${data}.${readCount}`).join())
      if (calls.length === 1) throw new Error('once')
    }
    queue.workBatch(handler, { concurrency: 1, batchSize: 2, backoff: 10, observe })
    await runUntil(clock, watcher.until('succeeded', 4))
    expect(calls).toEqual(['0.1,1.1', '0.2,1.2', '2.1,3.1'])
    await bus.close()
  })

  test('batches: failed messages come again before new ones', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('batches')
    await queue.sendBatch(numbers(6))
    const calls: number[][] = []
    const handler = (messages: Message<number>[]) => {
      calls.push(messages.map((message) => message.data))
      return messages.map(({ data, readCount }) => (data % 2 === 0 && readCount === 1 ? retry() : undefined))
    }
    queue.workBatch(handler, { concurrency: 1, batchSize: 3, backoff: '1s', observe })
    await runUntil(clock, watcher.until('succeeded', 6))
    expect(calls).toEqual([[0, 1, 2], [0, 2], [3, 4, 5], [4]])
    await bus.close()
  })
})
