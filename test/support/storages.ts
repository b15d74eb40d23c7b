import { type Bus, connect } from 'tidings'
import { onTestFinished } from 'vitest'
import { queryAlone as query } from '../postgres/support.ts'
import { freePort } from './directories.ts'
import { startHttpServer } from './http-server.ts'
import { startLine } from './line.ts'
import { startPostgres } from './postgres.ts'
import { askRedis, startRedis, type TestRedis } from './redis.ts'
import { startCluster } from './redis-cluster.ts'
import { sharedServer } from './shared-servers.ts'

/** A server that can go and come back. */
export interface StorageServer {
  readonly url: string
  /** As a crash would. What was acknowledged stays. */
  kill(): Promise<void>
  /** @returns once it takes calls again */
  restart(): Promise<void>
  stop(): Promise<void>
  /** Cuts the connections on which processes are told of what is new. They may come back at once. */
  cutListening(): Promise<void>
}

/** A storage that keeps what it was given when a process dies, as applications reach it. */
export interface Storage {
  readonly name: string
  /** Whether all copies of a published message appear at once; if not, upkeep may have to bring some of them. */
  readonly publishesAtOnce: boolean
  /** The one that all test files share; each uses names of its own in it. */
  url(): Promise<string>
  /** One whose outages nobody else has to bear. */
  start(): Promise<StorageServer>
}

/** What runs on each of them: `describe.each(storages)('… on $name', (storage) => …)`. */
export const storages: readonly Storage[] = [
  {
    name: 'PostgreSQL',
    publishesAtOnce: true,
    url: () => sharedServer('postgres18'),
    start: startOwnPostgres,
  },
  {
    name: 'Redis',
    publishesAtOnce: true,
    url: () => sharedServer('redis'),
    start: startOwnRedis,
  },
  {
    name: 'a Redis Cluster',
    publishesAtOnce: false,
    url: () => sharedServer('redisCluster'),
    start: startOwnCluster,
  },
  {
    name: 'HTTP over PostgreSQL',
    publishesAtOnce: true,
    url: () => sharedServer('http'),
    start: startOwnHttpServer,
  },
]

/**
 * A connection of its own, as another process would have it; it ends with the test.
 * @param atEnd that of a test which runs beside others
 */
export async function openBus(url: string, atEnd: typeof onTestFinished = onTestFinished): Promise<Bus> {
  const bus = await connect(url)
  atEnd(() => bus.close())
  return bus
}

/** A server of the test's own; it ends with the test. */
export async function ownServer(
  storage: Storage,
  atEnd: typeof onTestFinished = onTestFinished,
): Promise<StorageServer> {
  const server = await storage.start()
  atEnd(() => server.stop())
  return server
}

async function startOwnPostgres(): Promise<StorageServer> {
  const server = await startPostgres(18)
  const cutListening = async () => {
    // Who listens has locks that last as long as its session.
    const listening = `SELECT pg_terminate_backend(pid) FROM (SELECT DISTINCT pid FROM pg_locks
      WHERE locktype = 'advisory' AND pid <> pg_backend_pid()) AS listening`
    await query(server.url, listening)
  }
  return { ...server, cutListening }
}

async function startOwnRedis(): Promise<StorageServer> {
  const server = await startRedis()
  return { ...server, cutListening: () => cutSubscribers(server) }
}

const cutSubscribers = ({ port }: TestRedis) =>
  askRedis(port, async (redis) => void (await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')))

/** All nodes go and come back together: no replica takes over, which could lose what it was not told yet. */
async function startOwnCluster(): Promise<StorageServer> {
  const cluster = await startCluster()
  const [primaries, replicas] = [cluster.nodes.slice(0, 3), cluster.nodes.slice(3)]
  return {
    url: cluster.url,
    async kill() {
      await Promise.all(cluster.nodes.map((node) => node.kill()))
    },
    async restart() {
      await Promise.all(primaries.map((node) => node.restart()))
      await Promise.all(replicas.map((node) => node.restart()))
      await cluster.ready()
    },
    stop: () => cluster.stop(),
    async cutListening() {
      await Promise.all(cluster.nodes.map(cutSubscribers))
    },
  }
}

/** Its storage is the shared one, which stays up. */
async function startOwnHttpServer(): Promise<StorageServer> {
  const port = String(await freePort())
  const start = async () => startHttpServer(await sharedServer('postgres18'), '--port', port)
  let server = await start()
  const line = await startLine(server.url)
  return {
    url: line.url,
    kill: () => server.stop('SIGKILL'),
    async restart() {
      server = await start()
    },
    async stop() {
      line.close()
      await server.stop()
    },
    // With all others: they are no different from outside.
    cutListening: async () => line.cut(),
  }
}
