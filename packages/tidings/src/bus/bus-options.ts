import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { QueueOptions } from '../messages/options.ts'
import type { Telemetry } from '../port/telemetry.ts'

/** What a bus is made of beside its storage. */
export interface BusOptions {
  readonly clock?: Clock
  readonly logger?: Logger
  readonly queues?: ReadonlyMap<string, QueueOptions>
  readonly telemetry?: Telemetry
}

/** An option that is `undefined` counts as left out. What is no object is left for the check of options to refuse. */
export function withDefaults(
  given: QueueOptions | undefined,
  defaults: QueueOptions | undefined,
): QueueOptions | undefined {
  if (defaults === undefined || (given !== undefined && (typeof given !== 'object' || given === null))) return given
  return { ...defaults, ...Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) }
}
