import type { Ending } from '../port/engine.ts'
import type { Delivery } from './delivery.ts'
import type { WorkerEvent } from './events.ts'

/** What becomes of one message. */
export interface Verdict {
  readonly delivery: Delivery
  /** How its lease is to end; null if there is nothing left to settle. */
  readonly ending: Ending | null
  /** What there is to tell once the lease has ended so. */
  readonly events: readonly WorkerEvent[]
  /** When it comes back, in milliseconds; null if it has ended. */
  readonly returnsMs: number | null
}

/** Whether the handler has done with the message; what is dead-lettered is not done. */
export const isDone = ({ events, ending }: Verdict): boolean => ending !== null && events[0]?.type === 'succeeded'
