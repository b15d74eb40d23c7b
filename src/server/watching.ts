import type { Watch } from '../engine.ts'
import type { Reply } from './route.ts'

/**
 * An answer of events that tells of a watch. It is in force before anything is answered, so that what is wrong with it
 * has a status of its own.
 */
export async function watching<T extends object>(
  signal: AbortSignal,
  start: (wake: (event: T) => void) => Promise<Watch>,
): Promise<Reply> {
  const waiting: T[] = []
  let ring = () => {}
  const watch = await start((event) => {
    waiting.push(event)
    ring()
  })
  return {
    async run(events) {
      const ended = () => ring()
      signal.addEventListener('abort', ended, { once: true })
      try {
        await events.send('watching', {})
        while (!signal.aborted) {
          for (const event of waiting.splice(0)) await events.send('wake', event)
          if (waiting.length > 0 || signal.aborted) continue
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
