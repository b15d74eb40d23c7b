// A Redis or Valkey of a benchmark's own: the installed one, else that which the tests have unpacked below .cache/.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'

/**
 * Resolves when it has read its data.
 * @param program 'redis-server' or 'valkey-server'
 * @param settings names and values as in redis.conf
 */
export async function startRedis(program, directory, settings) {
  const { file, libraries } = find(program)
  const port = await freePort()
  const all = { port, bind: '127.0.0.1', dir: directory, save: '', ...settings }
  const log = join(directory, '..', `${program}-${port}.log`)
  const output = openSync(log, 'a')
  const child = spawn(
    file,
    Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]),
    { env: { ...process.env, LD_LIBRARY_PATH: libraries }, stdio: ['ignore', output, output] },
  )
  closeSync(output)
  const ended = once(child, 'exit')
  const stop = async (signal = 'SIGTERM') => {
    child.kill(signal)
    await ended
  }
  while (!(await answers(port))) {
    if (child.exitCode !== null) throw new Error(`${program} does not start\n${readFileSync(log, 'utf8')}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { url: `redis://127.0.0.1:${port}`, port, pid: child.pid, stop }
}

/** A Redis Cluster of three nodes without replicas, in a temporary directory. */
export async function startCluster() {
  const directory = mkdtempSync(join(tmpdir(), 'tidings-bench-'))
  const nodes = []
  for (let index = 0; index < 3; index++) {
    mkdirSync(join(directory, String(index)))
    const settings = {
      'cluster-enabled': 'yes',
      'cluster-port': await freePort(),
      appendonly: 'yes',
      appendfsync: 'always',
    }
    nodes.push({ ...(await startRedis('redis-server', join(directory, String(index)), settings)), settings })
  }
  const cluster = (node, ...args) => askRedis(node.port, (redis) => redis.call('CLUSTER', ...args))
  const share = (index) => Math.round((index * 16_384) / nodes.length)
  for (const [index, node] of nodes.entries()) {
    await cluster(node, 'ADDSLOTSRANGE', share(index), share(index + 1) - 1)
    await cluster(nodes[0], 'MEET', '127.0.0.1', node.port, node.settings['cluster-port'])
  }
  const isWhole = async (node) => /cluster_state:ok[\s\S]*cluster_known_nodes:3/.test(await cluster(node, 'INFO'))
  for (const node of nodes) while (!(await isWhole(node))) await new Promise((resolve) => setTimeout(resolve, 50))
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    async stop() {
      await Promise.all(nodes.map((node) => node.stop()))
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Cuts the append-only file where it cannot be read, without which the server does not start. */
export function repairAof(program, directory) {
  const { file, libraries } = find(program)
  const folder = join(directory, 'appendonlydir')
  const manifest = readdirSync(folder).find((name) => name.endsWith('.manifest'))
  const env = { ...process.env, LD_LIBRARY_PATH: libraries }
  const checker = file.replace(/-server$/, '-check-aof')
  // Fails if there is something wrong with another file of them.
  execFileSync(checker, ['--fix', join(folder, manifest)], { env, input: 'y\n', stdio: ['pipe', 'ignore', 'inherit'] })
}

/** For a question or two, without retries. */
export async function askRedis(port, ask) {
  const redis = new Redis(port, '127.0.0.1', { retryStrategy: null, lazyConnect: true, maxRetriesPerRequest: 0 })
  redis.on('error', () => {})
  try {
    await redis.connect()
    return await ask(redis)
  } finally {
    redis.disconnect()
  }
}

/** Refused while it is not up, LOADING while it reads its data. */
const answers = (port) =>
  askRedis(port, (redis) => redis.ping()).then(
    () => true,
    () => false,
  )

function find(program) {
  const found = locate(program)
  if (!found) throw new Error(`there is no ${program}: install it, or run the tests once, which unpack it`)
  return found
}

/** The installed one, or that which the tests have unpacked; undefined if there is none. */
export function locate(program) {
  for (const folder of (process.env.PATH ?? '').split(delimiter))
    if (existsSync(join(folder, program))) return { file: join(folder, program), libraries: '' }
  const cache = process.env.TIDINGS_TEST_CACHE || fileURLToPath(new URL('../.cache', import.meta.url))
  const packages = join(cache, 'debian', `${program}+${program.split('-')[0]}-tools`)
  const file = join(packages, 'usr/bin', program)
  if (!existsSync(file)) return undefined
  const folders = readdirSync(join(packages, 'usr/lib')).filter((name) => name.includes('-linux-'))
  return { file, libraries: folders.map((name) => join(packages, 'usr/lib', name)).join(delimiter) }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
