import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, realpath } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TidingsError } from 'tidings/internal/core/errors'
import { patienceMs } from '../daemon.ts'
import { openingFailed, startFailed } from '../failures.ts'
import { cleanEnvironment, poll } from '../processes.ts'
import { findProgram } from './program.ts'
import { argumentsFrom, lastWords } from './server.ts'
import { loadDriver, ping } from './session.ts'

/**
 * A shell script that runs the server until its own input ends, so the server ends with this process even if this process
 * is killed. $0 is the directory, which is removed with the server.
 */
const keeper = [
  'exec 3<&0',
  '"$@" </dev/null 3<&- 2>&1 & server=$!',
  '{ read -r _ <&3; kill -9 $server; } >/dev/null 2>&1 & reader=$!',
  'wait $server',
  'kill $reader',
  'rm -rf "$0"',
].join('\n')

const settings = { port: 0, save: '', appendonly: 'no', unixsocketperm: 700, 'set-proc-title': 'no' } as const

interface Kept {
  readonly keeper: ChildProcess
  readonly path: string
}

/** A Redis in memory, private to this process, that ends with it. */
export class PrivateRedis {
  #kept: Kept | undefined
  #locating: Promise<Kept> | undefined

  /**
   * The path of the unix socket. Starts the server if it does not run; after a kill the next server is empty.
   * @throws LOCAL_UNAVAILABLE if neither redis-server nor valkey-server is installed; TIMEOUT
   */
  locate(): Promise<{ readonly path: string }> {
    this.#locating ??= this.#locate().finally(() => {
      this.#locating = undefined
    })
    return this.#locating
  }

  async #locate(): Promise<Kept> {
    if (this.#kept && hasEnded(this.#kept.keeper)) this.#kept = undefined
    this.#kept ??= await start()
    return this.#kept
  }

  /** Ends the server. Safe to call twice. */
  async release(): Promise<void> {
    await this.#locating?.catch(() => {})
    if (this.#kept) await end(this.#kept.keeper)
    this.#kept = undefined
  }
}

async function start(): Promise<Kept> {
  await loadDriver()
  const { file } = await findProgram()
  const directory = await mkdtemp(join(await realpath(tmpdir()), 'tidings-redis-')).catch((error) => {
    throw openingFailed(error, tmpdir())
  })
  const path = join(directory, 'redis.sock')
  const command = [file, ...argumentsFrom({ dir: directory, unixsocket: path, ...settings })]
  const child = spawn('/bin/sh', ['-c', keeper, directory, ...command], {
    cwd: '/',
    // Ctrl-C in a terminal must not end the server: the program may still need it.
    detached: true,
    env: cleanEnvironment(['PATH', 'TZ'], { LC_ALL: 'C' }),
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  try {
    await becomesReady(child, directory, path)
  } catch (error) {
    await end(child)
    throw error
  }
  return { keeper: child, path }
}

/** Waits until the server is ready. The server does not keep this process alive after that. */
async function becomesReady(child: ChildProcess, directory: string, path: string): Promise<void> {
  let output = ''
  const { stdin, stdout } = child
  stdout!.on('data', (chunk) => {
    output = `${output}${chunk}`.slice(-4000)
  })
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('close', () => {
      const words = { title: 'Redis', reason: lastWords(output) }
      reject(startFailed(output, { dataDirectory: directory, log: 'not kept' }, words))
    })
  })
  const ready = poll(
    () =>
      ping(path).then(
        () => true,
        () => false,
      ),
    patienceMs,
  )
  if (!(await Promise.race([ready, failed]))) {
    throw new TidingsError('TIMEOUT', `the server at ${path} takes no connections`, { details: { path } })
  }
  failed.catch(() => {})
  child.unref()
  for (const stream of [stdin, stdout] as unknown as Socket[]) stream.unref()
}

async function end(child: ChildProcess): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.ref()
  child.stdin!.end()
  await ended
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null
