import type { Engine } from './engine.ts'
import { isTidingsError, nearest, TidingsError } from './errors.ts'

/** Makes the call; that the queue does not exist is reported with the name that may have been meant. */
export async function withNearestName<T>(engine: Engine, queue: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw isTidingsError(error, 'QUEUE_NOT_FOUND') ? await naming(engine, queue, error) : error
  }
}

async function naming(engine: Engine, queue: string, error: TidingsError): Promise<TidingsError> {
  const names = (await engine.listQueues()).map((info) => info.queue)
  const meant = nearest(queue, names)
  const hint = meant ? `Did you mean '${meant}'? Or create it first.` : error.hint
  return new TidingsError(error.code, error.message, { cause: error.cause, details: error.details, hint })
}
