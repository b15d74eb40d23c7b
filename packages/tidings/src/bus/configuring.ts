import { isTidingsError } from '../core/errors.ts'
import { refuseLimits } from '../messages/queue-limits.ts'
import { parseSettings, type QueueSettings, type QueueSettingsChange, readSettings } from '../messages/settings.ts'
import type { Engine } from '../port/engine.ts'
import { refuseCircle, storedDeadLetterQueue } from './dead-letter-paths.ts'

/**
 * @param now what a pause begins with, in ms since 1970
 * @returns all settings
 * @throws QUEUE_NOT_FOUND; OPTION_UNKNOWN, TYPE, RANGE and the like; DEAD_LETTER_INVALID where dead letters would go in a circle
 */
export async function configureQueue(
  engine: Engine,
  queue: string,
  change: QueueSettingsChange,
  now: number,
): Promise<QueueSettings> {
  const parsed = parseSettings(change, now)
  refuseLimits(engine, parsed)
  const { deadLetter } = parsed
  if (typeof deadLetter === 'string')
    await refuseCircle(queue, deadLetter, async (name) => storedDeadLetterQueue(name, await settingsOf(engine, name)))
  return engine.configure(queue, parsed)
}

/** A queue that is missing has none. */
async function settingsOf(engine: Engine, queue: string): Promise<QueueSettings> {
  try {
    return readSettings((await engine.describe(queue))[0]?.settings ?? {})
  } catch (error) {
    if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return {}
    throw error
  }
}
