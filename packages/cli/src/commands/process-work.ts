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
  /** Ends when the queues have nothing that is ready. */
  readonly once: boolean
  readonly maxRuntime?: Duration | undefined
  /** How long handlers may take to finish when the process is to end. */
  readonly deadline?: Duration | undefined
  readonly queue: QueueOptions
}

/**
 * Works until told to stop, and finishes what is in hand.
 * @throws what makes reading impossible until somebody does something about it
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

/** A queue that somebody dropped is made again by its worker. */
const isPassing = (error: unknown) => isTidingsError(error) && (error.retryable || error.code === 'QUEUE_NOT_FOUND')

/** An invalid message is not worth another attempt. */
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
