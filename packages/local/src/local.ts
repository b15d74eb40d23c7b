import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { show, TidingsError } from 'tidings/internal/core/errors'
import { openingFailed } from './failures.ts'
import { exists } from './files.ts'
import { launchSentinel } from './launch.ts'
import type { KindName } from './paths.ts'
import { findPlace, makePlace, type Place } from './paths.ts'
import { port } from './postgres/postgres.ts'
import { database, user } from './postgres/session.ts'
import { enter } from './process-lock.ts'
import { poll, signal } from './processes.ts'
import { socketOf } from './redis/server.ts'
import { findSentinel } from './sentinel.ts'
import type { Product } from './server-type.ts'
import { kindIn, kinds } from './server-types.ts'

/** A running local server. */
interface LocalServer extends Product {
  /** What the caller named, absolute. */
  readonly directory: string
  /** Elsewhere than in `directory` where the user that runs the server cannot reach that. */
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
   * The server is stopped after this time without clients, in milliseconds; Infinity: never. Default: ten minutes. What
   * the call says counts that starts the server; later ones find it set.
   */
  readonly idleAfterMs?: number
}

export interface LocalStatus {
  /** `absent`: nothing has been made there yet. A server that is still starting counts as running. */
  readonly state: 'running' | 'stopped' | 'absent'
  readonly directory: string
  readonly dataDirectory: string | null
  readonly kind: KindName | null
  readonly product: string | null
  /** The unix socket of Redis; the directory of that of PostgreSQL, which is what `psql --host` takes. */
  readonly socket: string | null
  /** Null for Redis. */
  readonly port: number | null
  readonly pid: number | null
  readonly sentinelPid: number | null
  /** '18.4' of a running server, '18' of one that is stopped. */
  readonly version: string | null
  readonly startedAt: Date | null
  /** What the data take up on disk. */
  readonly sizeBytes: number
  /** The server's log; the sentinel's is beside it. */
  readonly log: string | null
}

export const defaultDirectory = '.tidings'
const defaultIdleAfterMs = 600_000

/** Calls under way, by kind and directory: those of one process share one start. */
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
  const { place, server } = await ensure('postgres', directory, options)
  return { host: place.socketDirectory, port, user, database, ...server }
}

/**
 * The same for Redis, from the redis-server or valkey-server that is installed.
 * @throws LOCAL_UNAVAILABLE (none is installed, directory not usable, data of another user or kind), STORAGE_FULL,
 *   TIMEOUT, RANGE
 */
export async function ensureLocalRedis(directory: string, options: EnsureLocalOptions = {}): Promise<LocalRedis> {
  const { place, server } = await ensure('redis', directory, options)
  return { path: socketOf(place), ...server }
}

interface Found {
  readonly place: Place
  readonly server: LocalServer
}

function ensure(kind: KindName, directory: string, options: EnsureLocalOptions): Promise<Found> {
  const key = `${kind}:${resolve(directory)}`
  const shared = underWay.get(key) ?? start(kind, directory, options).finally(() => underWay.delete(key))
  underWay.set(key, shared)
  return shared
}

async function start(
  kind: KindName,
  directory: string,
  { idleAfterMs = defaultIdleAfterMs }: EnsureLocalOptions,
): Promise<Found> {
  if (!(idleAfterMs > 0)) {
    throw new TidingsError('RANGE', `idleAfterMs is ${show(idleAfterMs)}; it must be more than 0`, {
      details: { field: 'idleAfterMs' },
    })
  }
  const found = await findPlace(directory, kind)
  const running = found && (await watchedServer(found))
  if (running) return running
  await kinds[kind].checkPrograms()
  const place = await makePlace(directory, kind)
  // More than once, because the server can be stopped or killed between its start and our look at it.
  for (let attempt = 0; attempt < 3; attempt++) {
    await launchSentinel(place, idleAfterMs)
    const started = await watchedServer(place)
    if (started) return started
  }
  const { title } = kinds[kind]
  throw new TidingsError('TIMEOUT', `the local ${title} in ${place.directory} starts, but does not stay`, {
    details: { directory: place.directory, log: place.serverLog },
  })
}

/** The server of a place, if it takes connections and a sentinel is in charge of it. */
async function watchedServer(place: Place): Promise<Found | undefined> {
  const kind = kinds[place.kind]
  const server = await kind.find(place)
  const about = server && (await kind.describe(place, 'ensure'))
  if (!server || !about?.watched) return undefined
  const { directory, dataDirectory } = place
  const { product, version } = about
  return { place, server: { directory, dataDirectory, pid: server.pid, product, version } }
}

/**
 * Stops the sentinel of a directory and its server, in good order: what was acknowledged is there at the next start.
 * @returns false if nothing ran
 * @throws LOCAL_UNAVAILABLE if they belong to another user, TIMEOUT if they do not end
 */
export async function stopLocal(directory = defaultDirectory): Promise<boolean> {
  const place = await findPlace(directory, 'postgres')
  if (!place || !(await exists(place.socketDirectory))) return false
  // A start that is under way is waited for; it may be the first, which says what kind of server is there.
  const leave = await enter(place.socketDirectory)
  await leave()
  const kind = (await kindIn(directory)) ?? kinds.postgres
  try {
    const sentinel = await findSentinel(place)
    if (sentinel !== undefined && signal(sentinel, 'SIGTERM')) {
      const gone = await poll(async () => (await findSentinel(place)) !== sentinel, 90_000)
      if (!gone) signal(sentinel, 'SIGKILL')
    }
    const stopped = await kind.stop(place)
    return stopped || sentinel !== undefined
  } catch (error) {
    throw openingFailed(error, place.directory)
  }
}

/**
 * What there is in a directory, whatever its kind; starts nothing.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function localStatus(directory = defaultDirectory): Promise<LocalStatus> {
  const kind = await kindIn(directory)
  const place = kind && (await findPlace(directory, kind.name))
  const made = place && (await kind.madeBy(place.dataDirectory))
  if (!made) return { ...nothing, directory: resolve(directory) }
  const server = await kind.find(place)
  const about = server && (await kind.describe(place, 'status'))
  const sockets = { postgres: place.socketDirectory, redis: socketOf(place) }
  return {
    state: server ? 'running' : 'stopped',
    directory: place.directory,
    dataDirectory: place.dataDirectory,
    kind: kind.name,
    product: made.product,
    socket: server ? sockets[kind.name] : null,
    port: server && kind.name === 'postgres' ? port : null,
    pid: server?.pid ?? null,
    sentinelPid: (await findSentinel(place)) ?? null,
    version: about?.version ?? made.version,
    startedAt: server?.startedAt ?? null,
    sizeBytes: await sizeOf(place.dataDirectory),
    log: place.serverLog,
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

/** A server that runs removes files while we look; those count nothing. */
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
