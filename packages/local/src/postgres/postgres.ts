import { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed, unavailable } from '../failures.ts'
import type { ServerPaths } from '../paths.ts'
import { hasCode, poll } from '../processes.ts'
import type { Description, Purpose, ServerType, Session } from '../server-type.ts'
import { cacheDirectory, serverUser } from '../users.ts'
import { findPackage, localBinaries } from './binaries.ts'
import { Cluster, findPostmaster, majorVersion, type Postmaster, stopServer } from './cluster.ts'
import { describe, isFull, isNotUp, openSentinelSession, superuser } from './session.ts'

/** Only part of the unix socket's name: the server does not listen on TCP. */
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
  // fsync of macOS leaves data in the cache of the drive.
  ...(process.platform === 'darwin' ? { wal_sync_method: 'fsync_writethrough' } : {}),
} as const

/** The PostgreSQL that comes with the package. */
export const postgres: ServerType = {
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
  async open(paths) {
    // Looked up every time: the binaries may have been reinstalled.
    const cluster = await openCluster(paths)
    if (!(await cluster.exists())) await cluster.init()
    return connectTo(cluster)
  },
  stop: ({ dataDirectory }) => stopServer(dataDirectory),
}

/** The server's description of itself; undefined if it is not up. */
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
    // The socket of a running server was removed. Only a restart makes a new one.
    await cluster.stop()
    const restarted = await cluster.start()
    return { server: restarted, session: await openSentinelSession(restarted) }
  }
}

/** @throws LOCAL_UNAVAILABLE if there are no binaries, or the data are of another major version */
async function openCluster(paths: ServerPaths): Promise<Cluster> {
  const runAs = serverUser()
  const { dataDirectory } = paths
  const binaries = await localBinaries(runAs, [cacheDirectory(), paths.home])
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
    log: paths.serverLog,
    socketDirectory: paths.socketDirectory,
    port,
    superuser,
    settings,
    ...(runAs ? { runAs } : {}),
  })
}
