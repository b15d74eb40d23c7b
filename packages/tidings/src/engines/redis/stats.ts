import type { QueueStats } from '../../port/engine.ts'

/** As stats.lua returns it. */
export type StatsAnswer = [
  ready: number,
  heldBack: number,
  delayed: number,
  leased: number,
  archived: number,
  totalSent: number,
  oldestReadyMs: number | null,
  newestMs: number | null,
  oldestMs: number | null,
  createdAt: number,
  nextDueMs: number | null,
]

export function toStats(queue: string, answer: StatsAnswer): QueueStats {
  const [ready, heldBack, delayed, leased, archived, totalSent, ...ages] = answer
  const [oldestReadyMs, newestMs, oldestMs, createdAt, nextDueMs] = ages
  return {
    ...{ queue, ready, heldBack, delayed, leased, archived, totalSent },
    ...{ oldestReadyMs, nextDueMs, newestMs, oldestMs, createdAt },
  }
}
