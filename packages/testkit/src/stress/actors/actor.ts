import type { Bus } from 'tidings/internal/bus/bus'
import type { Teller } from '../history.ts'
import type { Plan } from '../plan.ts'
import type { Random } from '../random.ts'

/** What an actor works with. */
export interface Scene {
  readonly bus: Bus
  readonly plan: Plan
  readonly history: Teller
  readonly random: Random
  /** The name of the process, different for each that is started. */
  readonly name: string
  /** Asks the actor to come to an end: nothing new, and what is in hand is finished. */
  readonly stop: AbortSignal
}

/** Resolves when the actor has ended after `stop`. */
export type Actor = (scene: Scene) => Promise<void>

export type Role = 'producer' | 'worker' | 'subscriber'

/** Resolves when the actor is asked to come to an end. */
export const untilStopped = ({ stop }: Scene): Promise<void> =>
  new Promise((resolve) => {
    if (stop.aborted) resolve()
    stop.addEventListener('abort', () => resolve(), { once: true })
  })
