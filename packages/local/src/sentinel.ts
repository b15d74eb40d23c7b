import { readFile, rm } from 'node:fs/promises'
import { Service } from 'tidings/internal/core/service'
import { unavailable } from './failures.ts'
import { writeWhole } from './files.ts'
import { boundLog } from './log-file.ts'
import { findPlace, type Place } from './paths.ts'
import { enter } from './process-lock.ts'
import { isStill, signal } from './processes.ts'
import type { Running, ServerKind, Session } from './server-type.ts'
import { kinds } from './server-types.ts'

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

/**
 * Starts the server of a place, restarts it after a crash, and stops it when nobody has used it for some time. One
 * sentinel is in charge of a server; others find that out and end. A killed one leaves the server running, and the
 * next one takes it over.
 */
export class LocalSentinel extends Service {
  readonly #place: Place
  readonly #kind: ServerKind
  readonly #options: SentinelOptions
  readonly #tickMs: number
  /** Open as long as the server runs and we are in charge of it. */
  #session: Session | undefined
  #ended: Promise<Ending> = Promise.resolve('told to stop')
  #wake = () => {}

  constructor(place: Place, options: SentinelOptions) {
    super()
    this.#place = place
    this.#kind = kinds[place.kind]
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
  async #takeOver(): Promise<Running | undefined> {
    const leave = await enter(this.#place.socketDirectory)
    try {
      await this.#mustBeOfKind()
      const { server, session } = await this.#kind.open(this.#place)
      try {
        if (!(await session.takeCharge())) {
          await session.end()
          return undefined
        }
        await writeWhole(this.#place.sentinelFile, `${JSON.stringify({ pid: process.pid })}\n`)
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
      await leave()
    }
  }

  async #mustBeOfKind(): Promise<void> {
    const { directory, dataDirectory } = this.#place
    for (const other of Object.values(kinds)) {
      if (other === this.#kind || (await other.madeBy(dataDirectory)) === undefined) continue
      throw unavailable(`${directory} holds the data of a local ${other.title}, not of ${this.#kind.title}`, {
        details: { directory },
        hint: `Give ${this.#kind.title} a directory of its own.`,
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
    return (
      (await findPlace(directory, this.#kind.name))?.home !== home ||
      (await this.#kind.madeBy(dataDirectory)) === undefined
    )
  }

  /** A server that somebody told to stop waits for its clients, of whom we are one. It is started again like any other. */
  async #freeStopping(): Promise<void> {
    if ((await this.#kind.find(this.#place))?.isStopping) await this.#session?.end()
  }

  /** Another text than the last time if the server was used in between or is in use; undefined without a session. */
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
   * @param unusedSince what `#use` said; if it says otherwise by now, the server goes on
   * @returns whether it is stopped
   */
  async #stopServer(unusedSince?: string): Promise<boolean> {
    // Who wants to start the server waits until it is stopped.
    const leave = await enter(this.#place.socketDirectory)
    try {
      if (unusedSince !== undefined && (await this.#use()) !== unusedSince) return false
      const session = this.#session
      this.#session = undefined
      await session?.end().catch(() => {})
      await this.#kind.stop(this.#place)
      await rm(this.#place.sentinelFile, { force: true })
      return true
    } finally {
      await leave()
    }
  }

  /** Somebody removed the directory: the server has nothing left to serve, and must not be started again. */
  #abandon(server: Running): Ending {
    // Our open session is the proof that the pid is still the server's.
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

/** The process that is in charge of a place, as far as can be known without the server. */
export async function findSentinel(place: Place): Promise<number | undefined> {
  const text = await readFile(place.sentinelFile, 'utf8').catch(() => '')
  const pid = Number(/"pid":(\d+)/.exec(text)?.[1])
  return pid > 0 && (await isStill(pid, sentinelProgram, place.directory)) ? pid : undefined
}
