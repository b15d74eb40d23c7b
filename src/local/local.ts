import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { show, TidingsError } from '../errors.ts'
import { findPackage } from './binaries.ts'
import { findPostmaster, majorVersion, type Postmaster, stopServer } from './cluster.ts'
import { openingFailed } from './failures.ts'
import { exists } from './files.ts'
import { launchSentinel } from './launch.ts'
import { findPlace, makePlace, type Place } from './place.ts'
import { poll, signal } from './processes.ts'
import { findSentinel } from './sentinel.ts'
import { type Description, database, describe, isFull, isNotUp, type Role, user } from './session.ts'
import { enter } from './turnstile.ts'

/** A running local PostgreSQL, and how to connect to it (as with `pg`; no password). */
export interface LocalServer {
  /** The directory of the unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** What the caller named, absolute. */
  readonly directory: string
  /** Elsewhere than in `directory` where the user that runs the server cannot reach that. */
  readonly dataDirectory: string
  readonly pid: number
  /** For example '18.4'. */
  readonly version: string
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
  /** The directory of the unix socket, which is what `psql --host` takes. */
  readonly socket: string | null
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

/** Calls under way, by directory: those of one process share one start. */
const underWay = new Map<string, Promise<LocalServer>>()

/**
 * The local PostgreSQL of a directory, started if it does not run, and set up on first use. Every process that names the
 * same directory gets the same server. After a lost connection, call it again: the server may have been stopped as idle.
 * @param directory made if missing. Default: `.tidings` in the working directory
 * @throws LOCAL_UNAVAILABLE (no binaries for this platform, directory not usable, data of another major version or
 *   user), STORAGE_FULL, TIMEOUT, RANGE
 */
export function ensureLocal(directory = defaultDirectory, options: EnsureLocalOptions = {}): Promise<LocalServer> {
  const key = resolve(directory)
  const shared = underWay.get(key) ?? ensure(key, options).finally(() => underWay.delete(key))
  underWay.set(key, shared)
  return shared
}

async function ensure(
  directory: string,
  { idleAfterMs = defaultIdleAfterMs }: EnsureLocalOptions,
): Promise<LocalServer> {
  if (!(idleAfterMs > 0)) {
    throw new TidingsError('RANGE', `idleAfterMs is ${show(idleAfterMs)}; it must be more than 0`, {
      details: { field: 'idleAfterMs' },
    })
  }
  const found = await findPlace(directory)
  const running = found && (await watchedServer(found))
  if (running) return running
  await findPackage()
  const place = await makePlace(directory)
  // More than once, because the server can be stopped or killed between its start and our look at it.
  for (let attempt = 0; attempt < 3; attempt++) {
    await launchSentinel(place, idleAfterMs)
    const started = await watchedServer(place)
    if (started) return started
  }
  throw new TidingsError('TIMEOUT', `the local PostgreSQL in ${place.directory} starts, but does not stay`, {
    details: { directory: place.directory, log: place.serverLog },
  })
}

/** The server of a place, if it takes connections and a sentinel is in charge of it. */
async function watchedServer(place: Place): Promise<LocalServer | undefined> {
  const server = await findPostmaster(place.dataDirectory)
  const about = server?.status === 'ready' ? await ask(server, 'ensure') : undefined
  if (!server || !about?.watched) return undefined
  return {
    host: server.socketDirectory,
    port: server.port,
    user,
    database,
    directory: place.directory,
    dataDirectory: place.dataDirectory,
    pid: server.pid,
    version: about.version,
  }
}

/** What a server says about itself; undefined if it is not up. */
async function ask(server: Postmaster, role: Role): Promise<Description | undefined> {
  const answer = await poll(async () => {
    try {
      return await describe(server, role)
    } catch (error) {
      if (isFull(error)) return undefined
      if (isNotUp(error)) return 'down'
      throw openingFailed(error, server.socketDirectory)
    }
  }, 10_000)
  if (answer === undefined) {
    throw new TidingsError('TIMEOUT', `all connections of the server in ${server.socketDirectory} are taken`, {
      details: { pid: server.pid },
    })
  }
  return answer === 'down' ? undefined : answer
}

/**
 * Stops the sentinel of a directory and its server, in good order: what was acknowledged is there at the next start.
 * @returns false if nothing ran
 * @throws LOCAL_UNAVAILABLE if they belong to another user, TIMEOUT if they do not end
 */
export async function stopLocal(directory = defaultDirectory): Promise<boolean> {
  const place = await findPlace(directory)
  if (!place || !(await exists(place.socketDirectory))) return false
  // A start that is under way is waited for.
  const leave = await enter(place.turnstile)
  await leave()
  try {
    const sentinel = await findSentinel(place)
    if (sentinel !== undefined && signal(sentinel, 'SIGTERM')) {
      const gone = await poll(async () => (await findSentinel(place)) !== sentinel, 90_000)
      if (!gone) signal(sentinel, 'SIGKILL')
    }
    const stopped = await stopServer(place.dataDirectory)
    return stopped || sentinel !== undefined
  } catch (error) {
    throw openingFailed(error, place.directory)
  }
}

/**
 * What there is in a directory; starts nothing.
 * @throws LOCAL_UNAVAILABLE if it belongs to another user
 */
export async function localStatus(directory = defaultDirectory): Promise<LocalStatus> {
  const place = await findPlace(directory)
  const major = place && (await majorVersion(place.dataDirectory))
  if (!place || major === undefined) return { ...nothing, directory: place?.directory ?? resolve(directory) }
  const server = await findPostmaster(place.dataDirectory)
  const about = server?.status === 'ready' ? await ask(server, 'status') : undefined
  return {
    state: server ? 'running' : 'stopped',
    directory: place.directory,
    dataDirectory: place.dataDirectory,
    socket: server?.socketDirectory ?? null,
    port: server?.port ?? null,
    pid: server?.pid ?? null,
    sentinelPid: (await findSentinel(place)) ?? null,
    version: about?.version ?? major,
    startedAt: server?.startedAt ?? null,
    sizeBytes: await sizeOf(place.dataDirectory),
    log: place.serverLog,
  }
}

const nothing: Omit<LocalStatus, 'directory'> = {
  state: 'absent',
  dataDirectory: null,
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
