import { isTidingsError, nearest, TidingsError } from '../core/errors.ts'
import type { Engine } from '../port/engine.ts'

/** Makes the call; that the queue does not exist is reported with the name that may have been meant. */
export async function withNearestName<T>(engine: Engine, queue: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
    throw await naming(error, queue, async () => (await engine.describe(null)).map((info) => info.queue))
  }
}

/** The same error with a hint that names the nearest of what is there; without it for who may not list that. */
export async function naming(
  error: TidingsError,
  name: string,
  list: () => Promise<readonly string[]>,
): Promise<TidingsError> {
  const meant = nearest(name, await list().catch(() => []))
  const hint = meant ? `Did you mean '${meant}'? Or create it first.` : error.hint
  return new TidingsError(error.code, error.message, { cause: error.cause, details: error.details, hint })
}
