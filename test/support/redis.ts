import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { poll } from 'tidings-local/internal/processes'
import { unpackDebian } from './debian.ts'
import { atExit, freePort, removeDirectory, serverDirectory } from './directories.ts'

export type RedisProgram = 'redis-server' | 'valkey-server'

/** A Redis or Valkey of a test's own, on 127.0.0.1, without a password. */
export interface TestRedis {
  readonly url: string
  readonly port: number
  /** Ends it and removes its data; twice is fine. */
  stop(): Promise<void>
  /** Kills it, by default as a crash would, and waits for its end. The data stay. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same port and data, after ending it if it runs; waits until it has loaded them. */
  restart(): Promise<void>
}

/** Names and values as in redis.conf. */
export type RedisSettings = Readonly<Record<string, string | number>>

/** What is acknowledged is on disk, which is what an engine may promise to its users. */
const durable: RedisSettings = { appendonly: 'yes', appendfsync: 'always', save: '' }

/**
 * Starts a server in a temporary directory; a missing one is an error, never a skip.
 * @param settings further settings; default: `appendonly yes`, `appendfsync always`, no snapshots
 */
export function startRedis(settings?: RedisSettings): Promise<TestRedis> {
  return startServer('redis-server', settings)
}

/** The same with Valkey. */
export function startValkey(settings?: RedisSettings): Promise<TestRedis> {
  return startServer('valkey-server', settings)
}

async function startServer(program: RedisProgram, settings: RedisSettings = {}): Promise<TestRedis> {
  const { file, env } = await redisProgram(program)
  const directory = await serverDirectory(program)
  const port = await freePort()
  const all = { port, bind: '127.0.0.1', dir: directory, 'set-proc-title': 'no', ...durable, ...settings }
  const options = Object.entries(all).flatMap(([name, value]) => [`--${name}`, String(value)])
  const log = join(directory, 'log')
  let child: ChildProcess | undefined

  const start = async () => {
    const output = await open(log, 'a')
    child = spawn(file, options, { cwd: directory, env, stdio: ['ignore', output.fd, output.fd] })
    child.on('error', () => {})
    await output.close()
    await isReady(port, child).catch(async (error: unknown) => {
      throw new Error(`${program} for the tests does not start\n${await readFile(log, 'utf8')}`, { cause: error })
    })
  }
  const forget = atExit(() => {
    child?.kill('SIGKILL')
    removeDirectory(directory)
  })
  const server = {
    url: `redis://127.0.0.1:${port}`,
    port,
    async stop() {
      forget()
      await server.kill()
      removeDirectory(directory)
    },
    async kill(signal: NodeJS.Signals = 'SIGKILL') {
      if (!child || hasEnded(child)) return
      const ended = once(child, 'exit')
      child.kill(signal)
      await ended
    },
    async restart() {
      await server.kill('SIGTERM')
      await start()
    },
  }
  try {
    await start()
  } catch (error) {
    await server.stop()
    throw error
  }
  return server
}

/** A connection for a question or two; closes it afterwards. */
export async function askRedis<T>(port: number, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: null, lazyConnect: true, maxRetriesPerRequest: 0 })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await ask(redis)
  } finally {
    redis.disconnect()
  }
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

async function isReady(port: number, child: ChildProcess): Promise<void> {
  let last: unknown
  const pong = await poll(async () => {
    if (hasEnded(child) || child.pid === undefined)
      throw new Error(`it ended with ${child.signalCode ?? child.exitCode}`)
    // Refused while it is not up, LOADING while it reads its data.
    return askRedis(port, (redis) => redis.ping()).catch((error: unknown) => {
      last = error
      return undefined
    })
  }, 60_000)
  if (pong === undefined) throw last
}

/** Where a program of the Debian package is, and the environment that it needs; never the one that the machine may have. */
export async function redisProgram(program: RedisProgram): Promise<{ file: string; env: NodeJS.ProcessEnv }> {
  const { PATH = '' } = process.env
  // The program itself is in the package of the tools.
  const tools = program.replace('server', 'tools')
  const { root, libraryPath } = await unpackDebian([program, tools], `usr/bin/${program}`)
  return { file: join(root, 'usr/bin', program), env: { PATH, LD_LIBRARY_PATH: libraryPath } }
}
