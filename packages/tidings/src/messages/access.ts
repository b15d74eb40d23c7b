import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Engine, StoredMessage } from '../port/engine.ts'
import type { Telemetry } from '../port/telemetry.ts'
import type { Wakeups } from '../port/wakeups.ts'
import type { ExpiredPolicy } from './expiry.ts'
import type { KnownSettings } from './known-settings.ts'
import type { LeaseCalls } from './lease.ts'
import type { Life } from './life.ts'

/** What everything on a bus works with. */
export interface BusDependencies {
  readonly engine: Engine
  /** The seam round that, and round handlers. */
  readonly telemetry: Telemetry
  readonly wakeups: Wakeups
  readonly life: Life
  readonly clock: Clock
  readonly logger: Logger
}

/** What a worker needs to know of the queue that it reads from. */
export interface QueueAccess<T> extends BusDependencies {
  readonly name: string
  /** Where messages go that failed too often; null: into the archive. */
  readonly deadLetterQueue: string | null
  /** What becomes of messages whose time to live is over. */
  readonly expired: ExpiredPolicy
  readonly leaseCalls: LeaseCalls
  readonly settings: KnownSettings
  /** Creates the queue if that is allowed and it is missing. */
  ensure(): Promise<void>
  /** The data as the user's type. @throws BODY_INVALID if the schema refuses it */
  decode(stored: StoredMessage): T | Promise<T>
  /** The data for who only looks: as it was given, unchecked; what the serializer refuses is its bytes. */
  readonly show: (stored: StoredMessage) => unknown
}
