import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

/**
 * An environment with the named variables of this process only: the others may be secrets or PG* variables.
 * @param extra variables to add
 */
export function cleanEnvironment(
  names: readonly string[],
  extra: Readonly<Record<string, string>> = {},
): NodeJS.ProcessEnv {
  const kept = names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))
  return { ...Object.fromEntries(kept), ...extra }
}

/** The command line of a process, arguments joined by spaces; undefined if there is none (a zombie has none). */
export async function commandLine(pid: number): Promise<string | undefined> {
  if (!isAlive(pid)) return undefined
  const text =
    process.platform === 'linux'
      ? await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
      : await promisify(execFile)('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).then(
          ({ stdout }) => stdout,
          () => '',
        )
  return text.replaceAll('\0', ' ').trim() || undefined
}

/**
 * Whether the pid still belongs to the same program: the system reuses pids.
 * @param marks texts that must all be in its command line
 */
export async function isStill(pid: number, ...marks: string[]): Promise<boolean> {
  const command = await commandLine(pid)
  return command !== undefined && marks.every((mark) => command.includes(mark))
}

/** Processes with this working directory, as far as this process may see them. Linux only; elsewhere none are found. */
export async function processesIn(directory: string): Promise<{ pid: number; parent: number; command: string }[]> {
  const pids = await readdir('/proc').catch(() => [])
  const found = await Promise.all(
    pids.filter(Number).map(async (pid) => {
      const at = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
      if (at !== directory) return []
      const command = await commandLine(Number(pid))
      const parent = /^PPid:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''))?.[1]
      return command === undefined || parent === undefined
        ? []
        : [{ pid: Number(pid), parent: Number(parent), command }]
    }),
  )
  return found.flat()
}

/** Sends a signal; false if there is no such process. Throws EPERM if the process belongs to another user. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return false
    throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return hasCode(error, 'EPERM')
  }
}

/** Whether the error has one of these codes, of the system or of the server. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/**
 * Asks every `everyMs` milliseconds until the answer is neither undefined nor false.
 * @returns that answer, or undefined when `timeoutMs` have passed
 */
export async function poll<T>(
  ask: () => Promise<T | undefined | false>,
  timeoutMs: number,
  everyMs = 20,
): Promise<T | undefined> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() >= deadline) return undefined
    await sleep(everyMs)
  }
}
