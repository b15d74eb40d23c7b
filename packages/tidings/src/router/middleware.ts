import { type Clock, systemClock } from '../core/clock.ts'
import { type Duration, showDuration } from '../core/duration.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import * as option from '../core/options.ts'
import { parseSchema, type StandardSchemaV1, validate } from '../core/schema.ts'
import type { Handler, HandlerContext } from '../worker/handler.ts'
import { deadLetter } from '../worker/outcome.ts'

/** Wraps a handler in another one. `Inner` is the type of the inner handler's data. */
export type Middleware<Inner, Outer = Inner> = (next: Handler<Inner>) => Handler<Outer>

/** Middleware that leaves the data as it is, for handlers of any data: `timeout()`, `logging()`. */
export type AnyMiddleware = <T>(next: Handler<T>) => Handler<T>

/**
 * Wraps a handler in middleware, from left to right: the last middleware sees a message first.
 *
 * ```ts
 * queue.work(pipe(hire, timeout('5s'), validated(schema), logging()))
 * ```
 * @example hires.work(pipe(handler, logging(), timeout('30s')))
 */
export function pipe<A>(handler: Handler<A>, ...middleware: AnyMiddleware[]): Handler<A>
export function pipe<A, B>(handler: Handler<A>, first: Middleware<A, B>): Handler<B>
export function pipe<A, B, C>(handler: Handler<A>, first: Middleware<A, B>, second: Middleware<B, C>): Handler<C>
export function pipe<A, B, C, D>(
  handler: Handler<A>,
  first: Middleware<A, B>,
  second: Middleware<B, C>,
  third: Middleware<C, D>,
): Handler<D>
export function pipe<A, B, C, D>(
  handler: Handler<A>,
  first: Middleware<A, B>,
  second: Middleware<B, C>,
  third: Middleware<C, D>,
  ...more: Middleware<D>[]
): Handler<D>
export function pipe(handler: Handler<unknown>, ...middleware: LooseMiddleware[]): Handler<unknown> {
  return middleware.reduce((next, wrap) => wrap(next), handler)
}

/** Declared as a method: the overloads have checked that the types fit together. */
type LooseMiddleware = { wrap(next: Handler<unknown>): Handler<unknown> }['wrap']

const limitOption = option.duration('How long one call of the handler may take.', {
  default: null,
  min: 1,
  max: 86_400_000,
})

/**
 * Fails an attempt with TIMEOUT when the handler takes longer, and aborts the handler's signal. A handler that ignores the
 * signal goes on, perhaps beside the next attempt.
 * @example hires.work(pipe(handler, timeout('30s')))
 */
export function timeout(limit: Duration, clock: Clock = systemClock): AnyMiddleware {
  const milliseconds = limitOption.parse(limit, 'limit') as number
  return (next) => async (message, context) => {
    const timedOut = new AbortController()
    let end = () => {}
    const over = new Promise<never>((_, reject) => {
      const timer = clock.after(milliseconds, () => {
        const text = `the handler of message ${message.id} took longer than ${showDuration(milliseconds)}`
        const error = new TidingsError('TIMEOUT', text, { details: { queue: context.queue, id: message.id } })
        timedOut.abort(error)
        reject(error)
      })
      end = () => timer.cancel()
    })
    try {
      return await Promise.race([(async () => next(message, withSignal(context, timedOut.signal)))(), over])
    } finally {
      end()
    }
  }
}

/** The same context with a second source for its signal, combined when the handler asks for it. */
function withSignal(context: HandlerContext, other: AbortSignal): HandlerContext {
  let signal: AbortSignal | undefined
  return new Proxy(context, {
    get(target, member) {
      if (member === 'signal') {
        signal ??= AbortSignal.any([target.signal, other])
        return signal
      }
      // The context's private members need the context itself as `this`.
      const value: unknown = Reflect.get(target, member, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/**
 * Logs every call: debug at the start, info on success, warn on failure.
 * @example hires.work(pipe(handler, logging()))
 */
export function logging(logger?: Logger, clock: Clock = systemClock): AnyMiddleware {
  return (next) => async (message, context) => {
    const log = logger ?? context.logger
    const { id, queue, meta } = message
    const { routingKey, correlationId, targetId } = meta
    const details = { queue, id, attempt: context.attempt, routingKey, correlationId, targetId }
    const startedAt = clock.now()
    log.debug(details, 'handler started')
    try {
      const result = await next(message, context)
      log.info({ ...details, durationMs: clock.now() - startedAt }, 'handler done')
      return result
    } catch (error) {
      log.warn({ ...details, durationMs: clock.now() - startedAt, err: loggable(error) }, 'handler failed')
      throw error
    }
  }
}

/**
 * Gives the handler the output of a Standard Schema. A message with invalid data is dead-lettered, because another attempt
 * cannot make the data valid.
 * @example hires.work(pipe(handler, validated(schema)))
 */
export function validated<Output>(schema: StandardSchemaV1<unknown, Output>): Middleware<Output, unknown> {
  parseSchema(schema, 'schema')
  return (next) => async (message, context) => {
    let data: Output
    try {
      const text = `data of message ${message.id} in queue '${message.queue}'`
      data = (await validate(schema, message.data, text)) as Output
    } catch (error) {
      if (isTidingsError(error, 'BODY_INVALID')) return deadLetter(error)
      throw error
    }
    return next(message.withData(data), context)
  }
}
