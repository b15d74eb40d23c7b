import type { Engine } from './engine.ts'
import { isTidingsError, nearest, TidingsError } from './errors.ts'

/** Makes the call; that the queue does not exist is reported with the name that may have been meant. */
export async function withNearestName<T>(engine: Engine, queue: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!isTidingsError(error, 'QUEUE_NOT_FOUND')) throw error
    const queues = (await engine.listQueues()).map((info) => info.queue)
    throw naming(error, queue, queues)
  }
}

/** The same error with a hint that names the nearest of what is there. */
export function naming(error: TidingsError, name: string, names: readonly string[]): TidingsError {
  const meant = nearest(name, names)
  const hint = meant ? `Did you mean '${meant}'? Or create it first.` : error.hint
  return new TidingsError(error.code, error.message, { cause: error.cause, details: error.details, hint })
}
