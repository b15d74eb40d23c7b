// What is measured, and a server of its own for it in a temporary directory.
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { ensureLocal, stopLocal } from 'tidings-local/internal/local'
import { claimCost, claimCostOnPostgres } from './claim-cost.mjs'
import { rawStatements } from './raw.mjs'
import { rawCommands } from './raw-redis.mjs'
import { startRedis } from './redis-server.mjs'
import { topicsOnPostgres } from './topics.mjs'

/** By engine: how to start a server, and what is measured on it alone. */
export const storages = {
  postgres: {
    start: startPostgres,
    own: (url, bus) => [...rawStatements(url), ...claimCostOnPostgres(url), ...topicsOnPostgres(bus, url)],
  },
  redis: { start: (settings) => startOwn('redis-server', settings), own: onRedis },
  valkey: { start: (settings) => startOwn('valkey-server', settings), own: onRedis },
  memory: { start: async () => ({ url: 'memory:', stop: async () => {} }), own: () => [] },
}

/** With full durability. */
async function startPostgres() {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-bench-'))
  // So that the server can reach its data there when root runs this.
  chmodSync(directory, 0o755)
  const { user, port, database, host } = await ensureLocal(directory)
  return {
    url: `postgres://${user}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`,
    async stop() {
      await stopLocal(directory)
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function startOwn(program, { fsync }) {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-bench-'))
  mkdirSync(join(directory, 'data'))
  const server = await startRedis(program, join(directory, 'data'), { appendonly: 'yes', appendfsync: fsync })
  return {
    url: server.url,
    async stop() {
      await server.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function onRedis(url) {
  const open = async () => {
    const engine = new RedisEngine(url)
    await engine.open()
    return engine
  }
  return [...rawCommands(url), ...claimCost(open)]
}
