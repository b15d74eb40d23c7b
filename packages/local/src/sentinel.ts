import { readFile, rm } from 'node:fs/promises'
import { Service } from 'tidings/internal/core/service'
import { unavailable } from './failures.ts'
import { writeAtomically } from './files.ts'
import { boundLog } from './log-file.ts'
import { findPaths, type ServerPaths } from './paths.ts'
import { acquireLock } from './process-lock.ts'
import { isStill, signal } from './processes.ts'
import type { Running, ServerType, Session } from './server-type.ts'
import { serverTypes } from './server-types.ts'

export interface SentinelOptions {
  /** The server is stopped after this time without clients, in milliseconds. */
  readonly idleAfterMs: number
  /** Takes a line for the log. */
  readonly log: (line: string) => void
}

/** Why a sentinel's work is over. */
export type Ending = 'another is in charge' | 'idle' | 'data removed' | 'told to stop' | 'gave up'

/** The program of a sentinel. The name also identifies the process. */
export const sentinelProgram = 'sentinel-main'

/** Restarts that may fail in a row before the sentinel gives up, and the pauses between them: four minutes in all. */
const restarts = { attempts: 20, firstPauseMs: 200, longestPauseMs: 15_000 }

/**
 * Starts a local server, restarts it after a crash, and stops it when it is idle. One sentinel is in charge of a server;
 * other sentinels notice and end. A killed sentinel leaves the server running, and the next sentinel takes over.
 */
export class LocalSentinel extends Service {
  readonly #paths: ServerPaths
  readonly #type: ServerType
  readonly #options: SentinelOptions
  readonly #tickMs: number
  /** Open while the server runs and this sentinel is in charge. */
  #session: Session | undefined
  #ended: Promise<Ending> = Promise.resolve('told to stop')
  #wake = () => {}

  constructor(paths: ServerPaths, options: SentinelOptions) {
    super()
    this.#paths = paths
    this.#type = serverTypes[paths.type]
    this.#options = options
    this.#tickMs = Math.min(5000, Math.max(50, options.idleAfterMs / 4))
  }

  /** Resolves when the work is over, with the reason. Valid after `start`. */
  get ended(): Promise<Ending> {
    return this.#ended
  }

  /** Resolves when the server takes connections, also under another sentinel. Fails if the server cannot be started. */
  protected async onStart(): Promise<void> {
    const server = await this.#takeOver()
    this.#ended = server ? this.#watch(server) : Promise.resolve('another is in charge')
  }

  /** Also stops the server. */
  protected async onStop(): Promise<void> {
    this.#wake()
    await this.#ended
  }

  /** Starts the server or finds it running, and takes charge of it; undefined if another sentinel has it. */
  async #takeOver(): Promise<Running | undefined> {
    const release = await acquireLock(this.#paths.socketDirectory)
    try {
      await this.#mustBeOfType()
      const { server, session } = await this.#type.open(this.#paths)
      try {
        if (!(await session.takeCharge())) {
          await session.end()
          return undefined
        }
        await writeAtomically(this.#paths.sentinelFile, `${JSON.stringify({ pid: process.pid })}\n`)
      } catch (error) {
        await session.end().catch(() => {})
        throw error
      }
      this.#session = session
      session.onEnd(() => {
        if (this.#session === session) this.#session = undefined
        this.#wake()
      })
      this.#options.log(`in charge of the server with pid ${server.pid}`)
      return server
    } finally {
      await release()
    }
  }

  async #mustBeOfType(): Promise<void> {
    const { directory, dataDirectory } = this.#paths
    for (const other of Object.values(serverTypes)) {
      if (other === this.#type || (await other.madeBy(dataDirectory)) === undefined) continue
      throw unavailable(`${directory} holds the data of a local ${other.title}, not of ${this.#type.title}`, {
        details: { directory },
        hint: `Give ${this.#type.title} a directory of its own.`,
      })
    }
  }

  async #watch(started: Running): Promise<Ending> {
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
        await Promise.all([boundLog(this.#paths.serverLog), boundLog(this.#paths.sentinelLog)])
        if (await this.#isRemoved()) return this.#abandon(server)
        await this.#freeStopping()
        const seen = await this.#use()
        if (seen !== undefined && seen !== use.seen) use = { seen, at: performance.now() }
        const idle = performance.now() - use.at >= this.#options.idleAfterMs
        if (idle && (await this.#stopServer(use.seen))) return 'idle'
      } catch (error) {
        // The sentinel has to outlast failures such as a full disk.
        this.#options.log(String(error))
      }
    }
    await this.#stopServer()
    return 'told to stop'
  }

  async #isRemoved(): Promise<boolean> {
    const { directory, home, dataDirectory } = this.#paths
    return (
      (await findPaths(directory, this.#type.name))?.home !== home ||
      (await this.#type.madeBy(dataDirectory)) === undefined
    )
  }

  /** A server that is told to stop waits for its clients, this sentinel among them. It is restarted afterwards. */
  async #freeStopping(): Promise<void> {
    if ((await this.#type.find(this.#paths))?.isStopping) await this.#session?.end()
  }

  /** A text that changes while the server is in use and after each use; undefined without a session. */
  async #use(): Promise<string | undefined> {
    const session = this.#session
    if (session === undefined) return undefined
    const { clients, past } = await session.use()
    return clients > 0 ? `in use at ${performance.now()}` : past
  }

  /** After a lost connection. Undefined if told to stop meanwhile. */
  async #restart(): Promise<Running | Ending | undefined> {
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
   * @param unusedSince the last answer of `#use`; a different answer now keeps the server running
   * @returns whether it is stopped
   */
  async #stopServer(unusedSince?: string): Promise<boolean> {
    // A process that wants to start the server waits until it is stopped.
    const release = await acquireLock(this.#paths.socketDirectory)
    try {
      if (unusedSince !== undefined && (await this.#use()) !== unusedSince) return false
      const session = this.#session
      this.#session = undefined
      await session?.end().catch(() => {})
      await this.#type.stop(this.#paths)
      await rm(this.#paths.sentinelFile, { force: true })
      return true
    } finally {
      await release()
    }
  }

  /** The directory was removed: the server has no data left and must not be started again. */
  #abandon(server: Running): Ending {
    // The open session proves that the pid still belongs to the server.
    if (this.#session) signal(server.pid, 'SIGKILL')
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

/** The pid of the sentinel in charge, as far as can be known without the server. */
export async function findSentinel(paths: ServerPaths): Promise<number | undefined> {
  const text = await readFile(paths.sentinelFile, 'utf8').catch(() => '')
  const pid = Number(/"pid":(\d+)/.exec(text)?.[1])
  return pid > 0 && (await isStill(pid, sentinelProgram, paths.directory)) ? pid : undefined
}
