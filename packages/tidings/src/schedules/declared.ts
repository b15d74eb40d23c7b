import { isTidingsError, TidingsError } from '../core/errors.ts'
import { checkScheduleName } from '../core/names.ts'
import type { ScheduleDefinition } from '../port/schedule-store.ts'
import { occurrencesOf } from './occurrences.ts'
import { type DeclaredSchedule, parseSchedule } from './options.ts'

/**
 * Checks a schedule among those that an owner declares, as far as that needs no storage.
 * @throws as `Bus.schedule`, with its place
 */
export function parseDeclared(
  owner: string,
  name: string,
  declared: DeclaredSchedule,
  now: () => number,
): Promise<ScheduleDefinition> {
  return inPlace(name, async () => {
    checkScheduleName(name)
    const { definition } = await parseSchedule({ ...declared, owner }, now)
    const { timing } = definition
    // Bounds may have been passed since it was declared; a pattern that never matches is a mistake at any time.
    if (timing.cron !== null) {
      const occurrences = await occurrencesOf({ ...timing, startAt: null, endAt: null }, 0)
      if (occurrences.after(now()) === null) throw hasNoTime(name)
    }
    return definition
  })
}

export async function inPlace<T>(name: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw isTidingsError(error) ? error.within(`schedules.${name}`) : error
  }
}

export const hasNoTime = (name: string) =>
  new TidingsError('SCHEDULE_NEVER', `schedule '${name}' has no time that lies ahead`, { details: { name } })
