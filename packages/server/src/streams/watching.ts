import { systemClock } from 'tidings/internal/core/clock'
import type { Watch } from 'tidings/internal/port/engine'
import type { Reply } from '../http/route.ts'

/**
 * An answer of events that tells of a watch. It is in force before anything is answered, so that what is wrong with it
 * has a status of its own. A client that reads slowly is told once of what became ready meanwhile, and once of what will.
 * @param start calls back with in how many milliseconds there may be something
 * @param toEvent what the client is told of that
 */
export async function watching(
  signal: AbortSignal,
  start: (wake: (dueMs: number) => void) => Promise<Watch>,
  toEvent: (dueMs: number) => object,
): Promise<Reply> {
  /** What the client was not told of: whether something is ready, and the earliest of what will be. */
  let isReady = false
  let dueAt: number | null = null
  let ring = () => {}
  const watch = await start((dueMs) => {
    if (dueMs <= 0) isReady = true
    else dueAt = Math.min(dueAt ?? Number.POSITIVE_INFINITY, systemClock.now() + dueMs)
    ring()
  })
  const takeAll = () => {
    const all = [...(isReady ? [0] : []), ...(dueAt === null ? [] : [Math.max(0, dueAt - systemClock.now())])]
    isReady = false
    dueAt = null
    return all
  }
  return {
    async run(events) {
      const ended = () => ring()
      signal.addEventListener('abort', ended, { once: true })
      try {
        await events.send('watching', {})
        while (!signal.aborted) {
          const all = takeAll()
          for (const dueMs of all) await events.send('wake', toEvent(dueMs))
          if (all.length === 0)
            await new Promise<void>((resolve) => {
              ring = resolve
            })
        }
      } finally {
        signal.removeEventListener('abort', ended)
        watch.close()
      }
    },
  }
}
