// What is measured, and a server of its own for it.
import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { claimCost, claimCostOnPostgres } from './claim-cost.mjs'
import { startDurableRedis, startPostgres } from './servers.mjs'
import { topicsOnPostgres } from './topics.mjs'

/** By engine: how to start a server, and what is measured on it alone. */
export const storages = {
  postgres: {
    start: () => startPostgres(),
    own: (url, bus) => [...claimCostOnPostgres(url), ...topicsOnPostgres(bus, url)],
  },
  redis: { start: ({ fsync }) => startDurableRedis('redis-server', fsync), own: onRedis },
  valkey: { start: ({ fsync }) => startDurableRedis('valkey-server', fsync), own: onRedis },
  memory: { start: async () => ({ url: 'memory:', stop: async () => {} }), own: () => [] },
}

function onRedis(url) {
  return claimCost(async () => {
    const engine = new RedisEngine(url)
    await engine.open()
    return engine
  })
}
