import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { RedisEngine } from 'tidings/internal/engines/redis/redis'
import { slotOf } from 'tidings/internal/engines/redis/slots'
import { askRedis } from '../support/redis.ts'

export { claimAll, message, newName, peekAll } from '../support/engine.ts'

export async function openEngine(url: string, settings: { intentMs?: number } = {}): Promise<RedisEngine> {
  const engine = new RedisEngine(url, settings)
  await engine.open()
  return engine
}

export const portOf = (url: string) => Number(/:(\d+)/.exec(url)![1])

/** Repeats until the condition holds; fails after 15 s. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = Date.now() + 15_000
  while (!(await condition())) {
    if (Date.now() > giveUpAt) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

type Ranges = [start: number, end: number, primary: [host: string, port: number]][]

/** The ports of all servers that have keys. */
export async function primariesOf(url: string): Promise<number[]> {
  const ranges = await askRedis(portOf(url), (redis) => redis.call('CLUSTER', 'SLOTS').catch(() => []))
  const ports = (ranges as Ranges).map(([, , [, port]]) => port)
  return ports.length === 0 ? [portOf(url)] : [...new Set(ports)]
}

/** The port of the server that has the key. */
export async function portWith(url: string, key: string): Promise<number> {
  const ranges = await askRedis(portOf(url), (redis) => redis.call('CLUSTER', 'SLOTS').catch(() => []))
  const slot = slotOf(key)
  return (ranges as Ranges).find(([start, end]) => start <= slot && slot <= end)?.[2][1] ?? portOf(url)
}

/** All keys of a server that have the text in them. */
export const keysWith = (port: number, text: string): Promise<string[]> =>
  askRedis(port, (redis) => redis.keys(`*${text}*`))

/** Holds up writes on a server while `work` runs. */
export async function whilePaused(port: number, work: () => Promise<void>): Promise<void> {
  await askRedis(port, (redis) => redis.call('CLIENT', 'PAUSE', 20_000, 'WRITE'))
  try {
    await work()
  } finally {
    await askRedis(port, (redis) => redis.call('CLIENT', 'UNPAUSE'))
  }
}

/** How many calls the server holds up. */
export const heldUp = (port: number): Promise<number> =>
  askRedis(port, async (redis) => Number(/blocked_clients:(\d+)/.exec(await redis.info('clients'))?.[1]))

/** Breaks all connections of engines. */
export async function killConnections(port: number, filter: (line: string) => boolean = () => true): Promise<void> {
  await askRedis(port, async (redis) => {
    const list = (await redis.call('CLIENT', 'LIST')) as string
    for (const line of list.split('\n'))
      if (line.includes(' name=tidings ') && filter(line))
        await redis.call('CLIENT', 'KILL', 'ID', /^id=(\d+)/.exec(line)![1]!)
  })
}

export const isListening = (line: string) => !/ ssub=0 /.test(line)

/** A process that does one thing with an engine, as `crash.mjs` says. */
export function startProcess(...args: string[]): ChildProcess {
  const file = fileURLToPath(new URL('crash.mjs', import.meta.url))
  return spawn(process.execPath, [file, ...args], { stdio: 'inherit' })
}

export async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
