import { execFile, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import {
  type EnsureLocalOptions,
  ensureLocal,
  type LocalPostgres,
  localStatus,
  stopLocal,
} from 'tidings-local/internal/local'
import { findPaths } from 'tidings-local/internal/paths'
import { poll } from 'tidings-local/internal/processes'
import { afterEach } from 'vitest'
import { type RedisProgram, redisProgram } from '../support/redis.ts'

export const isRoot = process.getuid?.() === 0

/** An ordinary user that exists everywhere, as far as this process can become one. */
export const ordinaryUser = isRoot ? { uid: 65534, gid: 65534 } : {}

const made: string[] = []

/** A directory for one test, open to all users; what runs in its `.tidings` is stopped afterwards. */
export function temporaryDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'tidings-local-')))
  chmodSync(directory, 0o777)
  made.push(directory)
  return directory
}

/** Where a test keeps its local PostgreSQL. */
export function newDirectory(): string {
  return join(temporaryDirectory(), '.tidings')
}

afterEach(async () => {
  for (const directory of made.splice(0)) {
    // These paths are the same for every type of server.
    const paths = await findPaths(join(directory, '.tidings'), 'postgres')
    if (paths) {
      await stopLocal(paths.directory)
      await rm(paths.home, { recursive: true, force: true, maxRetries: 5 })
    }
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  }
})

/** As `ensureLocal`, but what a broken test leaves behind ends after a minute. */
export function ensure(directory: string, options: EnsureLocalOptions = {}): Promise<LocalPostgres> {
  return ensureLocal(directory, { idleAfterMs: 60_000, ...options })
}

/** @returns a PATH in which a server is installed, or looks like it */
export async function installRedis(program: RedisProgram = 'redis-server'): Promise<string> {
  const { file, env } = await redisProgram(program)
  const folder = join(tmpdir(), `tidings-test-${process.pid}-${program}`)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  writeFileSync(join(folder, program), `#!/bin/sh\nLD_LIBRARY_PATH=${env.LD_LIBRARY_PATH ?? ''} exec ${file} "$@"\n`)
  chmodSync(join(folder, program), 0o755)
  return `${folder}:${process.env.PATH}`
}

/** What a program in another process prints, as JSON. It finds the functions of the local PostgreSQL in `local`. */
export async function inAnotherProcess<T>(
  program: string,
  options: { uid?: number; gid?: number; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<T> {
  const compiled = new URL('../../packages/local/dist/local.js', import.meta.url)
  const source = `const local = await import('${compiled}'); console.log(JSON.stringify(await (async () => { ${program} })()))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', source], options)
  return JSON.parse(stdout) as T
}

export async function query(server: LocalPostgres, text: string): Promise<Record<string, unknown>[]> {
  const client = await connectTo(server)
  try {
    return (await client.query(text)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}

export async function connectTo({ host, port, user, database }: LocalPostgres): Promise<pg.Client> {
  const client = new pg.Client({ host, port, user, database })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Waits until the answer is there and right; fails with what it last was. */
export async function until<T>(ask: () => Promise<T>, isRight: (answer: T) => boolean, timeoutMs = 45_000): Promise<T> {
  let last: T | undefined
  const answer = await poll(async () => {
    last = await ask()
    return isRight(last) ? { last } : undefined
  }, timeoutMs)
  if (!answer) throw new Error(`after ${timeoutMs} ms still ${JSON.stringify(last)}`)
  return answer.last
}

/** The pids of all sentinels and servers (not their backends) of a directory, found without their help. */
export function processesOf(directory: string): { sentinels: number[]; servers: number[] } {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const commands = pids.map((pid) => ({ pid: Number(pid), arguments: textOf(pid, 'cmdline').split('\0') }))
  const sentinels = commands.filter((it) => it.arguments[1]?.includes('sentinel-main') && it.arguments[2] === directory)
  const servers = commands
    .filter((it) => ['-D', '--dir'].includes(it.arguments[1]!) && `${it.arguments[2]}/`.startsWith(`${directory}/`))
    .map((it) => it.pid)
  return {
    sentinels: sentinels.map((it) => it.pid),
    // A backend is called like its server until it has given itself a name.
    servers: servers.filter((pid) => !servers.includes(parentOf(pid))),
  }
}

const parentOf = (pid: number) => Number(/^PPid:\s*(\d+)/m.exec(textOf(String(pid), 'status'))?.[1])

function textOf(pid: string, file: 'cmdline' | 'status'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}

/** Waits until one sentinel runs, which is in charge: several may have been started, and all but one end. */
export async function oneSentinel(directory: string): Promise<{ sentinel: number; servers: number[] }> {
  const { sentinels, servers } = await until(
    async () => ({ ...processesOf(directory), inCharge: (await localStatus(directory)).sentinelPid }),
    (found) => found.inCharge !== null && String(found.sentinels) === String(found.inCharge),
  )
  return { sentinel: sentinels[0]!, servers }
}

/** A client of a server that stops when it is idle, which may be before one has connected to it. */
export function connected<Server, Client>(
  start: () => Promise<Server>,
  connect: (server: Server) => Promise<Client>,
): Promise<{ server: Server; client: Client }> {
  const found = async () => {
    const server = await start()
    return { server, client: await connect(server).catch(() => undefined) }
  }
  return until(found, ({ client }) => client !== undefined) as Promise<{ server: Server; client: Client }>
}

/** Starts a process that does nothing, as the user of the servers, so that it could be taken for one by its pid. */
export function bystander(): { pid: number; end: () => void } {
  const child = spawn('sleep', ['600'], { stdio: 'ignore', ...ordinaryUser })
  return { pid: child.pid!, end: () => child.kill('SIGKILL') }
}

/** The pids of the sentinel and the server, which must both run. */
export async function pidsOf(directory: string): Promise<{ sentinel: number; server: number }> {
  const { sentinelPid, pid } = await localStatus(directory)
  if (sentinelPid === null || pid === null) throw new Error(`sentinel ${sentinelPid}, server ${pid}`)
  return { sentinel: sentinelPid, server: pid }
}
