// A server of a benchmark's own, in a temporary directory.
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { ensureLocal, stopLocal } from 'tidings-local/internal/local'
import { askRedis, startRedis } from './redis-server.mjs'

/**
 * The included PostgreSQL, with full durability.
 * @param settings further ones, which need a restart
 */
export async function startPostgres(settings = {}) {
  const directory = newDirectory()
  const stop = async () => {
    await stopLocal(directory)
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    let server = await ensureLocal(directory)
    const urlOf = (user, database) =>
      `postgres://${user}@localhost:${server.port}/${database}?host=${encodeURIComponent(server.host)}`
    const adminUrl = urlOf('postgres', server.database)
    if (Object.keys(settings).length > 0) {
      await alterSystem(adminUrl, settings)
      await stopLocal(directory)
      server = await ensureLocal(directory)
    }
    const { pid, version } = server
    return { url: urlOf(server.user, server.database), adminUrl, pid, version, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function alterSystem(url, settings) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (const [name, value] of Object.entries(settings)) await client.query(`ALTER SYSTEM SET ${name} = '${value}'`)
  await client.end()
}

/**
 * With an append-only file.
 * @param program 'redis-server' or 'valkey-server'
 * @param fsync its appendfsync
 */
export async function startDurableRedis(program, fsync) {
  const directory = newDirectory()
  mkdirSync(join(directory, 'data'))
  const server = await startRedis(program, join(directory, 'data'), { appendonly: 'yes', appendfsync: fsync })
  return {
    ...server,
    ask: (question) => askRedis(server.port, question),
    async stop() {
      await server.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

function newDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-bench-'))
  // So that the server can reach its data there when root runs this.
  chmodSync(directory, 0o755)
  return directory
}
