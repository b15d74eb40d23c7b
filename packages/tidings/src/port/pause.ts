import type { QueueStats } from './engine.ts'

/** Why a queue hands out no messages. Times are ISO 8601 texts. */
export interface Pause {
  readonly since: string
  /** When it ends by itself; null: when somebody resumes it. */
  readonly until: string | null
  readonly reason: string | null
  readonly by: string | null
}

/** The figures of a queue. */
export interface QueueFigures extends QueueStats {
  /** Null: it hands out messages. */
  readonly pause: Pause | null
}
