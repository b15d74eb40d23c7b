import { isTidingsError } from '../core/errors.ts'
import { isInternalQueue, whyUnusable } from '../core/names.ts'
import * as option from '../core/options.ts'
import type { BusDependencies } from '../messages/access.ts'
import { pauseIn } from '../messages/settings.ts'
import type { Engine, QueueInfo } from '../port/engine.ts'
import type { QueueFigures } from '../port/pause.ts'

/** For lists of queues, and of their figures. */
export const queueListOptions = {
  internal: option.boolean('Also those that Tidings made for itself.', { default: false }),
} as const
export type QueueListOptions = option.OptionsInput<typeof queueListOptions>

/** By name. One whose name only other clients of PGMQ take has the reason in `unusable`. */
export async function listQueues(engine: Engine, options: QueueListOptions | undefined): Promise<QueueInfo[]> {
  const { internal } = option.parseOptions(queueListOptions, options, 'bus.queues')
  const queues = await engine.describe(null)
  const listed = internal ? queues : queues.filter(({ queue }) => !isInternalQueue(queue))
  return listed.map((info) => {
    const unusable = whyUnusable(info.queue)
    return unusable === undefined ? info : { ...info, unusable }
  })
}

/** The figures of the queues that are wanted, by name. */
export async function statsOfQueues(
  { engine, clock }: Pick<BusDependencies, 'engine' | 'clock'>,
  isWanted: (queue: string) => boolean,
  options: QueueListOptions | undefined,
): Promise<QueueFigures[]> {
  const now = clock.now()
  const wanted = (await listQueues(engine, options)).filter(({ queue }) => isWanted(queue))
  const figures = wanted.map(async ({ queue, settings }) => {
    const stats = await ifThere(engine.stats(queue))
    return stats && { ...stats, pause: pauseIn(settings, now) }
  })
  return (await Promise.all(figures)).filter((one) => one !== null)
}

/** @returns null for a queue that was dropped meanwhile */
export async function ifThere<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call
  } catch (error) {
    if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return null
    throw error
  }
}
