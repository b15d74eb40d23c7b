import type { Bus } from 'tidings/internal/bus/bus'
import { TidingsError } from 'tidings/internal/core/errors'
import type { StandardSchemaV1 } from 'tidings/internal/core/schema'
import type { Message } from 'tidings/internal/messages/message'
import { done } from 'tidings/internal/worker/outcome'
import type { HandlerContext, Worker } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { lostConnection, runUntil, Signal, scene, settleDown } from './support.ts'

const numbers = (count: number) => Array.from({ length: count }, (_, data) => ({ data }))

describe('a handler that stops its caller', () => {
  const ways = {
    'worker.stop': (worker: Worker) => worker.stop(),
    'worker.drain': (worker: Worker) => worker.drain(),
    'bus.close': (_: Worker, bus: Bus) => bus.close(),
    'bus.close after an await': async (_: Worker, bus: Bus) => {
      await null
      await bus.close()
    },
  }
  test.each(Object.entries(ways))('by %s goes on, and its message is done', async (_name, end) => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('last')
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    const worker: Worker = queue.work(() => end(worker, bus) as Promise<undefined>, { observe, concurrency: 1 })
    await runUntil(clock, worker.finished)
    expect(watcher.of('succeeded').length).toBeGreaterThanOrEqual(1)
    expect(server.calls.filter(({ member }) => member === 'settle').length).toBeGreaterThanOrEqual(1)
    await runUntil(clock, bus.close())
    expect(clock.pending).toBe(0)
  })

  test('cannot wait for its own end, and gets an error', async () => {
    const { bus, clock, watcher, observe } = scene()
    await bus.queue('waits').send(1)
    const worker: Worker = bus.queue('waits').work(() => worker.finished, { observe, maxAttempts: 1 })
    await watcher.until('failed', 1)
    expect(watcher.of('failed')[0]!.error).toMatchObject({ code: 'OPTION_CONFLICT' })
    await runUntil(clock, worker.stop())
  })

  test('nor can the handler of a subscriber', async () => {
    const { bus, clock } = scene()
    await bus.topic('news').publish(1)
    const subscriber: { stop(): Promise<void>; finished: Promise<void> } = bus
      .topic('news')
      .subscribe('payroll', () => subscriber.stop(), { from: 'earliest' })
    await runUntil(clock, subscriber.finished)
    await runUntil(clock, bus.close())
  })
})

describe('stop', () => {
  test('lets handlers finish and settle, gives back messages read ahead, and causes no redelivery', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('graceful')
    await queue.sendBatch(numbers(500))
    const end = new Signal()
    const handler = ({ data }: Message<number>) => (data < 200 ? undefined : end.promise)
    const worker = queue.work(handler, { concurrency: 4, observe })
    await watcher.until('started', 204)
    await settleDown(clock)
    expect(worker.stats()).toMatchObject({ running: 4 })
    expect(worker.stats().buffered).toBeGreaterThan(0)
    const stopped = worker.stop()
    expect(worker.state).toBe('stopping')
    await settleDown(clock)
    expect(await queue.stats()).toMatchObject({ leased: 4, ready: 296 })
    end.resolve()
    await runUntil(clock, stopped)
    expect(worker.state).toBe('stopped')
    expect(worker.stats()).toMatchObject({ started: 204, succeeded: 204, running: 0, buffered: 0 })
    expect(await queue.stats()).toMatchObject({ leased: 0, ready: 296 })
    const left = await queue.peek({ limit: 1_000 })
    expect(left.every((message) => message.readCount === 0)).toBe(true)
  })

  test('at the deadline signals are aborted, then the messages go back, uncounted and with the reason', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('deadline')
    await queue.sendBatch([{ data: 'obeys' }, { data: 'is deaf' }, { data: 'throws' }, { data: 'is done' }])
    const signals: AbortSignal[] = []
    const handler = ({ data }: Message<unknown>, { signal }: HandlerContext) => {
      signals.push(signal)
      return new Promise((resolve, reject) => {
        if (data === 'is deaf') return
        signal.addEventListener('abort', () => {
          if (data === 'throws') reject(signal.reason)
          else resolve(data === 'is done' ? done() : undefined)
        })
      })
    }
    const worker = queue.work(handler, { observe })
    await watcher.until('started', 4)
    const start = clock.now()
    await runUntil(clock, worker.stop({ deadline: '2s' }), 10)
    expect(clock.now() - start).toBeGreaterThanOrEqual(2_000)
    expect(clock.now() - start).toBeLessThanOrEqual(2_150)
    expect(signals.every((signal) => signal.aborted)).toBe(true)
    expect(signals[0]!.reason).toMatchObject({ code: 'STOPPED' })
    // Only the one that said so is done: a return after the abort may be an early one.
    const left = await queue.peek({ place: 'ready' })
    expect(left.map((message) => message.data)).toEqual(['obeys', 'is deaf', 'throws'])
    expect(left.map((message) => message.readCount)).toEqual([0, 0, 0])
    expect(left[1]!.meta.errorMessage).toContain('stopped')
    expect(worker.stats()).toMatchObject({ succeeded: 1, failed: 3, running: 1 })
    await bus.close()
  })

  test('the default deadline is 30 seconds', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('default')
    await queue.send('x')
    const worker = queue.work(() => new Promise(() => {}), { observe })
    await watcher.until('started')
    const start = clock.now()
    await runUntil(clock, worker.stop(), 100)
    expect(clock.now() - start).toBeGreaterThanOrEqual(30_000)
    expect(clock.now() - start).toBeLessThan(31_500)
    await bus.close()
  })

  test('a second call waits for the first and can bring the deadline forward, not back', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('twice')
    await queue.send('x')
    const worker = queue.work(() => new Promise(() => {}), { observe })
    await watcher.until('started')
    const start = clock.now()
    const first = worker.stop({ deadline: '10s' })
    const second = worker.stop({ deadline: '1m' })
    await settleDown(clock)
    const third = worker.stop({ deadline: '1s' })
    await runUntil(clock, Promise.all([first, second, third, worker.finished]), 50)
    expect(clock.now() - start).toBeLessThan(1_500)
    expect(watcher.of('stopped')).toHaveLength(1)
    await worker.stop()
    await worker[Symbol.asyncDispose]()
    await bus.close()
  })

  test('a worker that sleeps stops at once and leaves no timer behind', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('asleep')
    const worker = queue.work(() => {}, { observe })
    await watcher.until('idle')
    await settleDown(clock)
    await worker.stop()
    // The upkeep of the bus ends a moment after its last worker.
    await settleDown(clock)
    expect(clock.pending).toBe(0)
    await queue.send('x')
    await settleDown(clock)
    expect(worker.stats().started).toBe(0)
    await bus.close()
  })

  test('at once after the start, before anything was read', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue('at-once')
    await queue.send('x')
    const worker = queue.work(() => {}, { observe })
    await runUntil(clock, worker.stop())
    expect(worker.stats().started).toBe(0)
    const [left] = await queue.peek()
    expect(left!.readCount).toBe(0)
    expect(clock.pending).toBe(0)
  })

  test('while a claim is under way: its messages go back', async () => {
    const { bus, clock, engine, observe } = scene()
    const queue = bus.queue('under-way')
    await queue.send('x')
    const asked = new Signal()
    const answer = new Signal()
    const claim = engine.claim.bind(engine)
    engine.claim = async (...args) => {
      const result = await claim(...args)
      asked.resolve()
      await answer.promise
      return result
    }
    const worker = queue.work(() => {}, { observe })
    await asked.promise
    const stopped = worker.stop()
    answer.resolve()
    await runUntil(clock, stopped)
    const [left] = await queue.peek({ place: 'ready' })
    expect(left!.readCount).toBe(0)
  })

  test('during the pause of strict order', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('paused')
    await queue.sendBatch(numbers(10))
    const worker = queue.work(() => Promise.reject(new Error('no')), { concurrency: 1, backoff: '1h', observe })
    await watcher.until('paused')
    await runUntil(clock, worker.stop())
    expect(await queue.stats()).toMatchObject({ ready: 9, delayed: 1, leased: 0 })
    expect(clock.pending).toBe(0)
  })

  test('while the storage is away: by the deadline, and without an error', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('away')
    await queue.sendBatch(numbers(5))
    const end = new Signal()
    const worker = queue.work(() => end.promise, { observe })
    await watcher.until('started', 5)
    server.down = lostConnection()
    end.resolve()
    await watcher.until('settleFailed', 5)
    const start = clock.now()
    await runUntil(clock, worker.stop({ deadline: '3s' }))
    expect(clock.now() - start).toBeLessThan(4_200)
    expect(clock.pending).toBe(0)
  })

  test('a storage that hangs does not hang the stop', async () => {
    const { bus, clock, engine, watcher, observe } = scene()
    const queue = bus.queue('hangs')
    await queue.sendBatch(numbers(5))
    const worker = queue.work(() => {}, { observe })
    engine.settle = () => new Promise(() => {})
    await watcher.until('started', 5)
    const start = clock.now()
    await runUntil(clock, worker.stop({ deadline: '3s' }))
    expect(clock.now() - start).toBeLessThan(4_200)
  })

  test('the bus being closed elsewhere ends the worker by itself', async () => {
    const { bus, clock, server, watcher, observe } = scene()
    const queue = bus.queue('closed')
    const worker = queue.work(() => {}, { observe })
    await watcher.until('idle')
    server.down = new TidingsError('CLOSED', 'closed')
    await runUntil(clock, worker.finished, 500)
    expect(worker.state).toBe('stopped')
    expect(clock.pending).toBe(0)
  })

  test('an invalid deadline is refused', async () => {
    const { bus, clock } = scene()
    const worker = bus.queue('refused').work(() => {})
    await expect(worker.stop({ deadline: -1 })).rejects.toMatchObject({ code: 'RANGE' })
    await expect(worker.stop({ deadline: 'soon' as '1s' })).rejects.toMatchObject({ code: 'DURATION' })
    expect(worker.state).toBe('running')
    await runUntil(clock, worker.stop())
  })

  test('a message whose schema is slow does not reach the handler after the stop', async () => {
    const { bus, clock, observe } = scene()
    await bus.queue('slow-schema').send('x')
    const begun = new Signal()
    const valid = new Signal()
    const validate = async (value: unknown) => {
      begun.resolve()
      await valid.promise
      return { value }
    }
    const schema: StandardSchemaV1 = { '~standard': { version: 1, vendor: 'test', validate } }
    let handled = 0
    const worker = bus.queue('slow-schema', { schema }).work(() => void handled++, { observe })
    await begun.promise
    await runUntil(clock, worker.stop({ deadline: '1s' }))
    valid.resolve()
    await settleDown(clock)
    expect(handled).toBe(0)
    expect(await bus.queue('slow-schema').stats()).toMatchObject({ ready: 1, leased: 0 })
  })

  test('a handler may stop its own worker', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue('own')
    await queue.sendBatch(numbers(100))
    const worker = queue.work(() => void worker.stop(), { concurrency: 1, observe })
    await runUntil(clock, worker.finished)
    expect(worker.stats()).toMatchObject({ started: 1, succeeded: 1 })
    expect(await queue.stats()).toMatchObject({ ready: 99, leased: 0 })
  })
})

describe('drain', () => {
  test('works until nothing is ready and nothing in hand, then stops', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('drain')
    await queue.sendBatch(numbers(50))
    await queue.send(-1, { delay: '1h' })
    const handler = async ({ data }: Message<number>) => {
      await new Promise(setImmediate)
      if (data === 49) await queue.send(50)
    }
    const worker = queue.work(handler, { concurrency: 3, observe })
    await runUntil(clock, worker.drain())
    expect(worker.state).toBe('stopped')
    expect(worker.stats()).toMatchObject({ succeeded: 51 })
    expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 1, leased: 0 })
    expect(watcher.of('drained')).toHaveLength(1)
    await settleDown(clock)
    expect(clock.pending).toBe(0)
  })

  test('does not wait for a backoff', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue('backoff')
    await queue.sendBatch(numbers(3))
    const worker = queue.work(() => Promise.reject(new Error('no')), { backoff: '1h', observe })
    await runUntil(clock, worker.drain())
    expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 3 })
  })

  test('takes messages that come back while it drains', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue('back')
    await queue.sendBatch(numbers(3))
    const worker = queue.work(() => Promise.reject(new Error('no')), { backoff: 0, observe })
    await runUntil(clock, worker.drain())
    expect(worker.stats()).toMatchObject({ failed: 15, deadLettered: 3 })
    expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 0 })
  })

  test('in strict order, messages behind a failed message are handled, too', async () => {
    const { bus, clock, observe } = scene()
    const queue = bus.queue<number>('behind')
    await queue.sendBatch(numbers(3))
    const handler = ({ data }: Message<number>) => (data === 0 ? Promise.reject(new Error('no')) : undefined)
    const worker = queue.work(handler, { concurrency: 1, maxAttempts: 2, backoff: '1m', observe })
    await runUntil(clock, worker.drain(), 1_000)
    expect(worker.stats()).toMatchObject({ succeeded: 2, deadLettered: 1 })
  })

  test('an empty queue; twice; a sleeping worker; a stopped one', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('empty')
    const worker = queue.work(() => {}, { observe })
    await watcher.until('idle')
    await settleDown(clock)
    const drained = Promise.all([worker.drain(), worker.drain()])
    await drained
    await worker.drain()
    expect(watcher.of('drained')).toHaveLength(1)
    await settleDown(clock)
    expect(clock.pending).toBe(0)
  })

  test('a stop during the drain ends both', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('both')
    await queue.sendBatch(numbers(100))
    const end = new Signal()
    const worker = queue.work(() => end.promise, { concurrency: 2, observe })
    await watcher.until('started', 2)
    const drained = worker.drain()
    const stopped = worker.stop()
    end.resolve()
    await runUntil(clock, Promise.all([drained, stopped]))
    expect(worker.stats()).toMatchObject({ started: 2, succeeded: 2 })
    expect(watcher.of('drained')).toEqual([])
    expect(await queue.stats()).toMatchObject({ ready: 98, leased: 0 })
  })
})

describe('maxMessages', () => {
  test.each([1, 3, 50])('stops by itself after %i messages', async (maxMessages) => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('max')
    await queue.sendBatch(numbers(100))
    const worker = queue.work(() => new Promise(setImmediate), { maxMessages, concurrency: 4, observe })
    await runUntil(clock, worker.finished)
    expect(worker.stats()).toMatchObject({ started: maxMessages, succeeded: maxMessages })
    expect(await queue.stats()).toMatchObject({ ready: 100 - maxMessages, leased: 0 })
    expect(watcher.of('returned')).toEqual([])
  })

  test('leaves the last handlers all the time they need', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('time')
    await queue.send('x')
    const handler = () => new Promise<void>((resolve) => void clock.after(600_000, resolve))
    const worker = queue.work(handler, { maxMessages: 1, observe })
    await watcher.until('started')
    await runUntil(clock, worker.finished, 1_000)
    expect(worker.stats()).toMatchObject({ succeeded: 1 })
  })
})
