import { execFile } from 'node:child_process'
import { chown, mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import { endServer, patienceMs, startDaemon } from '../daemon.ts'
import { openingFailed, startFailed } from '../failures.ts'
import { renameDurably } from '../files.ts'
import { cleanEnvironment, commandLine, hasCode, isStill, poll, processesIn, signal } from '../processes.ts'
import type { Running } from '../server-type.ts'
import type { RunAs } from '../users.ts'

export interface ClusterOptions {
  /** Holds `initdb` and `postgres`. */
  readonly binDirectory: string
  /** Absolute, without symbolic links: a running server is recognised by this path. */
  readonly dataDirectory: string
  /** The file that the server's output is appended to. */
  readonly log: string
  /** Directory of the unix socket. Default: no unix socket. */
  readonly socketDirectory?: string
  /** Address for TCP. Default: no TCP. */
  readonly address?: string
  /** Port for TCP; also part of the unix socket's name. */
  readonly port: number
  /** Name of the superuser that `init` makes. */
  readonly superuser: string
  /** The user of the server. Default: the user of this process, who must not be root. */
  readonly runAs?: RunAs
  /** Further settings for the command line, which win over postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** The directory of the shared libraries, if the binaries do not find them by themselves. */
  readonly libraryPath?: string
}

/** The running server of a cluster. */
export interface Postmaster extends Running {
  readonly port: number
  /** '' if it listens on TCP only. */
  readonly socketDirectory: string
  /** The server takes connections only when `ready`. Crash recovery counts as `starting`. */
  readonly status: 'starting' | 'ready' | 'stopping'
}

/** PostgreSQL's words when processes of a killed server have not ended yet. */
const orphansRemain = /pre-existing shared memory block|is still in use/

/** One PostgreSQL cluster on disk and the server that runs on it. */
export class Cluster {
  readonly options: ClusterOptions

  constructor(options: ClusterOptions) {
    this.options = options
  }

  /** Whether `init` has been done. */
  async exists(): Promise<boolean> {
    return (await majorVersion(this.options.dataDirectory)) !== undefined
  }

  /**
   * Makes the cluster in one step: UTF-8, locale C, every connection trusted.
   * @param sync false: do not wait for the disk. Default true.
   * @throws LOCAL_UNAVAILABLE, STORAGE_FULL
   */
  async init({ sync = true } = {}): Promise<void> {
    const { dataDirectory, superuser, runAs } = this.options
    await this.#removeUnfinished()
    const unfinished = `${dataDirectory}.new-${process.pid}`
    try {
      await mkdir(unfinished, { mode: 0o700 })
      if (runAs) await chown(unfinished, runAs.uid, runAs.gid)
      const trust = ['-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-instructions']
      await this.#initdb(['-D', unfinished, '-U', superuser, ...trust, ...(sync ? [] : ['--no-sync'])])
      await renameDurably(unfinished, dataDirectory)
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true })
      // Another process was faster; its cluster is used.
      if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw openingFailed(error, dataDirectory)
    }
  }

  /**
   * Starts the server or finds it running. Tries again while processes of a killed server are ending.
   * @throws LOCAL_UNAVAILABLE, STORAGE_FULL, TIMEOUT if it does not take connections after a minute
   */
  async start(): Promise<Postmaster> {
    const deadline = performance.now() + patienceMs
    for (;;) {
      const running = await this.#settled()
      if (running?.status === 'ready') return running
      // A stopping server may wait for its clients without limit.
      if (running) await this.stop()
      await this.endOrphans()
      const output = await this.#attempt()
      if (typeof output !== 'string') return output
      const another = /lock file ".*" already exists/.test(output) && (await this.postmaster()) !== undefined
      if (!another && !(orphansRemain.test(output) && performance.now() < deadline)) {
        throw startFailed(output, this.options)
      }
      await sleep(100)
    }
  }

  /** Stops the server and waits for its end; false if it was not running. */
  stop(mode?: StopMode): Promise<boolean> {
    return stopServer(this.options.dataDirectory, mode)
  }

  /**
   * Ends processes of a killed server. A process that waits for a client ends by itself, but a process that computes
   * runs until its query is done, and keeps the next server from starting.
   */
  async endOrphans(): Promise<void> {
    for (const pid of await orphansOf(this.options.dataDirectory)) signal(pid, 'SIGQUIT')
  }

  /** The running server of this cluster, started by any process. */
  postmaster(): Promise<Postmaster | undefined> {
    return findPostmaster(this.options.dataDirectory)
  }

  /** One start. Returns the server's output if the server ended instead of becoming ready. */
  async #attempt(): Promise<Postmaster | string> {
    const { binDirectory, dataDirectory, log, runAs } = this.options
    const daemon = {
      file: join(binDirectory, 'postgres'),
      arguments: this.#arguments(),
      directory: '/',
      env: await this.#environment(),
      log,
      runAs,
    }
    const start = await startDaemon(daemon, async (pid) => {
      const found = await readPidFile(dataDirectory)
      return found?.pid === pid && found?.status === 'ready' ? found : undefined
    })
    if ('slow' in start) throw this.#tooSlow(start.slow)
    return 'ready' in start ? start.ready : start.output
  }

  #arguments(): string[] {
    const { dataDirectory, socketDirectory = '', address = '', port, settings = {} } = this.options
    const all = { port, listen_addresses: address, unix_socket_directories: socketDirectory, ...settings }
    return ['-D', dataDirectory, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  }

  async #environment(): Promise<NodeJS.ProcessEnv> {
    const stale = await readPidFile(this.options.dataDirectory)
    // PostgreSQL refuses to start while the pid in its lock file is alive, even if another program has that pid now. It
    // ignores the pid of its grandparent; this variable leaves all its other checks at work.
    return this.#cleanEnvironment(stale ? { PG_GRANDPARENT_PID: String(stale.pid) } : {})
  }

  #cleanEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
    const { libraryPath } = this.options
    const libraries: Record<string, string> = libraryPath === undefined ? {} : { LD_LIBRARY_PATH: libraryPath }
    return cleanEnvironment(['PATH', 'TZ', 'TMPDIR'], { LC_ALL: 'C', ...libraries, ...extra })
  }

  async #initdb(args: readonly string[]): Promise<void> {
    const { binDirectory, runAs } = this.options
    const env = this.#cleanEnvironment()
    await new Promise<void>((resolve, reject) => {
      execFile(join(binDirectory, 'initdb'), args, { cwd: '/', env, ...runAs }, (error, stdout, stderr) => {
        if (error) reject(startFailed(`${stdout}${stderr}` || error.message, this.options))
        else resolve()
      })
    })
  }

  /** Removes the leftovers of a killed `init`. */
  async #removeUnfinished(): Promise<void> {
    const { dataDirectory } = this.options
    const prefix = `${basename(dataDirectory)}.new-`
    const names = await readdir(dirname(dataDirectory)).catch((error) => {
      throw openingFailed(error, dirname(dataDirectory))
    })
    for (const name of names) {
      if (!name.startsWith(prefix)) continue
      const pid = Number(name.slice(prefix.length))
      if (pid === process.pid || (await commandLine(pid)) === undefined)
        await rm(join(dirname(dataDirectory), name), { recursive: true, force: true })
    }
  }

  /** Waits until the server is no longer starting. */
  async #settled(): Promise<Postmaster | undefined> {
    const settled = await poll(async () => {
      const found = (await this.postmaster()) ?? null
      return found?.status !== 'starting' && { found }
    }, patienceMs)
    if (!settled) throw this.#tooSlow((await this.postmaster())?.pid)
    return settled.found ?? undefined
  }

  #tooSlow(pid: number | undefined): TidingsError {
    const { dataDirectory, log } = this.options
    return new TidingsError('TIMEOUT', `the server in ${dataDirectory} takes no connections; its log is ${log}`, {
      details: { dataDirectory, log, pid },
    })
  }
}

/** The major version of the PostgreSQL that made this cluster, for example '18'; undefined without a cluster. */
export async function majorVersion(dataDirectory: string): Promise<string | undefined> {
  try {
    return (await readFile(join(dataDirectory, 'PG_VERSION'), 'utf8')).trim()
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw openingFailed(error, dataDirectory)
  }
}

/** The running server of the cluster in this directory, started by any process. */
export async function findPostmaster(dataDirectory: string): Promise<Postmaster | undefined> {
  const found = await readPidFile(dataDirectory)
  return found && (await isStill(found.pid, 'postgres', dataDirectory)) ? found : undefined
}

/** `fast` closes connections cleanly; `immediate` leaves recovery to the next start. */
export type StopMode = 'fast' | 'immediate'

const signalsOf: Readonly<Record<StopMode, readonly NodeJS.Signals[]>> = {
  fast: ['SIGINT', 'SIGQUIT', 'SIGKILL'],
  immediate: ['SIGQUIT', 'SIGKILL'],
}

/**
 * Stops the server of a cluster and waits for its end. Sends one signal after the other until the server is gone.
 * @returns false if it was not running
 * @throws TIMEOUT if the server outlives the last signal
 */
export async function stopServer(dataDirectory: string, mode: StopMode = 'fast'): Promise<boolean> {
  const running = await findPostmaster(dataDirectory)
  if (!running) return false
  await endServer(running.pid, () => isStill(running.pid, 'postgres', dataDirectory), signalsOf[mode])
  return true
}

/** Processes of a server whose postmaster is gone. */
async function orphansOf(dataDirectory: string): Promise<number[]> {
  const found = await processesIn(dataDirectory)
  const parented = await Promise.all(found.map(({ parent }) => isStill(parent, 'postgres', dataDirectory)))
  return found.filter(({ command }, index) => command.startsWith('postgres:') && !parented[index]).map(({ pid }) => pid)
}

/** Reads the server's lock file: pid, data directory, start, port, socket directory, address, memory, status. */
async function readPidFile(dataDirectory: string): Promise<Postmaster | undefined> {
  let text: string
  try {
    text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw openingFailed(error, dataDirectory)
  }
  const lines = text.split('\n').map((line) => line.trim())
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 1) return undefined
  const status = lines[7] === 'ready' || lines[7] === 'stopping' ? lines[7] : 'starting'
  return {
    pid,
    startedAt: new Date(Number(lines[2]) * 1000),
    port: Number(lines[3]),
    socketDirectory: lines[4] ?? '',
    status,
    isStopping: status === 'stopping',
  }
}
