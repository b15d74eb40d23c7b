import type { Ending } from '../port/engine.ts'
import type { Delivery } from './delivery.ts'
import type { WorkerHappening } from './events.ts'

/** The result of one message. */
export interface Verdict {
  readonly delivery: Delivery
  /** How the lease ends; null if there is nothing left to settle. */
  readonly ending: Ending | null
  /** The events to tell after the settlement. */
  readonly events: readonly WorkerHappening[]
  /** The events instead, if it turns out that the transaction was committed, whose answer was lost. */
  readonly committed?: readonly WorkerHappening[]
  /** When the message comes back, in milliseconds; null if it has ended. */
  readonly returnsMs: number | null
}

/** Whether the handler succeeded; a dead-lettered message is not done. */
export const isDone = ({ events, ending }: Verdict): boolean => ending !== null && events[0]?.type === 'succeeded'
