import type { Bus } from 'tidings/internal/bus/bus'
import type { Message } from 'tidings/internal/messages/message'
import type { Teller } from '../history.ts'
import type { Plan } from '../plan.ts'
import type { Random } from '../random.ts'

/** The dependencies of an actor. */
export interface Scene {
  readonly bus: Bus
  readonly plan: Plan
  readonly history: Teller
  readonly random: Random
  /** The name of the process, unique in a run. */
  readonly name: string
  /** Asks the actor to finish its current work and end. */
  readonly stop: AbortSignal
  /** Whether a worker is to kill its process while it makes a dead letter. */
  isToDie(): boolean
}

/** Resolves when the actor has ended after `stop`. */
export type Actor = (scene: Scene) => Promise<void>

export type Role = 'producer' | 'worker' | 'subscriber'

/** Resolves when the actor is asked to end. */
export const untilStopped = ({ stop }: Scene): Promise<void> =>
  new Promise((resolve) => {
    if (stop.aborted) resolve()
    stop.addEventListener('abort', () => resolve(), { once: true })
  })

/** The lease under which a message was read. */
export const leaseOf = ({ lastReadAt, visibleAt }: Message<unknown>) => ({
  readAt: lastReadAt?.getTime() ?? null,
  leasedUntil: visibleAt.getTime(),
})
