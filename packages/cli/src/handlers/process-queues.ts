import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { signalOption } from 'tidings/internal/messages/options'
import type { WorkerStats } from 'tidings/internal/worker/events'
import { deadLetter } from 'tidings/internal/worker/outcome'
import type { Handler, WorkOptions } from 'tidings/internal/worker/worker'
import type { HandlerModule } from './load.ts'

export const processOptions = {
  once: option.boolean('Ends when no message is ready.', { default: true }),
  maxRuntime: option.duration('Ends after this time.', { default: null, min: 1, max: 31_536_000_000 }),
  signal: { ...signalOption, doc: 'Ends it.' },
} as const
export type ProcessOptions = option.OptionsInput<typeof processOptions>

/**
 * Handles messages with modules of `loadHandlers`, as `tidings process` does: what was handled is archived, unless the
 * options of the module say otherwise.
 * @param work goes before the options of the modules
 * @returns the counts by queue, once nothing is ready, or it was ended
 * @throws what keeps a queue from being read, when all workers have stopped
 * @example const counts = await processQueues(bus, (await loadHandlers(['handlers'])).handlers)
 */
export async function processQueues(
  bus: Bus,
  handlers: readonly HandlerModule[],
  options?: ProcessOptions,
  work: WorkOptions = {},
): Promise<Readonly<Record<string, WorkerStats>>> {
  const { once, maxRuntime, signal } = option.parseOptions(processOptions, options, 'processQueues')
  let failure: unknown
  const workers = handlers.map((module) => {
    const settings: WorkOptions = { onSuccess: 'archive', ...module.options, ...work }
    const worker = bus.queue(module.queue).work(handlerOf(module), {
      ...settings,
      observe: (event) => {
        settings.observe?.(event)
        if (event.type !== 'fetchFailed' || isPassing(event.error)) return
        failure ??= event.error
        stop()
      },
    })
    return [module.queue, worker] as const
  })
  const stop = () => {
    for (const [, worker] of workers) void worker.stop()
  }
  const timer = maxRuntime === null ? undefined : setTimeout(stop, maxRuntime)
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  if (once) for (const [, worker] of workers) void worker.drain()
  await Promise.all(workers.map(([, worker]) => worker.finished))
  clearTimeout(timer)
  signal?.removeEventListener('abort', stop)
  if (failure !== undefined) throw failure
  return Object.fromEntries(workers.map(([queue, worker]) => [queue, worker.stats()]))
}

/** QUEUE_NOT_FOUND is not fatal: the worker creates a dropped queue again. */
export const isPassing = (error: unknown): boolean =>
  isTidingsError(error) && (error.retryable || error.code === 'QUEUE_NOT_FOUND')

/** Another attempt cannot make a message valid. */
export function handlerOf({ validate, handle }: HandlerModule): Handler<unknown> {
  if (!validate) return handle
  return async (message, context) => {
    try {
      await validate(message)
    } catch (error) {
      return deadLetter(error)
    }
    return handle(message, context)
  }
}
