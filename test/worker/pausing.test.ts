import { describe, expect, test } from 'vitest'
import { runUntil, Signal, scene, settleDown } from './support.ts'

describe('a paused worker', () => {
  test('lets its handlers end, gives back what it read ahead, and begins nothing until it is resumed', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('paused')
    await queue.sendBatch([...Array(20).keys()].map((data) => ({ data })))
    const [begun, end] = [new Signal(), new Signal()]
    const worker = queue.work(
      async () => {
        begun.resolve()
        await end.promise
      },
      { concurrency: 2, observe },
    )
    await begun.promise
    await settleDown(clock)
    expect(worker.pause()).toBe(true)
    expect(worker.pause()).toBe(true)
    expect(worker.isPaused).toBe(true)
    end.resolve()
    await watcher.until('succeeded', 2)
    await queue.send(20)
    worker.poke()
    await settleDown(clock)
    await clock.advance(120_000)
    await settleDown(clock)
    expect(worker.stats()).toMatchObject({ started: 2, succeeded: 2, running: 0, buffered: 0 })
    expect(await queue.stats()).toMatchObject({ ready: 19, leased: 0 })
    const waiting = await queue.peek({ limit: 100 })
    expect(waiting.map(({ readCount }) => readCount)).toEqual(waiting.map(() => 0))

    expect(worker.resume()).toBe(true)
    expect(worker.isPaused).toBe(false)
    await watcher.until('succeeded', 21)
    await bus.close()
    expect([worker.pause(), worker.resume()]).toEqual([false, false])
  })

  test('in strict order the message that waits for its next attempt is still the first', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('paused-in-order')
    await queue.sendBatch([1, 2, 3].map((data) => ({ data })))
    const calls: number[] = []
    const handler = ({ data }: { data: number }) => {
      calls.push(data)
      if (calls.length === 1) throw new Error('not yet')
    }
    const worker = queue.work(handler, { concurrency: 1, backoff: '10s', observe })
    await watcher.until('paused')
    // It waits for the message by now.
    await settleDown(clock)
    worker.pause()
    await queue.send(0, { priority: 9 })
    await clock.advance(60_000)
    await settleDown(clock)
    expect(calls).toEqual([1])
    worker.resume()
    await runUntil(clock, watcher.until('succeeded', 4))
    expect(calls).toEqual([1, 1, 0, 2, 3])
    await bus.close()
  })

  test('can be stopped, and works on to drain', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<number>('paused-and-ended')
    await queue.sendBatch([1, 2].map((data) => ({ data })))
    const [stopped, drained] = [queue.work(() => {}), queue.work(() => {}, { observe })]
    for (const worker of [stopped, drained]) worker.pause()
    await stopped.stop()
    await drained.drain()
    expect(watcher.of('succeeded').length + stopped.stats().succeeded).toBe(2)
    await bus.close()
  })
})
