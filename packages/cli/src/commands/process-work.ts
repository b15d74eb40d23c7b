import type { Bus } from 'tidings/internal/bus/bus'
import type { Duration } from 'tidings/internal/core/duration'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { QueueOptions } from 'tidings/internal/messages/options'
import type { WorkerEvent } from 'tidings/internal/worker/events'
import { deadLetter } from 'tidings/internal/worker/outcome'
import type { Handler, Worker } from 'tidings/internal/worker/worker'
import type { HandlerModule } from '../handlers/load.ts'
import { StopOrders } from '../stop-orders.ts'
import type { Report } from './process-report.ts'

export interface RunOptions {
  /** Ends when no message is ready. */
  readonly once: boolean
  readonly maxRuntime?: Duration | undefined
  /** How long handlers may take to finish at the end of the process. */
  readonly deadline?: Duration | undefined
  readonly queue: QueueOptions
}

/**
 * Works until it is stopped, and finishes the messages in hand.
 * @throws an error that keeps the queue unreadable until the user corrects its cause
 */
export async function work(
  bus: Bus,
  modules: readonly HandlerModule[],
  { once, maxRuntime, deadline, queue }: RunOptions,
  report: Report,
): Promise<void> {
  const orders = new StopOrders(deadline, (text) => report.note(text))
  const start = (module: HandlerModule): Worker => {
    const observe = (event: WorkerEvent) => {
      report.tell(event)
      if (event.type === 'fetchFailed' && !isPassing(event.error)) orders.fail(event.error)
      module.options.observe?.(event)
    }
    return bus.queue(module.queue, queue).work(handlerOf(module), { ...module.options, observe })
  }
  const workers = modules.map(start)
  const names = modules.map((module) => module.queue)
  report.note(`handling ${names.join(', ')}${once ? ' until there is no more' : '; Ctrl-C stops'}`)
  orders.apply(workers, maxRuntime)
  if (once) for (const worker of workers) void worker.drain()
  await Promise.all(workers.map((worker) => worker.finished))
  report.sumUp(workers.map((worker, index) => ({ queue: names[index]!, ...worker.stats() })))
  orders.end()
}

/** QUEUE_NOT_FOUND is not fatal: the worker creates a dropped queue again. */
const isPassing = (error: unknown) => isTidingsError(error) && (error.retryable || error.code === 'QUEUE_NOT_FOUND')

/** Another attempt cannot make a message valid. */
function handlerOf({ validate, handle }: HandlerModule): Handler<unknown> {
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
