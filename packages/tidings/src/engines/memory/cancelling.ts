import type { Cancelled } from '../../port/engine.ts'
import { askToCancel } from './leases.ts'
import type { Listeners } from './listeners.ts'
import type { MemoryQueue } from './queue.ts'
import type { Inside } from './settling.ts'
import { placeOf } from './stored.ts'

/** @param listeners told if the message is in hand; null: it stays there */
export function cancelOne(engine: Inside, queue: MemoryQueue, id: string, listeners: Listeners | null): Cancelled {
  const message = queue.live.get(id)
  const now = engine.now()
  if (message === undefined) return null
  if (placeOf(message, now) === 'leased') return listeners && askToCancel(queue, message, now, listeners)
  engine.remove(queue, message)
  engine.correlations.end(queue.name, id, 'cancelled', now)
  return 'removed'
}
