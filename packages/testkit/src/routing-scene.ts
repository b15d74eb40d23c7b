import type { NewMessage, PublishedCopy, Transaction } from 'tidings/internal/port/engine'
import { only, queueCopies, routed, type Scene } from './scene.ts'

/** Publishes one message. */
export async function publish(
  scene: Scene,
  routingKey: string,
  message: Partial<NewMessage> = {},
  transaction: Transaction | null = null,
): Promise<PublishedCopy[]> {
  return only(await scene.engine.publish([routed(routingKey, message)], transaction))
}

/** Queues that are bound to one pattern, in the order in which their copies are reported. */
export async function boundQueues(scene: Scene, count: number, pattern: string): Promise<string[]> {
  const queues: string[] = []
  for (let index = 0; index < count; index++) queues.push(await scene.newQueue())
  for (const queue of queues) await scene.engine.bind({ pattern, queue })
  return queues.sort()
}

export const queuesOf = (copies: readonly PublishedCopy[]) => queueCopies(copies).map(({ queue }) => queue)
export const idIn = (copies: readonly PublishedCopy[], queue: string) =>
  only(queueCopies(copies).filter((one) => one.queue === queue)).id
