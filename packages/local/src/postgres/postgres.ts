import { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed, unavailable } from '../failures.ts'
import type { Place } from '../paths.ts'
import { hasCode, poll } from '../processes.ts'
import type { Description, Purpose, ServerKind, Session } from '../server-type.ts'
import { cacheDirectory, serverUser } from '../users.ts'
import { findPackage, localBinaries } from './binaries.ts'
import { Cluster, findPostmaster, majorVersion, type Postmaster, stopServer } from './cluster.ts'
import { describe, isFull, isNotUp, openSentinelSession, superuser } from './session.ts'

/** It names the unix socket. */
export const port = 5432

/** Little memory, full durability. */
const settings = {
  max_connections: 200,
  shared_buffers: '64MB',
  max_wal_size: '256MB',
  jit: 'off',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  // What macOS calls fsync leaves data in the cache of the drive.
  ...(process.platform === 'darwin' ? { wal_sync_method: 'fsync_writethrough' } : {}),
} as const

/** The PostgreSQL that comes with the package. */
export const postgres: ServerKind = {
  name: 'postgres',
  title: 'PostgreSQL',

  async checkPrograms() {
    await findPackage()
  },
  async madeBy(dataDirectory) {
    const version = await majorVersion(dataDirectory)
    return version === undefined ? undefined : { product: 'PostgreSQL', version }
  },
  find: ({ dataDirectory }) => findPostmaster(dataDirectory),
  async describe({ dataDirectory }, purpose) {
    const server = await findPostmaster(dataDirectory)
    return server?.status === 'ready' ? ask(server, purpose) : undefined
  },
  async open(place) {
    // Every time, because the binaries may have been installed anew.
    const cluster = await openCluster(place)
    if (!(await cluster.exists())) await cluster.init()
    return connectTo(cluster)
  },
  stop: ({ dataDirectory }) => stopServer(dataDirectory),
}

/** What a server says about itself; undefined if it is not up. */
async function ask(server: Postmaster, purpose: Purpose): Promise<Description | undefined> {
  const answer = await poll(async () => {
    try {
      return await describe(server, purpose)
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

async function connectTo(cluster: Cluster): Promise<{ server: Postmaster; session: Session }> {
  const server = await cluster.start()
  try {
    return { server, session: await openSentinelSession(server) }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    // Somebody removed the socket of a running server: nobody can connect before it makes a new one.
    await cluster.stop()
    const restarted = await cluster.start()
    return { server: restarted, session: await openSentinelSession(restarted) }
  }
}

/** @throws LOCAL_UNAVAILABLE if there are no binaries, or the data were made by another major version */
async function openCluster(place: Place): Promise<Cluster> {
  const runAs = serverUser()
  const { dataDirectory } = place
  const binaries = await localBinaries(runAs, [cacheDirectory(), place.home])
  const made = await majorVersion(dataDirectory)
  if (made !== undefined && made !== binaries.major) {
    throw unavailable(`${dataDirectory} was made by PostgreSQL ${made}, and this is PostgreSQL ${binaries.major}`, {
      details: { dataDirectory, made, installed: binaries.major },
      hint: `Use another directory, or move the data with the pg_dump of PostgreSQL ${made}, or remove the directory if they are not needed.`,
    })
  }
  return new Cluster({
    binDirectory: binaries.directory,
    dataDirectory,
    log: place.serverLog,
    socketDirectory: place.socketDirectory,
    port,
    superuser,
    settings,
    ...(runAs ? { runAs } : {}),
  })
}
