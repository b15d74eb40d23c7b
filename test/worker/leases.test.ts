import { Bus } from 'tidings/internal/bus/bus'
import type { Message } from 'tidings/internal/messages/message'
import type { HandlerContext } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { lostConnection, runUntil, Signal, scene, settleDown } from './support.ts'

/** A handler that waits for a signal of the test, and one for having been called. */
function waiting() {
  const begun = new Signal<HandlerContext>()
  const end = new Signal<unknown>()
  const handler = (_: Message<unknown>, context: HandlerContext) => {
    begun.resolve(context)
    return end.promise
  }
  return { begun, end, handler }
}

describe('leases', () => {
  test('a lease is renewed for as long as the handler runs, and nobody else gets the message', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('long')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    queue.work(handler, { observe })
    const { signal } = await begun.promise
    for (let second = 0; second < 60; second++) {
      await clock.advance(1_000)
      expect(await queue.read()).toEqual([])
    }
    expect(signal.aborted).toBe(false)
    end.resolve(undefined)
    await watcher.until('succeeded')
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })
    await bus.close()
  })

  test('renewals of many messages travel together', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('grouped')
    await queue.sendBatch(Array.from({ length: 100 }, (_, data) => ({ data })))
    const { end, handler } = waiting()
    queue.work(handler, { concurrency: 100, observe })
    await watcher.until('started', 100)
    for (let ms = 0; ms < 40_000; ms += 100) await clock.advance(100)
    const calls = server.countOf('extend')
    expect(calls).toBeGreaterThan(2)
    expect(calls).toBeLessThan(6)
    end.resolve(undefined)
    await watcher.until('succeeded', 100)
    await bus.close()
  })

  test('a lost lease aborts the signal and the result does not count', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('lost')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    const worker = queue.work(handler, { observe })
    const { signal } = await begun.promise
    await queue.purge()
    await runUntil(clock, watcher.until('leaseLost'))
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' })
    end.resolve(undefined)
    await settleDown(clock)
    expect(watcher.of('succeeded')).toEqual([])
    expect(worker.stats()).toMatchObject({ leaseLost: 1, succeeded: 0, failed: 0, running: 0 })
    await bus.close()
  })

  test('a handler that asks for its signal only after the loss gets an aborted one', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('late')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    queue.work(handler, { observe })
    const context = await begun.promise
    await queue.purge()
    await runUntil(clock, watcher.until('leaseLost'))
    expect(context.signal.aborted).toBe(true)
    end.resolve(undefined)
    await bus.close()
  })

  test('a message whose lease ran out while the storage was away is delivered again; the first result is dropped', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('away')
    await queue.send('x')
    const attempts: number[] = []
    const handler = async (_: unknown, { attempt, signal }: HandlerContext) => {
      attempts.push(attempt)
      if (attempt === 1) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    }
    queue.work(handler, { observe })
    await watcher.until('started')
    server.down = lostConnection()
    await runUntil(clock, watcher.until('leaseLost'))
    server.down = null
    await runUntil(clock, watcher.until('succeeded'))
    expect(attempts).toEqual([1, 2])
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0 })
    await bus.close()
  })

  test('a renewal without an answer keeps no lease alive', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('unanswered')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    // One at a time, so that it does not claim the message itself.
    queue.work(handler, { concurrency: 1, observe })
    const { signal } = await begun.promise
    const answer = new Signal<(string | null)[]>()
    server.memory.extend = () => answer.promise
    await runUntil(clock, watcher.until('leaseLost'))
    answer.resolve([null])
    expect(signal.reason).toMatchObject({ code: 'LEASE_LOST' })
    expect(clock.now()).toBeGreaterThanOrEqual(50_000)
    end.resolve(undefined)
    await bus.close()
  })

  test('an interruption shorter than the lease goes unnoticed by the handler', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('short')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    queue.work(handler, { observe })
    const { signal } = await begun.promise
    for (let outage = 0; outage < 10; outage++) {
      server.down = lostConnection()
      for (let ms = 0; ms < 1_500; ms += 100) await clock.advance(100)
      server.down = null
      for (let ms = 0; ms < 1_500; ms += 100) await clock.advance(100)
    }
    expect(signal.aborted).toBe(false)
    end.resolve(undefined)
    await watcher.until('succeeded')
    expect(watcher.of('leaseLost')).toEqual([])
    await bus.close()
  })

  test('settling waits for the storage, even past the end of the lease, if nobody took the message', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('late-settle')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    const worker = queue.work(handler, { observe })
    await begun.promise
    server.down = lostConnection()
    end.resolve(undefined)
    await watcher.until('settleFailed')
    for (let ms = 0; ms < 30_000; ms += 500) await clock.advance(500)
    server.down = null
    await runUntil(clock, watcher.until('succeeded'))
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1, leaseLost: 0 })
    expect(watcher.of('settleFailed')).toHaveLength(1)
    await bus.close()
  })

  test('a settlement that comes too late is reported and does no harm', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue<string>('stolen')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    const worker = queue.work(handler, { concurrency: 2, observe })
    await begun.promise
    server.down = lostConnection()
    end.resolve(undefined)
    await watcher.until('settleFailed')
    const thief = new Bus(server.memory, { clock }).queue('stolen').read({ lease: '1h', wait: '1m' })
    await runUntil(clock, thief)
    server.down = null
    await runUntil(clock, watcher.until('leaseLost'))
    expect(worker.stats()).toMatchObject({ succeeded: 0, leaseLost: 1, outcomeUnknown: 0 })
    expect(await queue.stats()).toMatchObject({ leased: 1 })
    await bus.close()
  })

  test('a longer lease that the handler asked for is not shortened', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('longer')
    await queue.send('x')
    const end = new Signal()
    const handler = async (message: Message<unknown>) => {
      await message.extend('5m')
      await end.promise
    }
    queue.work(handler, { observe })
    await watcher.until('started')
    await settleDown(clock)
    for (let second = 0; second < 250; second++) await clock.advance(1_000)
    expect(server.countOf('extend')).toBe(1)
    for (let second = 0; second < 15; second++) await clock.advance(1_000)
    expect(server.countOf('extend')).toBeGreaterThan(1)
    expect(await queue.read()).toEqual([])
    end.resolve()
    await watcher.until('succeeded')
    await bus.close()
  })

  test('a clock that is set back does not stop the renewals', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('set-back')
    await queue.send('x')
    const { begun, end, handler } = waiting()
    let shiftMs = 0
    const now = clock.now.bind(clock)
    clock.now = () => now() + shiftMs
    queue.work(handler, { observe })
    const { signal } = await begun.promise
    shiftMs = -3_600_000
    const before = server.countOf('extend')
    for (let second = 0; second < 40; second++) await clock.advance(1_000)
    expect(server.countOf('extend') - before).toBeGreaterThanOrEqual(3)
    expect(signal.aborted).toBe(false)
    end.resolve(undefined)
    await watcher.until('succeeded')
    await bus.close()
  })

  test('slow handlers hoard nothing', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('slow')
    await queue.sendBatch(Array.from({ length: 50 }, (_, data) => ({ data })))
    const handler = () => new Promise<void>((resolve) => void clock.after(5_000, resolve))
    const worker = queue.work(handler, { concurrency: 3, observe })
    let most = 0
    const done = watcher.until('succeeded', 30).then(() => true)
    const watch = async () => {
      while (watcher.of('succeeded').length < 30) {
        most = Math.max(most, worker.stats().buffered)
        await clock.advance(100)
      }
    }
    await Promise.all([done, watch()])
    expect(most).toBe(0)
    await runUntil(clock, worker.stop())
  })

  test('a worker whose handlers become slow gives back messages read ahead', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('slower')
    await queue.sendBatch(Array.from({ length: 600 }, (_, data) => ({ data })))
    const handler = ({ data }: Message<number>) =>
      data < 300 ? undefined : new Promise<void>((resolve) => void clock.after(60_000, resolve))
    const worker = queue.work(handler, { concurrency: 5, observe })
    await watcher.until('started', 305)
    await settleDown(clock)
    expect(worker.stats().buffered).toBeGreaterThan(50)
    await clock.advance(3_000)
    await settleDown(clock)
    expect(worker.stats().buffered).toBe(0)
    expect((await queue.stats()).ready).toBe(295)
    const [next] = await queue.peek({ place: 'ready', limit: 1 })
    expect(next!.readCount).toBe(0)
    await runUntil(clock, worker.stop({ deadline: 0 }))
  })

  test('prefetch: 0 reads nothing ahead', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue('none')
    await queue.sendBatch(Array.from({ length: 100 }, (_, data) => ({ data })))
    await queue.work(() => {}, { concurrency: 3, prefetch: 0, observe }).drain()
    expect(Math.max(...watcher.of('claimed').map((event) => event.count))).toBe(3)
  })

  test('messages read ahead whose lease was lost are dropped silently', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('dropped')
    await queue.sendBatch(Array.from({ length: 600 }, (_, data) => ({ data })))
    const end = new Signal()
    const handler = ({ data }: Message<number>) => (data < 300 ? undefined : end.promise)
    const worker = queue.work(handler, { concurrency: 5, observe })
    await watcher.until('started', 305)
    await settleDown(clock)
    expect(worker.stats().buffered).toBeGreaterThan(50)
    await queue.purge()
    await runUntil(clock, watcher.until('leaseLost', 5))
    await settleDown(clock)
    expect(worker.stats()).toMatchObject({ buffered: 0, running: 5 })
    end.resolve()
    await queue.send(-1)
    await runUntil(clock, watcher.until('succeeded', 301))
    expect(watcher.of('leaseLost')).toHaveLength(5)
    expect(watcher.of('started')).toHaveLength(306)
    await bus.close()
  })
})
