import type { Dedup, NewMessage, SendResult } from '../../port/engine.ts'
import type { MemoryQueue } from './queue.ts'
import { dueOf, endOf, type Times } from './stored.ts'

type Replacing = Times & Pick<NewMessage, 'data' | 'meta' | 'headers'> & { readonly dedup: Dedup }

/** Gives a message that nobody has read the data of another. */
export function replaceUnread(
  { live, dedup: ids }: MemoryQueue,
  id: string,
  { data, meta, headers, dedup, ...times }: Replacing,
  now: number,
  wake: (visibleAt: number) => void,
): SendResult {
  const there = live.get(id)!
  const { extend, atMostMs } = dedup.replace!
  const latest = there.sentAt + (atMostMs ?? Number.POSITIVE_INFINITY)
  const visibleAt = extend ? Math.max(now, Math.min(dueOf(times, now), latest)) : there.visibleAt
  live.set(id, structuredClone({ ...there, data, meta, headers, visibleAt }))
  if (extend) ids.set(dedup.id, { firstId: id, until: endOf(dedup, now) })
  wake(visibleAt)
  return { id, duplicate: false, replaced: true }
}
