import { show, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { checkPattern, matches } from '../core/pattern.ts'
import type { Message } from '../messages/message.ts'
import type { Handler } from '../worker/handler.ts'
import { deadLetter, Outcome } from '../worker/outcome.ts'

/** A handler and the patterns of its routing keys. */
export type Route<T> = readonly [handler: Handler<T>, patterns: string | readonly string[]]

type KeyOf = { keyOf(message: Message<unknown>): string | null | undefined }['keyOf']
/** Declared as a method, so that a handler may name the type of its data. */
type AnyHandler = { handle(message: Message<never>, context: never): unknown }['handle']

/** @public The reference is made from it. */
export const routesOptions = {
  keyOf: option.value<KeyOf, KeyOf>('What a message is routed by.', {
    default: (message) => message.meta.routingKey,
    defaultText: 'meta.routingKey',
    typeText: 'function',
    parse: option.parseFunction<KeyOf>,
  }),
  otherwise: option.value<AnyHandler, AnyHandler | null>('Handles what no pattern matches.', {
    default: null,
    defaultText: 'dead-letters it',
    typeText: 'function',
    parse: option.parseFunction<AnyHandler>,
  }),
} as const
export type RoutesOptions = option.OptionsInput<typeof routesOptions>

/**
 * A handler that calls every handler with a matching pattern, once each and in the order of the table. A handler that
 * throws, or returns `retry()`, `snooze()` or `deadLetter()`, decides about the message, and later handlers are not called.
 * Another attempt begins with the first handler again. Otherwise the last returned outcome counts.
 *
 * ```ts
 * queue.work(routes([[invoice, 'Orders.*.Paid'], [audit, ['Orders.#', 'Refunds.#']]]))
 * ```
 * @throws PATTERN_INVALID, TYPE
 * @example hires.work(routes([[handler, 'Orders.*.Paid'], [handler, ['Orders.#', 'Refunds.#']]]))
 */
export function routes<T = unknown>(table: readonly Route<T>[], options?: RoutesOptions): Handler<T> {
  const { keyOf, otherwise } = option.parseOptions(routesOptions, options, 'routes')
  if (!Array.isArray(table) || table.length === 0)
    throw option.typeError('the table of routes', table, 'an array of [handler, patterns], one or more')
  const parsed = Array.from<Route<T>, ParsedRoute<T>>(table, (route, index) => parseRoute(route, `route ${index}`))

  return async (message, context) => {
    const key = keyOf(message) ?? null
    const matching = key === null ? [] : parsed.filter(({ patterns }) => patterns.some((one) => matches(one, key)))
    if (matching.length === 0)
      return otherwise ? (otherwise as Handler<T>)(message, context) : deadLetter(noRoute(message, key))
    let last: Outcome | undefined
    for (const { handler } of matching) {
      const result = await handler(message, context)
      if (!(result instanceof Outcome)) continue
      if (endsEarly.has(result.decision.kind)) return result
      last = result
    }
    return last
  }
}

/** These outcomes do not finish the message, so no further handler is called. */
const endsEarly: ReadonlySet<string> = new Set(['retry', 'snooze', 'deadLetter'])

interface ParsedRoute<T> {
  readonly handler: Handler<T>
  readonly patterns: readonly string[]
}

function parseRoute<T>(route: Route<T>, path: string): ParsedRoute<T> {
  if (!Array.isArray(route)) throw option.typeError(path, route, 'an array of a handler and its patterns')
  const [handler, input] = route as unknown as [unknown, unknown]
  const patterns = Array.isArray(input) ? input : [input]
  if (patterns.length === 0) throw option.typeError(`the patterns of ${path}`, input, 'one pattern or more')
  return {
    handler: option.parseFunction<Handler<T>>(handler, `the handler of ${path}`),
    patterns: Array.from(patterns, (pattern) => checkPattern(pattern, `the pattern of ${path}`)),
  }
}

function noRoute({ id, queue }: Message<unknown>, key: string | null): TidingsError {
  const which = key === null ? 'has no routing key' : `has routing key ${show(key)}, which no pattern matches`
  return new TidingsError('NO_ROUTE', `message ${id} ${which}`, {
    details: { queue, id, routingKey: key },
    hint: 'Add a route for it, or the option `otherwise`, and redrive.',
  })
}
