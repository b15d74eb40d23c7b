import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { show, TidingsError } from 'tidings/internal/core/errors'
import { openingFailed } from './failures.ts'
import { exists } from './files.ts'
import { launchSentinel } from './launch.ts'
import type { ServerTypeName } from './paths.ts'
import { findPaths, preparePaths, type ServerPaths } from './paths.ts'
import { port } from './postgres/postgres.ts'
import { database, user } from './postgres/session.ts'
import { acquireLock } from './process-lock.ts'
import { poll, signal } from './processes.ts'
import { socketOf } from './redis/server.ts'
import { findSentinel } from './sentinel.ts'
import type { Product } from './server-type.ts'
import { serverTypeIn, serverTypes } from './server-types.ts'

/** A running local server. */
interface LocalServer extends Product {
  /** The caller's directory, absolute. */
  readonly directory: string
  /** Outside `directory` if the server's user cannot reach `directory`. */
  readonly dataDirectory: string
  readonly pid: number
}

/** A running local PostgreSQL, and how to connect to it (as with `pg`; no password). */
export interface LocalPostgres extends LocalServer {
  /** The directory of the unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
}

/** A running local Redis or Valkey, and how to connect to it (as with `ioredis`). */
export interface LocalRedis extends LocalServer {
  /** The unix socket. */
  readonly path: string
}

export interface EnsureLocalOptions {
  /**
   * The server is stopped after this time without clients, in milliseconds; Infinity: never. Default: ten minutes. Only
   * the call that starts the server sets this time.
   */
  readonly idleAfterMs?: number
}

export interface LocalStatus {
  /** `absent`: the directory holds no server. A server that is still starting counts as running. */
  readonly state: 'running' | 'stopped' | 'absent'
  readonly directory: string
  readonly dataDirectory: string | null
  readonly kind: ServerTypeName | null
  readonly product: string | null
  /** The unix socket of Redis; the directory of that of PostgreSQL, which is what `psql --host` takes. */
  readonly socket: string | null
  /** Null for Redis. */
  readonly port: number | null
  readonly pid: number | null
  readonly sentinelPid: number | null
  /** '18.4' of a running server, '18' of a stopped one. */
  readonly version: string | null
  readonly startedAt: Date | null
  /** The size of the data on disk. */
  readonly sizeBytes: number
  /** The server's log; the sentinel's is beside it. */
  readonly log: string | null
}

export const defaultDirectory = '.tidings'
const defaultIdleAfterMs = 600_000

/** Calls under way, by server type and directory. The calls of one process share one start. */
const underWay = new Map<string, Promise<Found>>()

/**
 * The local PostgreSQL of a directory, started if it does not run, and set up on first use. Every process that names the
 * same directory gets the same server. After a lost connection, call it again: the server may have been stopped as idle.
 * @param directory made if missing. Default: `.tidings` in the working directory
 * @throws LOCAL_UNAVAILABLE (no binaries for this platform, directory not usable, data of another major version, user or
 *   kind), STORAGE_FULL, TIMEOUT, RANGE
 */
export async function ensureLocal(
  directory = defaultDirectory,
  options: EnsureLocalOptions = {},
): Promise<LocalPostgres> {
  const { paths, server } = await ensure('postgres', directory, options)
  return { host: paths.socketDirectory, port, user, database, ...server }
}

/**
 * The same for Redis, with the installed redis-server or valkey-server.
 * @throws LOCAL_UNAVAILABLE (none is installed, directory not usable, data of another user or kind), STORAGE_FULL,
 *   TIMEOUT, RANGE
 */
export async function ensureLocalRedis(directory: string, options: EnsureLocalOptions = {}): Promise<LocalRedis> {
  const { paths, server } = await ensure('redis', directory, options)
  return { path: socketOf(paths), ...server }
}

interface Found {
  readonly paths: ServerPaths
  readonly server: LocalServer
}

function ensure(type: ServerTypeName, directory: string, options: EnsureLocalOptions): Promise<Found> {
  const key = `${type}:${resolve(directory)}`
  const shared = underWay.get(key) ?? start(type, directory, options).finally(() => underWay.delete(key))
  underWay.set(key, shared)
  return shared
}

async function start(
  type: ServerTypeName,
  directory: string,
  { idleAfterMs = defaultIdleAfterMs }: EnsureLocalOptions,
): Promise<Found> {
  if (!(idleAfterMs > 0)) {
    throw new TidingsError('RANGE', `idleAfterMs is ${show(idleAfterMs)}; it must be more than 0`, {
      details: { field: 'idleAfterMs' },
    })
  }
  const found = await findPaths(directory, type)
  const running = found && (await watchedServer(found))
  if (running) return running
  await serverTypes[type].checkPrograms()
  const paths = await preparePaths(directory, type)
  // The server can be stopped or killed between its start and the check, so one attempt is not enough.
  for (let attempt = 0; attempt < 3; attempt++) {
    await launchSentinel(paths, idleAfterMs)
    const started = await watchedServer(paths)
    if (started) return started
  }
  const { title } = serverTypes[type]
  throw new TidingsError('TIMEOUT', `the local ${title} in ${paths.directory} starts, but does not stay`, {
    details: { directory: paths.directory, log: paths.serverLog },
  })
}

/** The server at these paths, if it takes connections and a sentinel is in charge of it. */
async function watchedServer(paths: ServerPaths): Promise<Found | undefined> {
  const type = serverTypes[paths.type]
  const server = await type.find(paths)
  const about = server && (await type.describe(paths, 'ensure'))
  if (!server || !about?.watched) return undefined
  const { directory, dataDirectory } = paths
  const { product, version } = about
  return { paths, server: { directory, dataDirectory, pid: server.pid, product, version } }
}

/**
 * Shuts down the sentinel of a directory and its server. Acknowledged data is there at the next start.
 * @returns false if nothing ran
 * @throws LOCAL_UNAVAILABLE if they belong to another user, TIMEOUT if they do not end
 */
export async function stopLocal(directory = defaultDirectory): Promise<boolean> {
  const paths = await findPaths(directory, 'postgres')
  if (!paths || !(await exists(paths.socketDirectory))) return false
  // Waits for a start under way: the first start decides the type of the server.
  const release = await acquireLock(paths.socketDirectory)
  await release()
  const type = (await serverTypeIn(directory)) ?? serverTypes.postgres
  try {
    const sentinel = await findSentinel(paths)
    if (sentinel !== undefined && signal(sentinel, 'SIGTERM')) {
      const gone = await poll(async () => (await findSentinel(paths)) !== sentinel, 90_000)
      if (!gone) signal(sentinel, 'SIGKILL')
    }
    const stopped = await type.stop(paths)
    return stopped || sentinel !== undefined
  } catch (error) {
    throw openingFailed(error, paths.directory)
  }
}

/**
 * The state of the local server in a directory, of any type. Starts nothing.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function localStatus(directory = defaultDirectory): Promise<LocalStatus> {
  const type = await serverTypeIn(directory)
  const paths = type && (await findPaths(directory, type.name))
  const made = paths && (await type.madeBy(paths.dataDirectory))
  if (!made) return { ...nothing, directory: resolve(directory) }
  const server = await type.find(paths)
  const about = server && (await type.describe(paths, 'status'))
  const sockets = { postgres: paths.socketDirectory, redis: socketOf(paths) }
  return {
    state: server ? 'running' : 'stopped',
    directory: paths.directory,
    dataDirectory: paths.dataDirectory,
    kind: type.name,
    product: made.product,
    socket: server ? sockets[type.name] : null,
    port: server && type.name === 'postgres' ? port : null,
    pid: server?.pid ?? null,
    sentinelPid: (await findSentinel(paths)) ?? null,
    version: about?.version ?? made.version,
    startedAt: server?.startedAt ?? null,
    sizeBytes: await sizeOf(paths.dataDirectory),
    log: paths.serverLog,
  }
}

const nothing: Omit<LocalStatus, 'directory'> = {
  state: 'absent',
  dataDirectory: null,
  kind: null,
  product: null,
  socket: null,
  port: null,
  pid: null,
  sentinelPid: null,
  version: null,
  startedAt: null,
  sizeBytes: 0,
  log: null,
}

/** A running server removes files meanwhile; a removed file counts as empty. */
async function sizeOf(directory: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => [])) {
    if (!entry.isFile()) continue
    bytes += await stat(join(entry.parentPath, entry.name)).then(
      (found) => found.size,
      () => 0,
    )
  }
  return bytes
}
