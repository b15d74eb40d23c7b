/** The tasks of one queue. A dead one counts where it died. */
export interface TaskCounts {
  readonly queue: string
  /** Neither over nor in the hands of a reader. */
  readonly pending: number
  /** In the hands of a reader. */
  readonly running: number
  readonly done: number
  readonly dead: number
  readonly cancelled: number
}

export interface CorrelationState {
  /** When the first task was sent. */
  readonly startedAt: number
  /** When the last task ended for the first time; null if that is still to come. */
  readonly completedAt: number | null
  /** When the first task was dead, and when all were done for the first time; null likewise. */
  readonly failedAt: number | null
  readonly doneAt: number | null
  /** By queue, in the order of bytes. */
  readonly queues: readonly TaskCounts[]
}

/**
 * What becomes of a correlation, each at most once:
 * - anyFailed: a task is dead
 * - allDone: no task is left, and all are done; after a redrive perhaps, when they had ended before
 * - allEnded: no task is left; the correlation is completed
 */
export const milestones = ['anyFailed', 'allDone', 'allEnded'] as const
export type Milestone = (typeof milestones)[number]

/** Of what a completion queue is told unless the sender says otherwise. */
export const usualMilestones: readonly Milestone[] = ['allEnded']

/** The data of the message that tells of a milestone; its meta has the `correlation_id`. Times are ISO 8601 texts. */
export interface Completion {
  readonly milestone: Milestone
  readonly correlationId: string
  /** Tasks, as they stood then. */
  readonly done: number
  readonly dead: number
  readonly cancelled: number
  readonly startedAt: string
  /** When the last of the tasks that were over had ended. */
  readonly endedAt: string
}
