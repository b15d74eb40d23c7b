import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromiumProgram } from './chromium.ts'
import { startHttpServer } from './http-server.ts'
import { makeTemplate } from './migrated-template.ts'
import { postgresPrograms, startPostgres } from './postgres.ts'
import { redisProgram, startRedis, startValkey } from './redis.ts'
import { startCluster } from './redis-cluster.ts'

export type SharedServer = 'postgres15' | 'postgres18' | 'redis' | 'valkey' | 'redisCluster' | 'http'

/** Downloads what the servers are made of, where that is not done yet: longer than a test waits. Its errors come again. */
export async function fetchPrograms(): Promise<void> {
  await Promise.allSettled([
    postgresPrograms(15),
    redisProgram('redis-server'),
    redisProgram('valkey-server'),
    chromiumProgram(),
  ])
}

interface Started {
  readonly url: string
  stop(): Promise<void>
}

const starts: Record<SharedServer, (url: (name: SharedServer) => Promise<string>) => Promise<Started>> = {
  /** TIDINGS_TEST_POSTGRES may name a server of another version, to try that one. */
  postgres15: async () => withTemplate(await givenOr(process.env.TIDINGS_TEST_POSTGRES, () => startPostgres(15))),
  postgres18: async () => withTemplate(await startPostgres(18)),
  /** Keeps its data on disk. */
  redis: () => startRedis(),
  /** '' where its package cannot be had: not every release of Debian has it. */
  valkey: valkeyIfThere,
  /** `redis+cluster://` with three nodes. */
  redisCluster: () => startCluster(),
  /** Over `postgres18`. */
  http: async (url) => startHttpServer(await url('postgres18')),
}

const givenOr = async (url: string | undefined, start: () => Promise<Started>): Promise<Started> =>
  url ? { url, stop: async () => {} } : start()

async function withTemplate(server: Started): Promise<Started> {
  try {
    await makeTemplate(server.url)
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

/** Starts the servers that test files share, each when the first file asks for it; files run in processes of their own. */
export class Broker {
  /** Of the unix socket at which it is asked: a name in, `{ url }` or `{ error }` out. */
  readonly path = join(tmpdir(), `tidings-test-${process.pid}-${Date.now()}.sock`)
  readonly #server = createServer((socket) => {
    socket.on('error', () => {}).once('data', (name) => void this.#answer(socket, String(name) as SharedServer))
  })
  readonly #started = new Map<SharedServer, Promise<Started>>()

  async open(): Promise<void> {
    await once(this.#server.listen(this.path), 'listening')
  }

  /** Stops all that was started. */
  async close(): Promise<void> {
    this.#server.close()
    // Each before the one that its start waited for.
    for (const server of (await Promise.allSettled(this.#started.values())).reverse())
      if (server.status === 'fulfilled') await server.value.stop()
    rmSync(this.path, { force: true })
  }

  async #answer(socket: Socket, name: SharedServer): Promise<void> {
    const answer = await this.#start(name).then(
      ({ url }) => ({ url }),
      ({ message, cause }: Error) => ({ error: cause instanceof Error ? `${message}\n${cause.message}` : message }),
    )
    socket.end(JSON.stringify(answer))
  }

  #start(name: SharedServer): Promise<Started> {
    const server = this.#started.get(name) ?? starts[name](async (other) => (await this.#start(other)).url)
    this.#started.set(name, server)
    return server
  }
}

/** A Valkey that is there and does not start is an error all the same. */
async function valkeyIfThere(): Promise<Started> {
  try {
    await redisProgram('valkey-server')
  } catch (error) {
    console.warn(`Without Valkey: ${(error as Error).message}`)
    return { url: '', stop: async () => {} }
  }
  return startValkey()
}
