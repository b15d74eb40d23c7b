import { chown, mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TidingsError } from 'tidings/internal/core/errors'
import { endServer, patienceMs, startDaemon } from '../daemon.ts'
import { openingFailed, startFailed } from '../failures.ts'
import { renameDurably, writeAtomically } from '../files.ts'
import type { ServerPaths } from '../paths.ts'
import { cleanEnvironment, hasCode, isStill, poll, processesIn, signal } from '../processes.ts'
import type { Product, Running } from '../server-type.ts'
import { serverUser } from '../users.ts'
import type { Program } from './program.ts'
import { ping } from './session.ts'

/** An acknowledged write is on disk, and nothing is ever evicted. */
const settings = {
  port: 0,
  appendonly: 'yes',
  appendfsync: 'always',
  save: '',
  'maxmemory-policy': 'noeviction',
  unixsocketperm: 700,
  // A running server is recognised by its arguments.
  'set-proc-title': 'no',
} as const

/** How long the socket of a running server may be missing before it counts as removed. */
const socketMissingMs = 1000

export const socketOf = ({ socketDirectory }: ServerPaths) => join(socketDirectory, 'redis.sock')

/** Names the product that ran last. This file marks a directory as one of Redis. */
const versionFile = (dataDirectory: string) => join(dataDirectory, 'REDIS_VERSION')
const pidFile = (dataDirectory: string) => join(dataDirectory, 'redis.pid')

/** The product that ran last on the data in this directory; undefined without data. */
export async function madeBy(dataDirectory: string): Promise<Product | undefined> {
  try {
    const [product = '', version = ''] = (await readFile(versionFile(dataDirectory), 'utf8')).trim().split(' ')
    return { product, version }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw openingFailed(error, dataDirectory)
  }
}

/** The running server of the data in this directory, started by any process. */
export async function findServer(dataDirectory: string): Promise<Running | undefined> {
  try {
    const path = pidFile(dataDirectory)
    const [text, { mtime }] = await Promise.all([readFile(path, 'utf8'), stat(path)])
    const pid = Number(text)
    if (!(pid > 1) || !(await isServer(pid, dataDirectory))) return undefined
    return { pid, startedAt: mtime, isStopping: false }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw openingFailed(error, dataDirectory)
  }
}

/** Starts the server or finds it running, and waits until it has read its data. The caller holds the lock. */
export async function startServer(paths: ServerPaths, program: Program): Promise<Running> {
  const { dataDirectory, serverLog: log } = paths
  for (;;) {
    const running = await findServer(dataDirectory)
    if (!running) break
    if (await becomesReady(paths, running.pid)) return running
    await stopServer(dataDirectory)
  }
  await endUnknown(dataDirectory)
  await prepareData(dataDirectory, program)
  const runAs = serverUser()
  const daemon = {
    file: program.file,
    arguments: argumentsFor(paths),
    // `endUnknown` finds the server by its working directory, from the first moment on.
    directory: dataDirectory,
    env: cleanEnvironment(['PATH', 'TZ'], { LC_ALL: 'C' }),
    log,
    runAs,
  }
  const start = await startDaemon(daemon, async () => {
    const found = await findServer(dataDirectory)
    return found && (await isReady(paths)) === true ? found : undefined
  })
  if ('slow' in start) throw tooSlow(paths, start.slow)
  if ('output' in start)
    throw startFailed(start.output, { dataDirectory, log }, { title: 'Redis', reason: lastWords(start.output) })
  return start.ready
}

/** Stops the server, started by any process, and waits for its end; false if it was not running. */
export async function stopServer(dataDirectory: string): Promise<boolean> {
  const running = await findServer(dataDirectory)
  if (!running) return false
  await endServer(running.pid, () => isServer(running.pid, dataDirectory), ['SIGTERM', 'SIGKILL'])
  return true
}

function argumentsFor(paths: ServerPaths): string[] {
  const { dataDirectory } = paths
  return argumentsFrom({
    dir: dataDirectory,
    pidfile: pidFile(dataDirectory),
    unixsocket: socketOf(paths),
    ...settings,
  })
}

/** Settings as on the command line. */
export function argumentsFrom(settings: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
}

const isServer = (pid: number, dataDirectory: string) => isStill(pid, `--dir ${dataDirectory} --pidfile`)

/** Makes the data directory in one step, and notes the product that runs on it now. */
async function prepareData(dataDirectory: string, { product, version }: Product): Promise<void> {
  const note = `${product} ${version}\n`
  try {
    if (await madeBy(dataDirectory)) await writeAtomically(versionFile(dataDirectory), note)
    else await makeData(dataDirectory, note)
    // The pid file of a killed server may name a pid that belongs to another program by now.
    await rm(pidFile(dataDirectory), { force: true })
  } catch (error) {
    throw openingFailed(error, dataDirectory)
  }
}

async function makeData(dataDirectory: string, note: string): Promise<void> {
  const unfinished = `${dataDirectory}.new`
  const runAs = serverUser()
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { mode: 0o700 })
  if (runAs) await chown(unfinished, runAs.uid, runAs.gid)
  await writeAtomically(versionFile(unfinished), note)
  await renameDurably(unfinished, dataDirectory)
}

/**
 * Ends servers that are not in the pid file: a server that had not written the file yet, and the child that rewrites the
 * log of a killed server. Redis does not lock its data: two servers would ruin them.
 */
async function endUnknown(dataDirectory: string): Promise<void> {
  const unknown = async () => {
    const found = await processesIn(dataDirectory)
    const servers = await Promise.all(found.map(({ pid }) => isServer(pid, dataDirectory)))
    return found.filter((_, index) => servers[index])
  }
  const gone = await poll(async () => {
    const left = await unknown()
    for (const { pid } of left) signal(pid, 'SIGKILL')
    return left.length === 0
  }, patienceMs)
  if (!gone) {
    throw new TidingsError('TIMEOUT', `another server on ${dataDirectory} does not end`, { details: { dataDirectory } })
  }
}

/** False if the server ended, or if its socket was removed. */
async function becomesReady(paths: ServerPaths, pid: number): Promise<boolean> {
  const since = performance.now()
  const settled = await poll(async () => {
    const ready = await isReady(paths)
    if (ready === true) return { ready: true }
    const removed = ready === 'no socket' && performance.now() - since > socketMissingMs
    return removed || !(await isServer(pid, paths.dataDirectory)) ? { ready: false } : undefined
  }, patienceMs)
  if (!settled) throw tooSlow(paths, pid)
  return settled.ready
}

async function isReady(paths: ServerPaths): Promise<true | 'not yet' | 'no socket'> {
  try {
    await ping(socketOf(paths))
    return true
  } catch (error) {
    return hasCode(error, 'ENOENT') ? 'no socket' : 'not yet'
  }
}

function tooSlow({ dataDirectory, serverLog: log }: ServerPaths, pid: number | undefined): TidingsError {
  return new TidingsError('TIMEOUT', `the server in ${dataDirectory} takes no connections; its log is ${log}`, {
    details: { dataDirectory, log, pid },
  })
}

/** The last lines of a server's output, without their prefixes. */
export function lastWords(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  return lines
    .slice(-2)
    .map((line) => line.replace(/^\d+:[A-Z] .*?\d{4} [\d:.]+ [.*#-] /, '').trim())
    .join(' ')
}
