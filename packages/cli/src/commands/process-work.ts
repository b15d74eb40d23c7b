import type { Bus } from 'tidings/internal/bus/bus'
import type { Duration } from 'tidings/internal/core/duration'
import type { QueueOptions } from 'tidings/internal/messages/options'
import type { WorkerEvent } from 'tidings/internal/worker/events'
import type { Worker } from 'tidings/internal/worker/worker'
import type { HandlerModule } from '../handlers/load.ts'
import { handlerOf, isPassing } from '../handlers/process-queues.ts'
import type { Health } from '../health.ts'
import { StopOrders } from '../stop-orders.ts'
import type { Report } from './process-report.ts'

export interface RunOptions {
  /** Ends when no message is ready. */
  readonly once: boolean
  readonly maxRuntime?: Duration | undefined
  /** How long handlers may take to finish at the end of the process. */
  readonly deadline?: Duration | undefined
  readonly queue: QueueOptions
  /** Answers probes while it works. */
  readonly health?: Health | undefined
}

/**
 * Works until it is stopped, and finishes the messages in hand.
 * @throws an error that keeps the queue unreadable until the user corrects its cause
 */
export async function work(
  bus: Bus,
  modules: readonly HandlerModule[],
  { once, maxRuntime, deadline, queue, health }: RunOptions,
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
  // Counts from before the workers begin.
  if (health) bus.metrics()
  const workers = modules.map(start)
  const names = modules.map((module) => module.queue)
  report.note(`handling ${names.join(', ')}${once ? ' until there is no more' : '; Ctrl-C stops'}`)
  health?.watch(bus, workers)
  orders.apply(workers, maxRuntime)
  if (once) for (const worker of workers) void worker.drain()
  await Promise.all(workers.map((worker) => worker.finished))
  report.sumUp(workers.map((worker, index) => ({ queue: names[index]!, ...worker.stats() })))
  orders.end()
}
