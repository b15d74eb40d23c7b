import { readFile, rm } from 'node:fs/promises'
import type pg from 'pg'
import { Service } from '../service.ts'
import { localBinaries } from './binaries.ts'
import { Cluster, findPostmaster, majorVersion, type Postmaster, stopServer } from './cluster.ts'
import { unavailable } from './failures.ts'
import { writeWhole } from './files.ts'
import { boundLog } from './log-file.ts'
import { findPlace, type Place } from './place.ts'
import { hasCode, isStill, signal } from './processes.ts'
import { makeDatabase, openSession, superuser, takeCharge, use } from './session.ts'
import { enter } from './turnstile.ts'
import { cacheDirectory, serverUser } from './users.ts'

export interface SentinelOptions {
  /** The server is stopped after this time without clients, in milliseconds. */
  readonly idleAfterMs: number
  /** Takes a line for the log. */
  readonly log: (line: string) => void
}

/** Why a sentinel's work is over. */
export type Ending = 'another is in charge' | 'idle' | 'data removed' | 'told to stop' | 'gave up'

/** The program that runs a sentinel; the name is also how its process is recognised. */
export const sentinelProgram = 'sentinel-main'

/** Restarts that may fail in a row before the sentinel gives up, and the pauses between them: four minutes in all. */
const restarts = { attempts: 20, firstPauseMs: 200, longestPauseMs: 15_000 }

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

/**
 * Starts the server of a place, restarts it after a crash, and stops it when nobody has used it for some time. One
 * sentinel is in charge of a server; others find that out and end. A killed one leaves the server running, and the
 * next one takes it over.
 */
export class LocalSentinel extends Service {
  readonly #place: Place
  readonly #options: SentinelOptions
  readonly #tickMs: number
  /** Open as long as the server runs and we are in charge of it. */
  #session: pg.Client | undefined
  #ended: Promise<Ending> = Promise.resolve('told to stop')
  #wake = () => {}

  constructor(place: Place, options: SentinelOptions) {
    super()
    this.#place = place
    this.#options = options
    this.#tickMs = Math.min(5000, Math.max(50, options.idleAfterMs / 4))
  }

  /** Resolves when its work is over, for whatever reason. To be asked for after `start`. */
  get ended(): Promise<Ending> {
    return this.#ended
  }

  /** Resolves when the server takes connections, whoever is in charge of it. Fails if the server cannot be started. */
  protected async onStart(): Promise<void> {
    const server = await this.#takeOver()
    this.#ended = server ? this.#watch(server) : Promise.resolve('another is in charge')
  }

  /** Stops the server, too. */
  protected async onStop(): Promise<void> {
    this.#wake()
    await this.#ended
  }

  /** Starts the server or finds it running, and takes charge of it; undefined if another sentinel has it. */
  async #takeOver(): Promise<Postmaster | undefined> {
    const leave = await enter(this.#place.turnstile)
    try {
      // Every time, because the binaries may have been installed anew.
      const cluster = await openCluster(this.#place)
      if (!(await cluster.exists())) await cluster.init()
      const { server, session } = await connectTo(cluster)
      try {
        if (!(await takeCharge(session))) {
          await session.end()
          return undefined
        }
        await makeDatabase(session)
        await writeWhole(this.#place.sentinelFile, `${JSON.stringify({ pid: process.pid })}\n`)
      } catch (error) {
        await session.end().catch(() => {})
        throw error
      }
      this.#session = session
      session.once('end', () => {
        if (this.#session === session) this.#session = undefined
        this.#wake()
      })
      this.#options.log(`in charge of the server with pid ${server.pid}`)
      return server
    } finally {
      await leave()
    }
  }

  async #watch(started: Postmaster): Promise<Ending> {
    let server = started
    let use = { seen: '', at: performance.now() }
    while (this.state === 'running') {
      if (this.#session === undefined) {
        const next = await this.#restart()
        if (typeof next === 'string') return next
        if (next === undefined) break
        server = next
        use = { seen: '', at: performance.now() }
      }
      await this.#pause(this.#tickMs)
      try {
        await Promise.all([boundLog(this.#place.serverLog), boundLog(this.#place.sentinelLog)])
        if (await this.#isRemoved()) return this.#abandon(server)
        await this.#freeStopping()
        const seen = await this.#use()
        if (seen !== undefined && seen !== use.seen) use = { seen, at: performance.now() }
        const idle = performance.now() - use.at >= this.#options.idleAfterMs
        if (idle && (await this.#stopServer(use.seen))) return 'idle'
      } catch (error) {
        // A full disk, for example. Who supervises has to outlast it.
        this.#options.log(String(error))
      }
    }
    await this.#stopServer()
    return 'told to stop'
  }

  async #isRemoved(): Promise<boolean> {
    const { directory, home, dataDirectory } = this.#place
    return (await findPlace(directory))?.home !== home || (await majorVersion(dataDirectory)) === undefined
  }

  /** A server that somebody told to stop waits for its clients, of whom we are one. It is started again like any other. */
  async #freeStopping(): Promise<void> {
    if ((await findPostmaster(this.#place.dataDirectory))?.status === 'stopping') await this.#session?.end()
  }

  /** Another text than the last time if the server was used in between or is in use; undefined without a session. */
  async #use(): Promise<string | undefined> {
    const session = this.#session
    if (session === undefined) return undefined
    const { clients, sessions } = await use(session)
    return clients > 0 ? `in use at ${performance.now()}` : sessions
  }

  /** After a lost connection. Undefined if told to stop meanwhile. */
  async #restart(): Promise<Postmaster | Ending | undefined> {
    let pauseMs = restarts.firstPauseMs
    for (let attempt = 1; attempt <= restarts.attempts; attempt++) {
      if (this.state !== 'running') return undefined
      try {
        if (await this.#isRemoved()) return 'data removed'
        this.#options.log('the connection to the server is lost; starting it if it does not run')
        return (await this.#takeOver()) ?? 'another is in charge'
      } catch (error) {
        this.#options.log(`attempt ${attempt} of ${restarts.attempts}: ${String(error)}`)
        await this.#pause(pauseMs)
        pauseMs = Math.min(pauseMs * 2, restarts.longestPauseMs)
      }
    }
    return 'gave up'
  }

  /**
   * @param unusedSince what `#use` said; if it says otherwise by now, the server goes on
   * @returns whether it is stopped
   */
  async #stopServer(unusedSince?: string): Promise<boolean> {
    // Who wants to start the server waits until it is stopped.
    const leave = await enter(this.#place.turnstile)
    try {
      if (unusedSince !== undefined && (await this.#use()) !== unusedSince) return false
      const session = this.#session
      this.#session = undefined
      await session?.end().catch(() => {})
      await stopServer(this.#place.dataDirectory)
      await rm(this.#place.sentinelFile, { force: true })
      return true
    } finally {
      await leave()
    }
  }

  /** Somebody removed the directory: the server has nothing left to serve, and must not be started again. */
  #abandon(server: Postmaster): Ending {
    // Our open session is the proof that the pid is still the server's.
    if (this.#session) signal(server.pid, 'SIGQUIT')
    return 'data removed'
  }

  /** Ends early when the session ends or the sentinel is to stop. */
  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** The process that is in charge of a place, as far as can be known without the server. */
export async function findSentinel(place: Place): Promise<number | undefined> {
  const text = await readFile(place.sentinelFile, 'utf8').catch(() => '')
  const pid = Number(/"pid":(\d+)/.exec(text)?.[1])
  return pid > 0 && (await isStill(pid, sentinelProgram, place.directory)) ? pid : undefined
}

async function connectTo(cluster: Cluster): Promise<{ server: Postmaster; session: pg.Client }> {
  const server = await cluster.start()
  try {
    return { server, session: await openSession(server, 'sentinel') }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    // Somebody removed the socket of a running server: nobody can connect before it makes a new one.
    await cluster.stop()
    const restarted = await cluster.start()
    return { server: restarted, session: await openSession(restarted, 'sentinel') }
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
    port: 5432,
    superuser,
    settings,
    ...(runAs ? { runAs } : {}),
  })
}
