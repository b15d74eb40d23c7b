import { sleep } from 'tidings/internal/core/clock'
import { exponential, fixed, linear } from 'tidings/internal/messages/backoff'
import type { Message } from 'tidings/internal/messages/message'
import type { HandlerContext, WorkOptions } from 'tidings/internal/worker/worker'
import { describe, expect, test } from 'vitest'
import { datas, runUntil, scene, settleDown } from './support.ts'

/** Fails as often as `failures` says, and notes when it was called. */
function failing(clock: { now(): number }, failures: number, thrown: unknown = new Error('fails')) {
  const start = clock.now()
  const calls: { data: unknown; attempt: number; atMs: number }[] = []
  const handler = (message: Message<unknown>, { attempt }: HandlerContext) => {
    calls.push({ data: message.data, attempt, atMs: clock.now() - start })
    if (attempt <= failures) throw thrown
  }
  return { calls, handler }
}

describe.each([{ concurrency: 1 }, { concurrency: 2 }])('failing at $concurrency at a time', ({ concurrency }) => {
  async function fail(backoff: WorkOptions['backoff'], failures = 3) {
    const { bus, clock, watcher, observe, log } = scene()
    const { calls, handler } = failing(clock, failures)
    const queue = bus.queue('failing')
    await queue.send('x')
    queue.work(handler, { concurrency, observe, ...(backoff === undefined ? {} : { backoff }) })
    await runUntil(clock, watcher.until('succeeded'))
    await bus.close()
    return { times: calls.map((call) => call.atMs), attempts: calls.map((call) => call.attempt), log }
  }

  test('backoff as a number, a duration, a function', async () => {
    expect((await fail(100)).times).toEqual([0, 100, 200, 300])
    expect((await fail('2s')).times).toEqual([0, 2_000, 4_000, 6_000])
    expect((await fail((attempt) => attempt * 1_000)).times).toEqual([0, 1_000, 3_000, 6_000])
    expect((await fail(0)).times).toEqual([0, 0, 0, 0])
  })

  test('backoff as a curve; the default is exponential from one second', async () => {
    expect((await fail(linear({ first: '1s', step: '2s', jitter: 0 }))).times).toEqual([0, 1_000, 4_000, 9_000])
    expect((await fail(fixed('3s'))).times).toEqual([0, 3_000, 6_000, 9_000])
    expect((await fail(exponential({ jitter: 0, max: '2s' }))).times).toEqual([0, 1_000, 3_000, 5_000])
    const { times } = await fail(undefined)
    for (const [index, ms] of [0, 1_000, 3_000, 7_000].entries()) {
      expect(times[index]).toBeGreaterThanOrEqual(ms * 0.9)
      expect(times[index]).toBeLessThanOrEqual(ms * 1.1 + 150)
    }
  })

  test('the backoff function gets the attempt and the error', async () => {
    const asked: unknown[] = []
    await fail((attempt, error) => {
      asked.push([attempt, (error as Error).message])
      return 50
    })
    expect(asked).toEqual([
      [1, 'fails'],
      [2, 'fails'],
      [3, 'fails'],
    ])
  })

  test.each([
    ['throws', () => JSON.parse('nonsense')],
    ['returns text', () => 'soon'],
    ['returns NaN', () => Number.NaN],
    ['returns a negative number', () => -5],
    ['returns a promise', async () => 5],
    ['returns nothing', () => undefined],
  ])('a backoff function that %s: one second, and a line in the log', async (_, backoff) => {
    const { times, log } = await fail(backoff as () => number, 2)
    expect(times).toEqual([0, 1_000, 2_000])
    expect(log.lines.filter((line) => line.text.includes('backoff function'))).toHaveLength(2)
  })

  test('a poison message is dead-lettered after exactly maxAttempts, with its error; the others go through', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<string>('poison')
    await queue.sendBatch([{ data: 'a' }, { data: 'poison' }, { data: 'b' }])
    const calls: string[] = []
    const handler = (message: Message<string>) => {
      calls.push(message.data)
      if (message.data === 'poison') throw new TypeError('cannot digest')
    }
    queue.work(handler, { concurrency, maxAttempts: 3, backoff: 100, observe })
    await runUntil(clock, Promise.all([watcher.until('deadLettered'), watcher.until('succeeded', 2)]))
    await settleDown(clock)
    await clock.advance(60_000)
    expect(calls.filter((data) => data === 'poison')).toHaveLength(3)
    expect(calls).toHaveLength(5)
    expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 0, leased: 0 })
    const [dead] = await bus.queue('poison_dlq').peek()
    expect(dead).toMatchObject({
      data: 'poison',
      meta: { errorMessage: 'cannot digest', attempts: 3, originQueue: 'poison', originId: '2' },
    })
    expect(dead!.meta.stackTrace).toContain('failing.test.ts')
    await bus.close()
  })

  test('a new message during the backoff', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('new')
    await queue.send('first')
    const { calls, handler } = failing(clock, 1)
    const passing = (message: Message<unknown>, context: HandlerContext) =>
      message.data === 'first' ? handler(message, context) : void calls.push({ data: 'new', attempt: 1, atMs: -1 })
    queue.work(passing, { concurrency, backoff: 1_000, observe })
    await watcher.until('failed')
    await queue.send('new')
    await runUntil(clock, watcher.until('succeeded', 2))
    // Strict order pauses the queue; without it, the new one goes ahead.
    const order = calls.map((call) => call.data)
    expect(order).toEqual(concurrency === 1 ? ['first', 'first', 'new'] : ['first', 'new', 'first'])
    await bus.close()
  })
})

describe('a message whose process was lost', () => {
  /** Messages that were in hand, once each, in a process that is gone. */
  async function lostOnce(count: number, maxAttempts: number) {
    const here = scene()
    const queue = here.bus.queue<number>('lost')
    await queue.sendBatch(Array.from({ length: count }, (_, data) => ({ data })))
    const { engine } = here.bus
    const { messages } = await engine.claim('lost', { limit: count, leaseMs: 1_000, ids: null })
    const meta = { process_lost_at: new Date(here.clock.now()).toISOString() }
    const release = { kind: 'release', delayMs: 0, meta, uncount: false } as const
    await engine.settle(
      'lost',
      messages.map(({ id, receipt }) => ({ ...release, id, receipt: receipt! })),
    )
    return { ...here, queue, options: { observe: here.observe, maxAttempts, concurrency: 4 } }
  }

  test('is beside no other such message on its last attempt', async () => {
    const { clock, queue, bus, options, watcher } = await lostOnce(6, 2)
    const together: number[][] = []
    const inHand = new Set<number>()
    const handler = async ({ data }: Message<number>) => {
      inHand.add(data)
      together.push([...inHand])
      await sleep(clock, 300)
      inHand.delete(data)
    }
    queue.work(handler, options)
    await runUntil(clock, watcher.until('started'))
    await queue.sendBatch([6, 7, 8].map((data) => ({ data })))
    await runUntil(clock, watcher.until('succeeded', 9))
    for (const each of together) expect(each.filter((data) => data < 6).length).toBeLessThanOrEqual(1)
    // Others are handled beside them.
    expect(together.some((each) => each.length > 1)).toBe(true)
    await bus.close()
  })

  test('is beside others as long as it has more attempts', async () => {
    const { clock, queue, bus, options, watcher } = await lostOnce(4, 3)
    queue.work(() => sleep(clock, 300), options)
    await watcher.until('started', 4)
    await runUntil(clock, watcher.until('succeeded', 4))
    await bus.close()
  })

  test('is a dead letter with as many attempts as were begun', async () => {
    const { queue, bus, options, watcher } = await lostOnce(1, 1)
    queue.work(() => {}, options)
    await watcher.until('deadLettered')
    expect(await queue.deadLetters.list()).toMatchObject([{ meta: { attempts: 1 } }])
    await bus.close()
  })
})

describe('failing', () => {
  test('between attempts the message keeps its error and its count', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('between')
    await queue.send('x', { meta: { targetId: 't' } })
    const { handler } = failing(clock, 1, new Error('no luck'))
    queue.work(handler, { observe })
    await watcher.until('failed')
    const [waiting] = await queue.peek({ place: 'delayed' })
    expect(waiting).toMatchObject({ readCount: 1, meta: { errorMessage: 'no luck', targetId: 't' } })
    expect(waiting!.meta.stackTrace).toContain('no luck')
    await bus.close()
  })

  test('without a dead-letter queue it ends in the archive, with its error', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue('archived', { deadLetter: false })
    await queue.send('x')
    queue.work(() => Promise.reject(new Error('never')), { maxAttempts: 1, observe })
    await watcher.until('deadLettered')
    const [dead] = await queue.peek({ place: 'archived' })
    expect(dead!.meta).toMatchObject({ errorMessage: 'never', attempts: 1 })
    await bus.close()
  })

  const huge = new Error('x'.repeat(100_000_000))
  const strange = Object.create(null) as object
  const hostile = new Proxy(new Error('proxy'), {
    get: (_, property) => {
      if (property === 'then') return undefined
      throw new Error('get')
    },
  })
  test.each([
    ['null', null],
    ['undefined', undefined],
    ['a string', 'just text'],
    ['an empty string', ''],
    ['a number', 42],
    ['an object without a prototype', strange],
    ['an error without a message', new Error()],
    ['a NUL and a lone surrogate', new Error('\u0000 \ud800')],
    ['an error that lies about itself', hostile],
    ['100 MB', huge],
  ])('a handler that throws %s', async (_, thrown) => {
    const { bus, watcher, observe, log } = scene()
    const queue = bus.queue('throws')
    await queue.send('x')
    const handler = () => {
      throw thrown
    }
    queue.work(handler, { maxAttempts: 1, observe })
    await watcher.until('deadLettered')
    const [dead] = await bus.queue('throws_dlq').peek()
    expect(typeof dead!.meta.errorMessage).toBe('string')
    expect(JSON.stringify(dead!.meta).length).toBeLessThan(20_000)
    expect(JSON.stringify(log.lines).length).toBeLessThan(20_000)
    await bus.close()
  })

  test('attempts of dead processes count; the message is dead-lettered without a call, with the reason', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('crash')
    await queue.send('x')
    for (let crash = 0; crash < 3; crash++) {
      expect(await queue.read({ lease: '1s' })).toHaveLength(1)
      await clock.advance(1_000)
    }
    const attempts: number[] = []
    const worker = queue.work((_, { attempt }) => void attempts.push(attempt), { maxAttempts: 3, observe })
    const { error } = await watcher.until('deadLettered')
    await worker.stop()
    expect(attempts).toEqual([])
    expect(error).toMatchObject({ code: 'HANDLER_FAILED' })
    const [dead] = await bus.queue('crash_dlq').peek()
    expect(dead!.meta.errorMessage).toContain('ended without a report')
    expect(dead!.meta.attempts).toBe(3)
  })

  test('a message that was in the hands of a process that died is delivered again, with its attempts', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('again')
    await queue.send('x')
    await queue.read({ lease: '4s' })
    const attempts: number[] = []
    queue.work((_, { attempt }) => void attempts.push(attempt), { observe, pollInterval: '1h' })
    await watcher.until('idle')
    const start = clock.now()
    await runUntil(clock, watcher.until('succeeded'))
    expect(attempts).toEqual([2])
    expect(clock.now() - start).toBe(4_000)
    await bus.close()
  })

  test('after a crash, messages that were only read ahead do not lose more attempts', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('innocent')
    await queue.sendBatch(Array.from({ length: 100 }, (_, data) => ({ data })))
    // Dies with all hundred in hand.
    await queue.read({ limit: 100, lease: '1s' })
    await clock.advance(1_000)
    // Reading ahead is learned from fast messages, and must not apply to those with a dead reader.
    await queue.sendBatch(Array.from({ length: 300 }, (_, data) => ({ data })))
    const worker = queue.work(() => new Promise(setImmediate), { concurrency: 2, observe })
    await worker.drain()
    const sizes = watcher.of('claimed').map((event) => event.count)
    const suspects = 100
    let claimed = 0
    for (const size of sizes) {
      if (claimed + size <= suspects) expect(size).toBeLessThanOrEqual(4)
      claimed += size
    }
    expect(claimed).toBe(400)
  })

  test('handlers that hang do not stop the others', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<number>('hang')
    await queue.sendBatch(Array.from({ length: 20 }, (_, data) => ({ data })))
    const worker = queue.work((message) => (message.data === 0 ? new Promise(() => {}) : undefined), {
      concurrency: 2,
      observe,
    })
    await watcher.until('succeeded', 19)
    expect(worker.stats()).toMatchObject({ running: 1, succeeded: 19 })
    expect(datas(watcher.of('succeeded'))).not.toContain(0)
    await runUntil(clock, worker.stop({ deadline: 0 }))
  })
})
