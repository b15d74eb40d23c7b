import assert from 'node:assert/strict'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { Message } from 'tidings/internal/messages/message'
import { logging, type Middleware, pipe, timeout, validated } from 'tidings/internal/router/middleware'
import type { Handler } from 'tidings/internal/worker/handler'
import { Outcome } from 'tidings/internal/worker/outcome'
import { FakeClock } from 'tidings/testing'
import { describe, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { Lines } from '../worker/support.ts'
import { call } from './support.ts'

describe('pipe', () => {
  const noting =
    (name: string, notes: string[]) =>
    <T>(next: Handler<T>): Handler<T> =>
    async (message, context) => {
      notes.push(`${name} in`)
      const result = await next(message, context)
      notes.push(`${name} out`)
      return result
    }

  test('wraps from left to right', async () => {
    const notes: string[] = []
    const handler = pipe(
      (_message: Message<unknown>) => {
        notes.push('handler')
        return 'result'
      },
      noting('first', notes),
      noting('second', notes),
      noting('third', notes),
      noting('fourth', notes),
    )
    assert.equal(await call(handler), 'result')
    const names = ['first', 'second', 'third', 'fourth']
    assert.deepEqual(notes, [
      ...[...names].reverse().map((name) => `${name} in`),
      'handler',
      ...names.map((name) => `${name} out`),
    ])
  })

  test('of a handler alone is that handler', () => {
    const handler = () => {}
    assert.equal(pipe(handler), handler)
  })

  test('infers types through middleware that changes them', () => {
    const hire = ({ data }: Message<{ n: number }>) => data.n.toFixed()
    const handler = pipe(hire, timeout('5s'), validated(z.object({ n: z.number() })), logging())
    expectTypeOf(handler).toEqualTypeOf<Handler<unknown>>()
    // @ts-expect-error the handler takes other data than the schema gives
    pipe((_: Message<string>) => {}, validated(z.number()))
    expectTypeOf(pipe((_: Message<string>) => {}, timeout('5s'))).toEqualTypeOf<Handler<string>>()
    const wrapped = pipe((_: Message<string>) => {}, timeout('5s'), logging(), timeout('9s'), logging(), logging())
    expectTypeOf(wrapped).toEqualTypeOf<Handler<string>>()
    // A handler that is written where it is wrapped gets the type of the queue.
    const work = (_handler: Handler<{ name: string }>) => {}
    work(
      pipe(
        async (message, { signal }) => {
          expectTypeOf(message).toEqualTypeOf<Message<{ name: string }>>()
          expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
        },
        timeout('5s'),
        logging(),
      ),
    )
    expectTypeOf(validated(z.string())).toEqualTypeOf<Middleware<string, unknown>>()
  })
})

describe('timeout', () => {
  test('fails a handler that takes longer, and aborts its signal', async () => {
    const clock = new FakeClock()
    let aborted: unknown
    const slow: Handler<unknown> = (_message, { signal }) =>
      new Promise<void>((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = signal.reason
          reject(new Error('late, and nobody minds'))
        })
      })
    const calling = call(pipe(slow, timeout('5s', clock))).catch((error: unknown) => error)
    await clock.advance(4_999)
    assert.equal(aborted, undefined)
    await clock.advance(1)
    const error = await calling
    assert(isTidingsError(error, 'TIMEOUT'))
    assert.equal(error.message, 'the handler of message 1 took longer than 5s')
    assert.equal(aborted, error)
  })

  test('leaves no timer behind', async () => {
    const clock = new FakeClock()
    assert.equal(await call(pipe(() => 'done', timeout('5s', clock))), 'done')
    await assert.rejects(call(pipe(() => Promise.reject(new Error('own')), timeout(5_000, clock))), /own/)
    const throwing = () => {
      throw new Error('at once')
    }
    await assert.rejects(call(pipe(throwing, timeout(5_000, clock))), /at once/)
    assert.equal(clock.pending, 0)
  })

  test('passes on the abort of the worker, and the rest of the context', async () => {
    const stopping = new AbortController()
    const logger = new Lines()
    const handler: Handler<unknown> = async (_message, context) => {
      const { signal } = context
      assert.equal(context.signal, signal)
      stopping.abort('stop')
      return [signal.aborted, signal.reason, context.queue, context.attempt, context.maxAttempts, context.logger]
    }
    const result = await call(pipe(handler, timeout('5s')), { signal: stopping.signal, logger })
    assert.deepEqual(result, [true, 'stop', 'events', 2, 5, logger])
  })

  test('is checked when it is made', () => {
    assert.throws(() => timeout(0), { code: 'RANGE' })
    assert.throws(() => timeout('5 s' as '5s'), { code: 'DURATION' })
  })
})

describe('logging', () => {
  const meta = { routingKey: 'a.b', targetId: 't' }
  const details = { queue: 'events', id: '1', attempt: 2, routingKey: 'a.b', correlationId: undefined, targetId: 't' }

  test('logs the start and the end', async () => {
    const clock = new FakeClock()
    const logger = new Lines()
    const handler = async () => {
      await clock.advance(30)
      return 'result'
    }
    assert.equal(await call(pipe(handler, logging(logger, clock)), { meta }), 'result')
    assert.deepEqual(logger.lines, [
      { level: 'debug', text: 'handler started', details },
      { level: 'info', text: 'handler done', details: { ...details, durationMs: 30 } },
    ])
  })

  test('logs a failure and rethrows it; the default is the logger of the worker', async () => {
    const logger = new Lines()
    const error = new Error('broken')
    await assert.rejects(
      call(
        pipe(() => Promise.reject(error), logging()),
        { meta, logger },
      ),
      error,
    )
    const { level, text, details } = logger.lines.at(-1)!
    assert.deepEqual([level, text], ['warn', 'handler failed'])
    const { err } = details as { err: Error }
    assert(err instanceof Error)
    assert.deepEqual([err.message, err.stack], ['broken', error.stack])
  })
})

describe('validated', () => {
  const schema = z.object({ n: z.string().transform(Number) })

  test('gives the handler the output of the schema', async () => {
    const handler = pipe(({ data }: Message<{ n: number }>) => data.n + 1, validated(schema))
    assert.equal(await call(handler, { data: { n: '41' } }), 42)
  })

  test('dead-letters invalid data, without calling the handler', async () => {
    const handler = () => assert.fail('was called')
    const result = await call(pipe(handler, validated(schema)), { data: { n: 1 } })
    assert(result instanceof Outcome && result.decision.kind === 'deadLetter')
    assert(isTidingsError(result.decision.reason, 'BODY_INVALID'))
    assert.match(result.decision.reason.message, /^data of message 1 in queue 'events' is invalid at n/)
  })

  test('lets a schema that breaks fail the attempt', async () => {
    const broken = z.string().transform(() => {
      throw new Error('lookup failed')
    })
    await assert.rejects(
      call(
        pipe(() => {}, validated(broken)),
        { data: 'x' },
      ),
      /lookup failed/,
    )
  })

  test('is checked when it is made', () => {
    assert.throws(() => validated({} as never), { code: 'TYPE' })
  })
})
