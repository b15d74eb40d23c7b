import { rmSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readlink, realpath, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stopServer } from 'tidings-local/internal/postgres/cluster'
import { commandLine, signal } from 'tidings-local/internal/processes'

/** A new directory for a server, by whose name later runs see that this one has ended. All users may come in. */
export async function serverDirectory(label: string): Promise<string> {
  await removeLeftovers()
  const directory = await realpath(await mkdtemp(join(tmpdir(), `tidings-test-${process.pid}-${label}-`)))
  await chmod(directory, 0o755)
  return directory
}

export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
}

/**
 * Has something done when this process ends, however that comes about, unless it is killed.
 * @returns takes it back
 */
export function atExit(work: () => void): () => void {
  process.once('exit', work)
  return () => process.off('exit', work)
}

/** What test runs have left behind that were killed themselves. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const runner = /^tidings-test-(\d+)-/.exec(name)?.[1]
    if (runner === undefined || (await commandLine(Number(runner))) !== undefined) continue
    const directory = join(tmpdir(), name)
    // Those of another user are theirs to remove.
    await stopServer(join(directory, 'data'), 'immediate').catch(() => {})
    await endProcessesBelow(directory).catch(() => {})
    await rm(directory, { recursive: true, force: true, maxRetries: 5 }).catch(() => {})
  }
}

/** Servers work in the directory of their data. */
async function endProcessesBelow(directory: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter(Number)) {
    const at = await readlink(`/proc/${pid}/cwd`).catch(() => '')
    if (`${at}/`.startsWith(`${directory}/`)) signal(Number(pid), 'SIGKILL')
  }
}

/** Several servers start at the same time, each some moments after its port was found free. */
const given = new Set<number>()

/**
 * A port of 127.0.0.1 that nothing listens on at this moment; below those that systems give to outgoing connections, so
 * that none of them takes it before the server does.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    // Other processes of the run look for theirs among others.
    const port = 20_000 + 10 * Math.floor(Math.random() * 1_000) + (process.pid % 10)
    if (given.has(port)) continue
    given.add(port)
    if (await canListen(port)) return port
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
