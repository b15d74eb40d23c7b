import type { Bus } from 'tidings/internal/bus/bus'
import type { QueueListOptions } from 'tidings/internal/bus/queue-list'
import { isTidingsError } from 'tidings/internal/core/errors'
import type { QueueFigures, QueueStats } from 'tidings/internal/messages/states'
import { roughly, table } from './output.ts'

/** The figures of a queue, with those of its dead letters. */
export interface Figures extends QueueFigures {
  readonly deadLetters: number
}

/** @param names empty: all queues */
export async function figuresOf(bus: Bus, names: readonly string[], options?: QueueListOptions): Promise<Figures[]> {
  const stats =
    names.length > 0 ? await Promise.all(names.map((name) => bus.queue(name).stats())) : await bus.stats(options)
  const known = new Map(stats.map((one) => [one.queue, one]))
  return Promise.all(stats.map(async (one) => ({ ...one, deadLetters: await deadLettersOf(bus, one.queue, known) })))
}

async function deadLettersOf(bus: Bus, queue: string, known: ReadonlyMap<string, QueueStats>): Promise<number> {
  const deadLetterQueue = deadLetterQueueOf(bus, queue)
  if (deadLetterQueue === null) return 0
  const stats = known.get(deadLetterQueue) ?? (await statsIfThere(bus, deadLetterQueue))
  return stats ? stats.ready + stats.delayed + stats.leased : 0
}

/** Another client may have made a queue whose name is none of ours. Nothing is dead-lettered from there. */
function deadLetterQueueOf(bus: Bus, queue: string): string | null {
  try {
    return bus.queue(queue).deadLetterQueue
  } catch (error) {
    if (isTidingsError(error, 'QUEUE_NAME_INVALID')) return null
    throw error
  }
}

/** Zero without a dead-letter queue: the first dead letter creates it. */
async function statsIfThere(bus: Bus, queue: string): Promise<QueueStats | undefined> {
  try {
    return await bus.queue(queue).stats()
  } catch (error) {
    if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return undefined
    throw error
  }
}

export function figuresTable(figures: readonly Figures[]): string {
  if (figures.length === 0) return 'no queues yet'
  return table(figures, [
    ['QUEUE', (row) => (row.pause === null ? row.queue : `${row.queue} (paused)`)],
    ['READY', (row) => row.ready],
    ...(figures.some(({ heldBack }) => heldBack > 0) ? [['HELD BACK', (row: Figures) => row.heldBack] as const] : []),
    ['DELAYED', (row) => row.delayed],
    ['LEASED', (row) => row.leased],
    ['ARCHIVED', (row) => row.archived],
    ['DEAD LETTERS', (row) => row.deadLetters],
    ['SENT', (row) => row.totalSent],
    ['OLDEST READY', (row) => (row.oldestReadyMs === null ? null : roughly(row.oldestReadyMs))],
  ])
}
