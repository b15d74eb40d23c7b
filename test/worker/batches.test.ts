import type { Message } from 'tidings/internal/messages/message'
import { deadLetter, retry, snooze } from 'tidings/internal/worker/outcome'
import type { BatchContext } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { datas, runUntil, Signal, scene, settleDown } from './support.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))

describe('batches', () => {
  test('a handler gets up to batchSize messages, in order, and all are done when it returns', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<number>('sized')
    await queue.sendBatch(numbers(25))
    const batches: number[][] = []
    const handler = (messages: Message<number>[], context: BatchContext) => {
      expect(context).toMatchObject({ queue: 'sized', maxAttempts: 5 })
      batches.push(messages.map((message) => message.data))
    }
    await queue.workBatch(handler, { concurrency: 1, observe }).drain()
    expect(batches.flat()).toEqual(numbers(25).map(({ data }) => data))
    expect(batches.map((batch) => batch.length)).toEqual([10, 10, 5])
    expect(watcher.of('succeeded')).toHaveLength(25)
  })

  test('throwing fails all of them; each has its own attempts', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('throws')
    await queue.sendBatch(numbers(2))
    const batches: string[] = []
    const handler = (messages: Message<number>[]) => {
      batches.push(messages.map((message) => `${message.data}.${message.readCount}`).join())
      throw new Error('all of them')
    }
    queue.workBatch(handler, { concurrency: 2, batchSize: 2, maxAttempts: 2, backoff: '1s', observe })
    await runUntil(clock, watcher.until('deadLettered', 2))
    expect(batches).toEqual(['0.1,1.1', '0.2,1.2'])
    const dead = await bus.queue('throws_dlq').peek()
    expect(dead.map((message) => message.meta.errorMessage)).toEqual(['all of them', 'all of them'])
    await bus.close()
  })

  test('an array of outcomes decides for each', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('each')
    await queue.sendBatch(numbers(4))
    const handler = (messages: Message<number>[]) =>
      messages.length < 4 ? undefined : [undefined, retry({ delay: '1s' }), deadLetter('no'), snooze('2s')]
    queue.workBatch(handler, { batchSize: 4, observe })
    await runUntil(clock, watcher.until('succeeded', 3))
    expect(datas(watcher.of('succeeded'))).toEqual([0, 1, 3])
    expect(datas(watcher.of('failed'))).toEqual([1])
    expect(datas(watcher.of('deadLettered'))).toEqual([2])
    expect(datas(watcher.of('snoozed'))).toEqual([3])
    await bus.close()
  })

  test('one outcome stands for all; an array of the wrong length is an error', async () => {
    const { bus, clock, watcher, observe } = scene()
    const one = bus.queue<number>('one')
    await one.sendBatch(numbers(3))
    one.workBatch(() => deadLetter('all'), { observe })
    await watcher.until('deadLettered', 3)
    const wrong = bus.queue<number>('wrong')
    await wrong.sendBatch(numbers(3))
    wrong.workBatch(() => [undefined], { maxAttempts: 1, observe })
    await runUntil(clock, watcher.until('deadLettered', 6))
    expect((await bus.queue('wrong_dlq').peek())[0]!.meta.errorMessage).toBe(
      'the handler returned 1 outcomes for 3 messages',
    )
    await bus.close()
  })

  test('invalid data is dead-lettered before; the handler gets the rest, or is not called', async () => {
    const { bus, watcher, observe } = scene()
    await bus.queue('typed').sendBatch([{ data: 1 }, { data: 'two' }, { data: 3 }, { data: 'four' }])
    const batches: number[][] = []
    const queue = bus.queue('typed', { schema: z.number() })
    const handler = (messages: Message<number>[]) => void batches.push(messages.map((message) => message.data))
    await queue.workBatch(handler, { concurrency: 1, batchSize: 3, observe }).drain()
    expect(batches).toEqual([[1, 3]])
    expect(datas(watcher.of('deadLettered'))).toEqual(['two', 'four'])
  })

  test('batchWait waits for a fuller batch, but no longer', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('waits')
    const batches: { size: number; atMs: number }[] = []
    const start = clock.now()
    const handler = (messages: Message<number>[]) =>
      void batches.push({ size: messages.length, atMs: clock.now() - start })
    queue.workBatch(handler, { batchSize: 5, batchWait: '2s', observe })
    await queue.sendBatch(numbers(3))
    await watcher.until('claimed')
    await settleDown(clock)
    expect(batches).toEqual([])
    await clock.advance(500)
    await queue.sendBatch(numbers(2))
    await watcher.until('succeeded', 5)
    expect(batches).toEqual([{ size: 5, atMs: 500 }])
    await queue.sendBatch(numbers(2))
    await runUntil(clock, watcher.until('succeeded', 7), 100)
    expect(batches).toEqual([
      { size: 5, atMs: 500 },
      { size: 2, atMs: 2_500 },
    ])
    await bus.close()
  })

  test('a drain and a stop do not wait for a fuller batch', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue<number>('hurry')
    await queue.sendBatch(numbers(13))
    const sizes: number[] = []
    const handler = (messages: Message<number>[]) => void sizes.push(messages.length)
    const start = clock.now()
    await queue.workBatch(handler, { batchWait: '1m', concurrency: 1, observe }).drain()
    expect(sizes).toEqual([10, 3])
    expect(clock.now()).toBe(start)

    await queue.sendBatch(numbers(3))
    const worker = queue.workBatch(handler, { batchWait: '1m', observe })
    await settleDown(clock)
    await runUntil(clock, worker.stop())
    expect(await queue.stats()).toMatchObject({ ready: 3, leased: 0 })
    expect(clock.pending).toBe(0)
  })

  test('the signal of a batch is aborted when all its leases are lost, and what is left still counts', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('leases')
    await queue.sendBatch(numbers(2))
    const begun = new Signal<BatchContext>()
    const end = new Signal()
    let batch: Message<number>[] = []
    const handler = async (messages: Message<number>[], context: BatchContext) => {
      batch = messages
      begun.resolve(context)
      await end.promise
    }
    queue.workBatch(handler, { observe })
    const { signal } = await begun.promise
    await runUntil(
      clock,
      bus.engine.settle('leases', [{ kind: 'delete', id: batch[0]!.id, receipt: batch[0]!.receipt }]),
    )
    await runUntil(clock, watcher.until('leaseLost'))
    expect(signal.aborted).toBe(false)
    end.resolve()
    await watcher.until('succeeded')
    expect(datas(watcher.of('succeeded'))).toEqual([1])

    await queue.sendBatch(numbers(2))
    await queue.purge()
    await bus.close()
  })

  test('maxMessages limits the last batch', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue<number>('max')
    await queue.sendBatch(numbers(30))
    const sizes: number[] = []
    const worker = queue.workBatch((messages) => void sizes.push(messages.length), {
      maxMessages: 14,
      concurrency: 1,
      observe,
    })
    await runUntil(clock, worker.finished)
    expect(sizes).toEqual([10, 4])
    expect(await queue.stats()).toMatchObject({ ready: 16 })
  })

  test('many batches at a time, batch size 2, with failures: each message once, and the failed ones again', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('many')
    await queue.sendBatch(numbers(101))
    const succeeded: number[] = []
    const handler = async (messages: Message<number>[]) => {
      await new Promise(setImmediate)
      if (messages.some(({ data, readCount }) => data % 10 === 0 && readCount === 1)) throw new Error('crash')
      succeeded.push(...messages.map((message) => message.data))
    }
    queue.workBatch(handler, { concurrency: 4, batchSize: 2, backoff: 100, observe })
    await runUntil(clock, watcher.until('succeeded', 101))
    expect(succeeded.toSorted((a, b) => a - b)).toEqual(numbers(101).map(({ data }) => data))
    await bus.close()
  })
})
