import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Engine, StoredMessage } from '../port/engine.ts'
import type { ExpiredPolicy } from './expiry.ts'
import type { LeaseCalls } from './lease.ts'

/** What a worker needs to know of the queue that it reads from. */
export interface QueueAccess<T> {
  readonly name: string
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  /** Where messages go that failed too often; null: into the archive. */
  readonly deadLetterQueue: string | null
  /** What becomes of messages whose time to live is over. */
  readonly expired: ExpiredPolicy
  readonly leaseCalls: LeaseCalls
  /** Creates the queue if that is allowed and it is missing. */
  ensure(): Promise<void>
  /** The data as the user's type. @throws BODY_INVALID if the schema refuses it */
  decode(stored: StoredMessage): T | Promise<T>
}
