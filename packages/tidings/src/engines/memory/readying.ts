import type { MemoryQueue } from './queue.ts'
import { endHolds } from './sharing.ts'
import { placeOf } from './stored.ts'

/** What `makeReady` of the port does. @param wake tells who waits for the queue */
export function makeReady(queue: MemoryQueue, ids: readonly string[], now: number, wake: () => void): boolean[] {
  return ids.map((id) => {
    const message = queue.live.get(id)
    if (message === undefined || placeOf(message, now) === 'leased') return false
    endHolds(queue, message)
    queue.live.set(id, { ...message, visibleAt: Math.min(message.visibleAt, now) })
    wake()
    return true
  })
}
