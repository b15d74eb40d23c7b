import type { Engine } from '../port/engine.ts'
import type { StoredSchedule } from '../port/schedule-store.ts'

/** A schedule whose messages take each other's place has few of them. */
const most = 100

/** Removes messages of the schedule that nobody has in hand, since another one takes their place. */
export async function removeWaiting(
  engine: Pick<Engine, 'peek' | 'cancel'>,
  { name, definition }: StoredSchedule,
): Promise<void> {
  const { overlap, target } = definition
  if (overlap !== 'replace' || !('queue' in target)) return
  const meta = { schedule: name }
  const waiting = await engine.peek(target.queue, { place: null, limit: most, afterId: null, ids: null, meta })
  if (waiting.length === 0) return
  await engine.cancel(
    target.queue,
    waiting.map(({ id }) => id),
  )
}
