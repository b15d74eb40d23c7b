import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { poll } from 'tidings-local/internal/processes'
import { atExit, freePort, removeDirectory, serverDirectory } from './directories.ts'
import { askRedis, redisProgram, startRedis, type TestRedis } from './redis.ts'

/** A primary, its replica, and a sentinel of Redis that lets the replica take over two seconds after the primary is gone. */
export interface TestSentinel {
  /** Of the sentinel itself. */
  readonly port: number
  /** By which the sentinel knows the primary. */
  readonly name: string
  /** The first is the primary at the start. */
  readonly servers: readonly [TestRedis, TestRedis]
  /** Waits until the replica has all that the primary has now. */
  replicated(): Promise<void>
  /** The port of the server that the sentinel calls primary. */
  primary(): Promise<number>
  /** Ends all and removes the data. */
  stop(): Promise<void>
}

/** Ready when it is returned: the replica follows, and the sentinel knows it. */
export async function startSentinel(): Promise<TestSentinel> {
  const settings = { 'repl-diskless-sync-delay': 0 }
  const first = await startRedis(settings)
  const second = await startRedis({ ...settings, replicaof: `127.0.0.1 ${first.port}` })
  const { file, env } = await redisProgram('redis-server')
  const directory = await serverDirectory('sentinel')
  const config = join(directory, 'sentinel.conf')
  const port = await freePort()
  const name = 'orders'
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${directory}`,
    `logfile ${join(directory, 'log')}`,
    `sentinel monitor ${name} 127.0.0.1 ${first.port} 1`,
    `sentinel down-after-milliseconds ${name} 2000`,
    `sentinel failover-timeout ${name} 5000`,
  ]
  await writeFile(config, lines.join('\n'))
  const child = spawn(file, [config, '--sentinel'], { cwd: directory, env, stdio: 'ignore' })
  const forget = atExit(() => {
    child.kill('SIGKILL')
    removeDirectory(directory)
  })
  const sentinel: TestSentinel = {
    port,
    name,
    servers: [first, second],
    async replicated() {
      const offset = ({ port }: TestRedis) =>
        askRedis(port, async (redis) =>
          Number(/(?:master|slave)_repl_offset:(\d+)/.exec(await redis.info('replication'))?.[1]),
        )
      const wanted = await offset(first)
      await until('the replica has everything', async () => (await offset(second)) >= wanted)
    },
    async primary() {
      const answer = await askRedis(port, (redis) => redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name))
      return Number((answer as string[])[1])
    },
    async stop() {
      forget()
      await kill(child)
      await Promise.all([first.stop(), second.stop()])
      removeDirectory(directory)
    },
  }
  try {
    await until('the sentinel knows the replica', async () => {
      const replicas = await askRedis(port, (redis) => redis.call('SENTINEL', 'REPLICAS', name))
      const [replica = []] = replicas as string[][]
      const field = (wanted: string) => replica[replica.indexOf(wanted) + 1]
      return field('flags') === 'slave' && field('master-link-status') === 'ok'
    })
    return sentinel
  } catch (error) {
    await sentinel.stop()
    throw error
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  if (!(await poll(() => isSo().catch(() => false), 30_000))) throw new Error(`after 30 seconds still not: ${what}`)
}
