import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { localBinaries } from 'tidings-local/internal/postgres/binaries'
import { Cluster } from 'tidings-local/internal/postgres/cluster'
import { poll } from 'tidings-local/internal/processes'
import { serverUser } from 'tidings-local/internal/users'
import { cacheFolder, unpackDebian } from './debian.ts'
import { atExit, freePort, removeDirectory, serverDirectory } from './directories.ts'

export type PostgresVersion = 15 | 18

/** A PostgreSQL of a test's own, on 127.0.0.1. Its superuser and database are named `tidings`; no password. */
export interface TestPostgres {
  readonly url: string
  readonly version: PostgresVersion
  /** Ends it and removes its data; twice is fine. */
  stop(): Promise<void>
  /** Kills the postmaster, by default as a crash would, and waits for its end. The data stays. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same port and data, after ending it if it runs. */
  restart(): Promise<void>
}

/**
 * Starts a PostgreSQL in a temporary directory; a missing one is an error, never a skip.
 * @param settings further server settings; default: `fsync=on`
 */
export async function startPostgres(
  version: PostgresVersion,
  settings: Readonly<Record<string, string | number>> = {},
): Promise<TestPostgres> {
  const programs = await postgresPrograms(version)
  const directory = await serverDirectory(`pg${version}`)
  const runAs = serverUser()
  const cluster = new Cluster({
    ...programs,
    ...(runAs ? { runAs } : {}),
    dataDirectory: join(directory, 'data'),
    log: join(directory, 'postgres.log'),
    address: '127.0.0.1',
    port: await freePort(),
    superuser: 'tidings',
    settings: { fsync: 'on', shared_buffers: '64MB', max_connections: 200, jit: 'off', ...settings },
  })
  const forget = atExit(() => removeNow(directory))
  const server = {
    url: `postgres://tidings@127.0.0.1:${cluster.options.port}/tidings`,
    version,
    async stop() {
      forget()
      await cluster.stop('immediate')
      await cluster.endOrphans()
      removeDirectory(directory)
    },
    async kill(signal: NodeJS.Signals = 'SIGKILL') {
      const running = await cluster.postmaster()
      if (!running) return
      process.kill(running.pid, signal)
      await poll(async () => (await cluster.postmaster()) === undefined, 60_000)
    },
    async restart() {
      await cluster.stop()
      await cluster.start()
    },
  }
  try {
    await cluster.init({ sync: false })
    await cluster.start()
    await createDatabase(cluster.options.port)
  } catch (error) {
    const log = await readFile(cluster.options.log, 'utf8').catch(() => '')
    await server.stop()
    throw new Error(`PostgreSQL ${version} for the tests does not start\n${log}`, { cause: error })
  }
  return server
}

/** Where the programs are, and the libraries that they do not find themselves. */
export async function postgresPrograms(
  version: PostgresVersion,
): Promise<{ binDirectory: string; libraryPath?: string }> {
  if (version === 18) {
    const runAs = serverUser()
    return { binDirectory: (await localBinaries(runAs, [cacheFolder()])).directory }
  }
  // Never the one that the machine may have, so that all machines run the same.
  const binDirectory = 'usr/lib/postgresql/15/bin'
  const { root, libraryPath } = await unpackDebian(
    ['postgresql-15', 'postgresql-15-partman'],
    `${binDirectory}/postgres`,
  )
  return { binDirectory: join(root, binDirectory), libraryPath }
}

async function createDatabase(port: number): Promise<void> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'tidings', database: 'postgres' })
  await client.connect()
  try {
    await client.query('create database tidings')
  } finally {
    await client.end()
  }
}

/** At the end of the process there is no time to wait: the server is told to end at once and its data goes. */
function removeNow(directory: string): void {
  try {
    process.kill(Number.parseInt(readFileSync(join(directory, 'data', 'postmaster.pid'), 'utf8'), 10), 'SIGQUIT')
  } catch {
    // It does not run.
  }
  removeDirectory(directory)
}
