import { show, TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { checkPattern, matches } from '../core/pattern.ts'
import type { Message } from '../messages/message.ts'
import type { Handler } from '../worker/handler.ts'
import { deadLetter, Outcome } from '../worker/outcome.ts'

/** A handler and the patterns of the routing keys that it wants to see. */
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
 * A handler that calls, one after the other and in the order given, every handler that has a pattern for the message,
 * each once. When one of them throws, or returns `retry()`, `snooze()` or `deadLetter()`, that is what becomes of the
 * message, and those after it are not called; another attempt begins with the first of them again. Otherwise the last
 * outcome that one of them returned counts.
 *
 * ```ts
 * queue.work(routes([[invoice, 'Orders.*.Paid'], [audit, ['Orders.#', 'Refunds.#']]]))
 * ```
 * @throws PATTERN_INVALID, TYPE
 */
export function routes<T = unknown>(table: readonly Route<T>[], options?: RoutesOptions): Handler<T> {
  const { keyOf, otherwise } = option.parseOptions(routesOptions, options, 'routes')
  if (!Array.isArray(table) || table.length === 0)
    throw option.typeError('the table of routes', table, 'an array of [handler, patterns], one or more')
  const parsed = Array.from<Route<T>, ParsedRoute<T>>(table, (route, index) => parseRoute(route, `route ${index}`))

  return async (message, context) => {
    const key = keyOf(message) ?? null
    const wanted = key === null ? [] : parsed.filter(({ patterns }) => patterns.some((one) => matches(one, key)))
    if (wanted.length === 0)
      return otherwise ? (otherwise as Handler<T>)(message, context) : deadLetter(noRoute(message, key))
    let last: Outcome | undefined
    for (const { handler } of wanted) {
      const result = await handler(message, context)
      if (!(result instanceof Outcome)) continue
      if (endsEarly.has(result.decision.kind)) return result
      last = result
    }
    return last
  }
}

/** The message is not done by these, so nobody else should act on it. */
const endsEarly: ReadonlySet<string> = new Set(['retry', 'snooze', 'deadLetter'])

interface ParsedRoute<T> {
  readonly handler: Handler<T>
  readonly patterns: readonly string[]
}

function parseRoute<T>(route: Route<T>, place: string): ParsedRoute<T> {
  if (!Array.isArray(route)) throw option.typeError(place, route, 'an array of a handler and its patterns')
  const [handler, given] = route as unknown as [unknown, unknown]
  const patterns = Array.isArray(given) ? given : [given]
  if (patterns.length === 0) throw option.typeError(`the patterns of ${place}`, given, 'one pattern or more')
  return {
    handler: option.parseFunction<Handler<T>>(handler, `the handler of ${place}`),
    patterns: Array.from(patterns, (pattern) => checkPattern(pattern, `the pattern of ${place}`)),
  }
}

function noRoute({ id, queue }: Message<unknown>, key: string | null): TidingsError {
  const which = key === null ? 'has no routing key' : `has routing key ${show(key)}, which no pattern matches`
  return new TidingsError('NO_ROUTE', `message ${id} ${which}`, {
    details: { queue, id, routingKey: key },
    hint: 'Add a route for it, or the option `otherwise`, and redrive.',
  })
}
