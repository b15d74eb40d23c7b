import { dated } from '../core/dated.ts'
import * as option from '../core/options.ts'
import { checkKey } from '../messages/options.ts'
import type { Engine, TaskCounts } from '../port/engine.ts'

/** How far the tasks of a correlation are: the messages that were sent with its id and `track`. */
export interface Correlation {
  readonly id: string
  /** Neither over nor in the hands of a worker. */
  readonly pending: number
  /** In the hands of a worker. */
  readonly running: number
  /** Deleted, archived or popped. */
  readonly done: number
  /** Failed too often. */
  readonly dead: number
  /** Cancelled, purged or dropped with their queue. */
  readonly cancelled: number
  readonly total: number
  readonly startedAt: Date
  /** When the last task ended, and the completion queue was told; null if that is still to come. */
  readonly completedAt: Date | null
  /** When the first task failed for good; null if none has. */
  readonly failedAt: Date | null
  /** When all tasks were done for the first time; null if that is still to come. */
  readonly doneAt: Date | null
  /** The same by queue. */
  readonly queues: readonly (TaskCounts & { readonly total: number })[]
}

/** @param given a number is the same as its text */
export async function correlation(engine: Engine, given: string | number): Promise<Correlation | null> {
  const id = Number.isSafeInteger(given) ? String(given) : given
  if (typeof id !== 'string') throw option.typeError('correlationId', id, 'a string')
  checkKey(id, 'correlationId')
  const state = await engine.correlation(id)
  if (state === null) return null
  const { queues, ...times } = dated(state)
  const sum = (field: keyof Omit<TaskCounts, 'queue'>) => queues.reduce((all, counts) => all + counts[field], 0)
  const counts = {
    pending: sum('pending'),
    running: sum('running'),
    done: sum('done'),
    dead: sum('dead'),
    cancelled: sum('cancelled'),
  }
  return {
    id,
    ...counts,
    total: totalOf(counts),
    ...times,
    queues: queues.map((one) => ({ ...one, total: totalOf(one) })),
  }
}

const totalOf = ({ pending, running, done, dead, cancelled }: Omit<TaskCounts, 'queue'>) =>
  pending + running + done + dead + cancelled
