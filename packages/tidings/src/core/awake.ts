import { sleep, systemClock } from './clock.ts'
import { nextTurn } from './turns.ts'

const momentMs = 250

/**
 * Whether the promise is settled within so many milliseconds, without the time in which the event loop was blocked. Timers
 * are told before what came meanwhile is read: so time is counted in moments, with a turn to read after each of them.
 */
export async function settlesWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const settled = new AbortController()
  const settle = () => settled.abort()
  promise.then(settle, settle)
  for (let moments = Math.ceil(milliseconds / momentMs); moments > 0 && !settled.signal.aborted; moments--)
    await sleep(systemClock, momentMs, settled.signal)
  if (!settled.signal.aborted) await nextTurn()
  return settled.signal.aborted
}
