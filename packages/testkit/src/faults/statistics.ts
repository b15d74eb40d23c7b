import type { QueueStats, StoredMessage } from 'tidings/internal/port/engine'
import { all, type Fault, faults } from './fault.ts'

const counting =
  (change: (stats: QueueStats, live: StoredMessage[], now: number) => Partial<QueueStats>): Fault['plant'] =>
  (engine, clock) => ({
    stats: async (queue) => {
      const stats = await engine.stats(queue)
      return { ...stats, ...change(stats, await engine.peek(queue, all), clock.now()) }
    },
  })

export const statisticsFaults = faults('stats', {
  'counts all that is there as ready': counting((_stats, live) => ({ ready: live.length })),
  'counts what was ever read as leased': counting((_stats, live) => {
    const read = live.filter((message) => message.readCount > 0).length
    return { leased: read, ready: live.length - read }
  }),
  'counts what was given back with a delay as leased': counting((stats, live) => {
    const read = live.filter((message) => message.readCount > 0).length
    return { leased: read, delayed: stats.delayed + stats.leased - read }
  }),
  'counts only what its key allows as ready': (engine) => ({
    stats: async (queue) => {
      const stats = await engine.stats(queue)
      const keys = (await engine.peek(queue, all)).map((message) => message.orderingKey).filter((key) => key !== null)
      return { ...stats, ready: stats.ready - (keys.length - new Set(keys).size) }
    },
  }),
  'counts no archive': counting(() => ({ archived: 0 })),
  'counts what is there as sent': counting((_stats, live) => ({ totalSent: live.length })),
  'counts from one': counting((stats) => ({ totalSent: stats.totalSent + 1, ready: stats.ready + 1 })),
  'gives ages in seconds': counting((stats) => ({
    newestMs: stats.newestMs && Math.floor(stats.newestMs / 1_000),
    oldestMs: stats.oldestMs && Math.floor(stats.oldestMs / 1_000),
  })),
  'takes the newest for the oldest': counting((stats) => ({ newestMs: stats.oldestMs, oldestMs: stats.newestMs })),
  'counts the age of a ready message from its sending': counting((stats) => ({ oldestReadyMs: stats.oldestMs })),
  'has no age of what is leased': counting((stats) =>
    stats.ready > 0 ? {} : { oldestMs: null, newestMs: null, oldestReadyMs: null },
  ),
  'takes no age for zero': counting((stats) => ({
    oldestReadyMs: stats.oldestReadyMs ?? 0,
    newestMs: stats.newestMs ?? 0,
    oldestMs: stats.oldestMs ?? 0,
  })),
})
