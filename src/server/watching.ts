import { systemClock } from '../clock.ts'
import type { Watch } from '../engine.ts'
import type { Reply } from './route.ts'

/**
 * An answer of events that tells of a watch. It is in force before anything is answered, so that what is wrong with it
 * has a status of its own. A client that reads slowly is told once of all that happened meanwhile.
 * @param start calls back with in how many milliseconds there may be something
 * @param toEvent what the client is told of that
 */
export async function watching(
  signal: AbortSignal,
  start: (wake: (dueMs: number) => void) => Promise<Watch>,
  toEvent: (dueMs: number) => object,
): Promise<Reply> {
  /** The earliest of what the client was not told of. */
  let dueAt: number | null = null
  let ring = () => {}
  const watch = await start((dueMs) => {
    dueAt = Math.min(dueAt ?? Number.POSITIVE_INFINITY, systemClock.now() + dueMs)
    ring()
  })
  const takeDueMs = () => {
    const dueMs = dueAt === null ? null : Math.max(0, dueAt - systemClock.now())
    dueAt = null
    return dueMs
  }
  return {
    async run(events) {
      const ended = () => ring()
      signal.addEventListener('abort', ended, { once: true })
      try {
        await events.send('watching', {})
        while (!signal.aborted) {
          const dueMs = takeDueMs()
          if (dueMs !== null) await events.send('wake', toEvent(dueMs))
          else
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
