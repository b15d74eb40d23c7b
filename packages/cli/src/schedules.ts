import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { CheckedConfig } from './config/load.ts'

/**
 * Declares the schedules of the configuration file for its owner: what it does not list any more is removed.
 * @param handled queues that this process makes anyway
 * @throws as `Schedules.declare`, with the place in the file
 */
export async function declareSchedules(
  bus: Bus,
  { file, config }: CheckedConfig,
  tell: (text: string) => void,
  handled: readonly string[] = [],
): Promise<void> {
  const { owner, schedules = {}, queues = {} } = config
  if (owner === undefined) return
  try {
    // On a fresh storage they are not there yet. A name that stands nowhere else is taken for a mistake.
    const known = new Set([...Object.keys(queues), ...handled])
    const targets = new Set(Object.values(schedules).map(({ queue }) => queue as string | undefined))
    for (const queue of targets)
      if (queue !== undefined && known.has(queue) && ownOf(queues, queue)?.create !== false)
        await bus.queue(queue).create()
    await bus.schedules.declare(owner, schedules)
  } catch (error) {
    throw isTidingsError(error) ? error.within(file!) : error
  }
  const names = Object.keys(schedules)
  tell(`schedules of ${owner}: ${names.length > 0 ? names.join(', ') : 'none'}`)
}

const ownOf = <T>(entries: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(entries, name) ? entries[name] : undefined
