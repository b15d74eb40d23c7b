import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { noQueue, noTopic } from 'tidings/internal/port/refusals'
import { type Caller, everybody } from '../auth/caller.ts'
import type { Tokens } from '../auth/tokens.ts'
import type { AppHooks } from './app.ts'
import type { AppContext } from './context.ts'

/**
 * Lets callers do what they may. What a caller may not see is answered as if it were not there.
 * @param identify says who asks
 */
export function admission(identify: (context: AppContext) => Caller): NonNullable<AppHooks['admit']> {
  return (context, { scope, isPublic }, { queue, topic }) => {
    if (isPublic) return everybody
    const caller = identify(context)
    if (scope !== null && !caller.has(scope))
      throw new TidingsError(
        'FORBIDDEN',
        `${caller.called ?? `the token '${caller.name}'`} lacks the scope '${scope}'`,
        {
          details: { scope },
        },
      )
    if (queue !== undefined && !caller.sees(queue)) throw noQueue(queue)
    if (topic !== undefined && !caller.sees(topic)) throw noTopic(topic)
    return caller
  }
}

/** Knows callers by their tokens. @throws UNAUTHORIZED, RATE_LIMITED */
export const byToken = (tokens: Tokens) => (context: AppContext) => {
  try {
    const caller = tokens.callerOf(context.req.raw)
    context.set('caller', caller.name)
    return caller
  } catch (error) {
    if (isTidingsError(error, 'UNAUTHORIZED')) context.header('WWW-Authenticate', 'Bearer realm="tidings"')
    if (isTidingsError(error, 'RATE_LIMITED')) context.header('Retry-After', String(error.details.retryAfterS))
    throw error
  }
}
