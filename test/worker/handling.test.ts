import type { StandardSchemaV1 } from 'tidings/internal/core/schema'
import type { Message } from 'tidings/internal/messages/message'
import { archive, deadLetter, done, Outcome, retry, snooze } from 'tidings/internal/worker/outcome'
import type { HandlerContext } from 'tidings/internal/worker/worker'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { datas, runUntil, scene, settleDown } from './support.ts'

describe('handling', () => {
  test('a message reaches the handler with its context and is deleted', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<{ name: string }>('hires')
    const seen: { data: unknown; context: HandlerContext; message: Message<{ name: string }> }[] = []
    const worker = queue.work((message, context) => void seen.push({ data: message.data, context, message }), {
      observe,
    })
    await queue.send({ name: 'Ada' }, { meta: { targetId: 'p-7' } })
    await watcher.until('succeeded')
    expect(seen).toHaveLength(1)
    expect(seen[0]!.data).toEqual({ name: 'Ada' })
    expect(seen[0]!.message.meta.targetId).toBe('p-7')
    expect(seen[0]!.context).toMatchObject({ queue: 'hires', attempt: 1, maxAttempts: 5 })
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, archived: 0 })
    expect(worker.stats()).toEqual({
      started: 1,
      succeeded: 1,
      failed: 0,
      deadLettered: 0,
      cancelled: 0,
      expired: 0,
      leaseLost: 0,
      outcomeUnknown: 0,
      blocked: 0,
      running: 0,
      buffered: 0,
    })
    await bus.close()
    expect(worker.state).toBe('stopped')
  })

  test('many messages, each once, at most `concurrency` at a time', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<number>('many')
    await queue.sendBatch(Array.from({ length: 1_000 }, (_, data) => ({ data })))
    let running = 0
    let most = 0
    const handler = async () => {
      most = Math.max(most, ++running)
      await new Promise(setImmediate)
      running--
    }
    await queue.work(handler, { concurrency: 7, observe }).drain()
    expect(most).toBe(7)
    const handled = datas(watcher.of('succeeded')) as number[]
    expect(handled.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 1_000 }, (_, index) => index))
  })

  test('a sleeping worker is woken by a send, and exactly when a delayed message is due', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('wake')
    const worker = queue.work(() => {}, { pollInterval: '1h', observe })
    await watcher.until('idle')
    const start = clock.now()
    await queue.send('later', { delay: 12_345 })
    await queue.send('now')
    await watcher.until('succeeded')
    expect(clock.now()).toBe(start)
    await runUntil(clock, watcher.until('succeeded', 2), 5)
    expect(clock.now()).toBe(start + 12_345)
    await worker.stop()
  })

  test("onSuccess: 'archive' keeps what was handled", async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue('kept')
    queue.work(() => {}, { onSuccess: 'archive', observe })
    await queue.send(1)
    await watcher.until('succeeded')
    expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, archived: 1 })
    await bus.close()
  })

  test('any return value but an outcome means success', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<number>('any')
    const answers: unknown[] = [undefined, null, false, 0, 'retry', { kind: 'retry' }, [], new Error('returned')]
    await queue.sendBatch(answers.map((_, data) => ({ data })))
    await queue.work((message) => answers[message.data], { observe }).drain()
    expect(watcher.of('succeeded')).toHaveLength(answers.length)
    expect(await queue.stats()).toMatchObject({ ready: 0, delayed: 0, archived: 0 })
  })

  test('outcomes: done, archive, deadLetter', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<string>('outcomes')
    await queue.sendBatch([{ data: 'done' }, { data: 'archive' }, { data: 'dead' }])
    const outcomes: Record<string, unknown> = { done: done(), archive: archive(), dead: deadLetter('of no use') }
    await queue.work((message) => outcomes[message.data], { onSuccess: 'archive', observe }).drain()
    expect(await queue.stats()).toMatchObject({ ready: 0, archived: 1 })
    expect(datas(watcher.of('deadLettered'))).toEqual(['dead'])
    const [dead] = await bus.queue('outcomes_dlq').peek()
    expect(dead).toMatchObject({
      data: 'dead',
      readCount: 0,
      meta: { errorMessage: 'of no use', originQueue: 'outcomes', attempts: 1 },
    })
  })

  test('outcomes of another copy of the package count', async () => {
    vi.resetModules()
    const other = await import('tidings/internal/worker/outcome')
    expect(other.Outcome).not.toBe(Outcome)
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<number>('copies')
    await queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
    await queue.work(() => other.deadLetter('of no use'), { maxMessages: 1, observe }).finished
    const batchHandler = () => [other.archive(), other.deadLetter('of no use')]
    await queue.workBatch(batchHandler, { maxMessages: 2, observe }).finished
    expect(datas(watcher.of('deadLettered'))).toEqual([1, 3])
    expect(await queue.stats()).toMatchObject({ ready: 0, archived: 1 })
  })

  test('snooze gives a message back for the time without counting an attempt', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('snooze')
    await queue.send('x')
    const attempts: number[] = []
    const times: number[] = []
    const handler = (_: unknown, { attempt }: HandlerContext) => {
      attempts.push(attempt)
      times.push(clock.now())
      return attempts.length < 8 ? snooze('10s') : undefined
    }
    const start = clock.now()
    queue.work(handler, { maxAttempts: 2, observe })
    await runUntil(clock, watcher.until('succeeded'), 1_000)
    expect(attempts).toEqual([1, 1, 1, 1, 1, 1, 1, 1])
    expect(times).toEqual(attempts.map((_, index) => start + index * 10_000))
    expect(watcher.of('failed')).toEqual([])
    await bus.close()
  })

  test('retry counts as an attempt, waits as asked, and ends in the dead-letter queue', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue('retry')
    await queue.send('x')
    const times: number[] = []
    const handler = () => {
      times.push(clock.now())
      return retry({ delay: '3s', reason: 'the printer is on fire' })
    }
    const start = clock.now()
    queue.work(handler, { maxAttempts: 3, observe })
    await runUntil(clock, watcher.until('deadLettered'), 500)
    expect(times).toEqual([start, start + 3_000, start + 6_000])
    expect(watcher.of('failed').map((event) => event.retryMs)).toEqual([3_000, 3_000, null])
    const [dead] = await bus.queue('retry_dlq').peek()
    expect(dead!.meta).toMatchObject({ errorMessage: 'the printer is on fire', attempts: 3 })
    await bus.close()
  })

  test('a bad delay in an outcome is an error of the handler, with its own message', async () => {
    const { bus, watcher, observe } = scene()
    const queue = bus.queue<number>('bad-delay')
    await queue.send(1)
    queue.work(() => snooze('soon' as '1s'), { maxAttempts: 1, observe })
    const { error } = await watcher.until('failed')
    expect(error).toMatchObject({ code: 'DURATION', message: expect.stringContaining('"soon"') })
    await bus.close()
  })

  test.each(['delete', 'archive', 'release', 'deadLetter'] as const)(
    'a handler that settles by %s is not overruled, whether it returns or throws',
    async (how) => {
      const { bus, server, clock, watcher, observe } = scene()
      const queue = bus.queue<string>('own')
      await queue.sendBatch([{ data: 'returns' }, { data: 'throws' }])
      const handler = async (message: Message<string>) => {
        if (how === 'release') await message.release({ delay: '1h' })
        else if (how === 'deadLetter') await message.deadLetter('mine')
        else await message[how]()
        if (message.data === 'throws') throw new Error('after settling')
      }
      queue.work(handler, { observe })
      await Promise.all([watcher.until('succeeded'), watcher.until('failed')])
      expect(watcher.of('failed')[0]).toMatchObject({ retryMs: null })
      await settleDown(clock)
      const expected = { delete: {}, archive: { archived: 2 }, release: { delayed: 2 }, deadLetter: {} }[how]
      expect(await queue.stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0, archived: 0, ...expected })
      const settlements = server.calls.filter((call) => call.member === 'settle').flatMap((call) => call.args[1])
      expect(settlements).toHaveLength(2)
      await bus.close()
    },
  )

  test('invalid data never reaches the handler and is dead-lettered with the reason', async () => {
    const { bus, watcher, clock, observe } = scene()
    const schema = z.object({ n: z.number() })
    await bus.queue('typed').sendBatch([{ data: { n: 'one' } }, { data: { n: 1 } }])
    const handled: number[] = []
    await bus
      .queue('typed', { schema })
      .work((message) => void handled.push(message.data.n), { observe })
      .drain()
    await settleDown(clock)
    expect(handled).toEqual([1])
    expect(watcher.of('started')).toHaveLength(1)
    const [dead] = await bus.queue('typed_dlq').peek()
    expect(dead!.data).toEqual({ n: 'one' })
    expect(dead!.meta.errorMessage).toContain('n')
  })

  test('a schema that validates asynchronously, and one that fails for its own reasons', async () => {
    const { bus, clock, watcher, observe } = scene()
    let broken = true
    const validate = async (text: unknown) => {
      await new Promise(setImmediate)
      if (text === 'b' && broken) throw new Error('the registry is away')
      return text === 'c' ? { issues: [{ message: 'no c' }] } : { value: text as string }
    }
    const schema: StandardSchemaV1<string> = { '~standard': { version: 1, vendor: 'test', validate } }
    const queue = bus.queue('async', { schema })
    await bus.queue('async').sendBatch([{ data: 'a' }, { data: 'b' }, { data: 'c' }])
    const handled: string[] = []
    queue.work((message) => void handled.push(message.data), { observe })
    await watcher.until('failed')
    broken = false
    await runUntil(clock, watcher.until('succeeded', 2))
    await watcher.until('deadLettered')
    expect(handled).toEqual(['a', 'b'])
    expect(datas(watcher.of('deadLettered'))).toEqual(['c'])
    await bus.close()
  })

  test('two workers on one queue handle every message once', async () => {
    const { bus, observe } = scene()
    const queue = bus.queue<number>('shared')
    await queue.sendBatch(Array.from({ length: 500 }, (_, data) => ({ data })))
    const handled: number[] = []
    const handler = async (message: Message<number>) => {
      await new Promise(setImmediate)
      handled.push(message.data)
    }
    await Promise.all([queue.work(handler, { observe }).drain(), queue.work(handler, { observe }).drain()])
    expect(handled.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, index) => index))
  })

  test('messages of one ordering key are handled one after the other, in order, even after a failure', async () => {
    const { bus, clock, watcher, observe } = scene()
    const queue = bus.queue<string>('keys')
    for (const data of ['a1', 'b1', 'a2', 'b2', 'a3']) await queue.send(data, { orderingKey: data[0]! })
    const handled: string[] = []
    const handler = (message: Message<string>, { attempt }: HandlerContext) => {
      handled.push(message.data)
      if (message.data === 'a1' && attempt === 1) throw new Error('once')
    }
    queue.work(handler, { concurrency: 8, observe })
    await runUntil(clock, watcher.until('succeeded', 5))
    expect(handled.filter((data) => data.startsWith('a'))).toEqual(['a1', 'a1', 'a2', 'a3'])
    expect(handled.filter((data) => data.startsWith('b'))).toEqual(['b1', 'b2'])
    await bus.close()
  })

  test('an observer or a logger that throws disturbs nothing', async () => {
    const { bus, clock, watcher, log } = scene()
    const queue = bus.queue<number>('observer')
    await queue.sendBatch([{ data: 1 }, { data: 2 }])
    log.error = () => {
      throw new Error('the log is full')
    }
    const observe = () => {
      throw new Error('observer')
    }
    const handler = (message: Message<number>) => {
      if (message.data === 1) throw new Error('fails')
    }
    const worker = queue.work(handler, { maxAttempts: 1, observe })
    await worker.drain()
    expect(worker.stats()).toMatchObject({ succeeded: 1, failed: 1, deadLettered: 1 })
    await settleDown(clock)
    expect(watcher.events).toEqual([])
  })

  test('a poke makes it look, though nothing tells it to', async () => {
    const { bus, server, clock, watcher, observe } = scene()
    const listen = server.memory.listen.bind(server.memory)
    server.memory.listen = (one) => listen({ ...one, woken: () => {} })
    const queue = bus.queue('poked')
    await queue.create()
    const worker = queue.work(() => {}, { pollInterval: '1h', observe })
    await settleDown(clock)
    await queue.send('a')
    await settleDown(clock)
    expect(watcher.of('succeeded')).toEqual([])
    expect(worker.poke()).toBe(true)
    await watcher.until('succeeded')
    await runUntil(clock, worker.stop())
    expect(worker.poke()).toBe(false)
  })

  test('options are checked at once', () => {
    const { bus } = scene()
    const queue = bus.queue('options')
    const work = (options: object) => () => queue.work(() => {}, options)
    expect(work({ concurrency: 0 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(work({ concurrency: 1e9 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(work({ concurrency: 1.5 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(work({ concurrency: '5' })).toThrow(expect.objectContaining({ code: 'TYPE' }))
    expect(work({ maxAttempts: 0 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(work({ lease: '10ms' })).toThrow(expect.objectContaining({ code: 'LEASE_RANGE' }))
    expect(work({ backoff: -1 })).toThrow(expect.objectContaining({ code: 'DELAY_RANGE' }))
    expect(work({ backoff: {} })).toThrow(expect.objectContaining({ code: 'TYPE' }))
    expect(work({ onSuccess: 'keep' })).toThrow(expect.objectContaining({ code: 'TYPE' }))
    expect(work({ concurency: 3 })).toThrow(
      expect.objectContaining({ code: 'OPTION_UNKNOWN', hint: "Did you mean 'concurrency'?" }),
    )
    expect(work({ batchSize: 3 })).toThrow(expect.objectContaining({ code: 'OPTION_UNKNOWN' }))
    expect(() => queue.work('handler' as never)).toThrow(expect.objectContaining({ code: 'TYPE' }))
    expect(() => queue.workBatch(() => {}, { batchSize: 1_001 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
    expect(() => queue.consume({ wait: -1 })).toThrow(expect.objectContaining({ code: 'RANGE' }))
  })
})

describe('the return value of a handler', () => {
  test.each([false, 'retry', 5, { retry: true }, [1], new Error('returned')])(
    '%j is no outcome, of which it is told once',
    async (odd) => {
      const { bus, clock, log, watcher, observe } = scene()
      const queue = bus.queue('odd')
      await queue.sendBatch([{ data: 1 }, { data: 2 }])
      const worker = queue.work(() => odd, { observe })
      await watcher.until('succeeded', 2)
      await runUntil(clock, worker.stop())
      expect(log.lines.map(({ level, text }) => `${level} ${text}`)).toEqual([
        'warn Return nothing, or retry(), snooze(), deadLetter(), done() or archive(); throw what went wrong.',
      ])
      expect(log.lines[0]!.details).toMatchObject({
        err: expect.objectContaining({ message: expect.stringMatching(/^the handler returned .*no outcome/) }),
      })
    },
  )

  test('counts as a failed attempt where only outcomes are taken', async () => {
    const { bus, watcher, observe, log } = scene()
    const queue = bus.queue<string>('strict')
    await queue.sendBatch(['odd', 'done', 'nothing'].map((data) => ({ data })))
    const results: Record<string, unknown> = { odd: { ok: true }, done: done() }
    const handler = ({ data }: { data: string }) => results[data]
    await queue.work(handler, { observe, strictResults: true, maxAttempts: 1 }).drain()
    expect(datas(watcher.of('succeeded'))).toEqual(['done', 'nothing'])
    const [letter] = await queue.deadLetters.list()
    expect(letter).toMatchObject({
      data: 'odd',
      meta: { errorMessage: expect.stringContaining('which is no outcome') },
    })
    expect(log.lines.filter(({ text }) => text.startsWith('Return nothing'))).toEqual([])
    await queue.sendBatch(['odd', 'done'].map((data) => ({ data })))
    const batch = (messages: { data: string }[]) => messages.map(({ data }) => results[data])
    await queue.workBatch(batch, { observe, strictResults: true, maxAttempts: 1 }).drain()
    expect((await queue.deadLetters.list()).map(({ data }) => data)).toEqual(['odd', 'odd'])
  })

  test('of a batch, each entry counts for itself', async () => {
    const { bus, clock, watcher, observe, log } = scene()
    const queue = bus.queue('batches')
    await queue.sendBatch([{ data: 1 }, { data: 2 }, { data: 3 }])
    const worker = queue.workBatch(() => [new Error('first'), undefined, 'odd'], { observe, batchSize: 3 })
    await watcher.until('succeeded', 3)
    await runUntil(clock, worker.stop())
    expect(log.lines.filter(({ text }) => text.startsWith('Return nothing'))).toHaveLength(1)
  })
})
