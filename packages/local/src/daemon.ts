import { type ChildProcess, spawn } from 'node:child_process'
import { open, readFile, stat } from 'node:fs/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed } from './failures.ts'
import { poll, signal } from './processes.ts'
import type { RunAs } from './users.ts'

/** How long a server may take to start (it may have to recover from a crash) or to stop. */
export const patienceMs = 60_000

export interface Daemon {
  readonly file: string
  readonly arguments: readonly string[]
  readonly directory: string
  readonly env: NodeJS.ProcessEnv
  /** The server's output is appended to this file. */
  readonly log: string
  readonly runAs?: RunAs | undefined
}

/** How a start ended: the server is ready, it ended with this output, or neither after a minute. */
export type Start<T> = { readonly ready: T } | { readonly output: string } | { readonly slow: number | undefined }

/**
 * Starts a server that outlives this process, and waits until it is ready.
 * @param ready asks the server with this pid; undefined while it is not ready
 */
export async function startDaemon<T>(
  daemon: Daemon,
  ready: (pid: number | undefined) => Promise<T | undefined>,
): Promise<Start<T>> {
  const { log, runAs } = daemon
  const written = (await stat(log).catch(() => undefined))?.size ?? 0
  const output = await open(log, 'a', 0o600).catch((error) => {
    throw openingFailed(error, log)
  })
  let ended: string | undefined
  let child: ChildProcess
  try {
    child = spawn(daemon.file, daemon.arguments, {
      cwd: daemon.directory,
      detached: true,
      env: daemon.env,
      stdio: ['ignore', output.fd, output.fd],
      ...runAs,
    })
    child.once('error', (error) => {
      ended ??= error.message
    })
    child.once('exit', (code, name) => {
      ended ??= `ended with ${name ?? `code ${code}`}`
    })
    child.unref()
  } finally {
    await output.close()
  }
  const answer = await poll(async () => {
    if (ended !== undefined) return { output: '' }
    const found = await ready(child.pid)
    return found && { ready: found }
  }, patienceMs)
  if (answer === undefined) return { slow: child.pid }
  if ('ready' in answer) return answer
  return { output: `${ended}\n${(await readFile(log)).subarray(written)}` }
}

/**
 * Ends a server. Sends one signal after the other until the server is gone.
 * @param isThere whether the pid still belongs to the server
 * @throws TIMEOUT if the server outlives the last signal
 */
export async function endServer(
  pid: number,
  isThere: () => Promise<boolean>,
  signals: readonly NodeJS.Signals[],
): Promise<void> {
  for (const name of signals) {
    signal(pid, name)
    if (await poll(async () => !(await isThere()), patienceMs / 2)) return
  }
  throw new TidingsError('TIMEOUT', `the server with pid ${pid} does not end`, { details: { pid } })
}
