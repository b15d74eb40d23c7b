import { poll } from 'tidings-local/internal/processes'
import { freePort } from './directories.ts'
import { askRedis, startRedis, type TestRedis } from './redis.ts'

const slots = 16_384
const shards = 3
/** After how many milliseconds of silence a node counts as gone: while there is to be another primary soon… */
const hastyMs = 2_000
/** …and otherwise, so that one that is only held up keeps its slots, and with them what it has acknowledged. */
const patientMs = 15_000

/** A Redis Cluster on 127.0.0.1: three primaries with a third of the slots each, and a replica for each of them. */
export interface TestCluster {
  /** `redis+cluster://` with host and port of the first three nodes. */
  readonly url: string
  /** Primaries first, as they were at the start. */
  readonly nodes: readonly TestRedis[]
  /** The primary that has the slot of a key. */
  primaryOf(key: string): Promise<TestRedis>
  /**
   * Kills the primary that has the slot of a key.
   * @returns the node, which may be restarted; `ready` waits until its replica has taken over
   */
  killPrimaryOf(key: string): Promise<TestRedis>
  /**
   * Moves the slot of a key to another primary, key by key.
   * @param halfway called once half of the keys have been moved, while clients are sent from one node to the other
   */
  migrateSlotOf(key: string, halfway?: () => Promise<void>): Promise<void>
  /** Waits until all nodes that run agree on who has which slot, those run, and replicas follow them. */
  ready(): Promise<void>
  /** Ends it and removes its data; twice is fine. */
  stop(): Promise<void>
}

/** Starts six servers and makes them one; ready when it is returned, which takes two seconds. */
export async function startCluster(): Promise<TestCluster> {
  const nodes = await Promise.allSettled(Array.from({ length: 2 * shards }, startNode))
  const cluster = new Cluster(nodes.flatMap((node) => (node.status === 'fulfilled' ? [node.value] : [])))
  try {
    for (const node of nodes) if (node.status === 'rejected') throw node.reason
    await cluster.join()
    await cluster.ready()
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return cluster
}

async function startNode(): Promise<TestRedis> {
  return startRedis({
    'cluster-enabled': 'yes',
    'cluster-port': await freePort(),
    'cluster-node-timeout': hastyMs,
    // It would wait for more replicas.
    'repl-diskless-sync-delay': 0,
  })
}

/** A line of CLUSTER NODES. */
interface NodeView {
  readonly id: string
  readonly port: number
  readonly isPrimary: boolean
  readonly isDown: boolean
  /** The primary that it follows. */
  readonly follows: string
  readonly slots: number
}

class Cluster implements TestCluster {
  readonly nodes: readonly TestRedis[]
  readonly url: string

  constructor(nodes: readonly TestRedis[]) {
    this.nodes = nodes
    this.url = `redis+cluster://${nodes
      .slice(0, shards)
      .map(({ port }) => `127.0.0.1:${port}`)
      .join(',')}`
  }

  /** Slots, then acquaintance, then replicas. */
  async join(): Promise<void> {
    const [first, ...others] = this.nodes as [TestRedis, ...TestRedis[]]
    await Promise.all(
      this.nodes.map(async ({ port }, index) => {
        await cluster(port, 'SET-CONFIG-EPOCH', index + 1)
        if (index < shards) await cluster(port, 'ADDSLOTSRANGE', share(index), share(index + 1) - 1)
      }),
    )
    for (const { port } of others) {
      const bus = await askRedis(port, (redis) => redis.config('GET', 'cluster-port'))
      await cluster(first.port, 'MEET', '127.0.0.1', port, (bus as string[])[1]!)
    }
    await until('the nodes know each other', async () => {
      const views = await Promise.all(this.nodes.map(({ port }) => view(port)))
      return views.every((each) => each.length === this.nodes.length)
    })
    const ids = await Promise.all(this.nodes.map(({ port }) => cluster<string>(port, 'MYID')))
    await Promise.all(this.nodes.slice(shards).map(({ port }, index) => cluster(port, 'REPLICATE', ids[index]!)))
  }

  async ready(): Promise<void> {
    await untilWhole(() => this.#ports())
    await allowSilence(patientMs, await this.#ports())
  }

  async primaryOf(key: string): Promise<TestRedis> {
    const { owner } = await this.#slotOf(key)
    return owner
  }

  async killPrimaryOf(key: string): Promise<TestRedis> {
    const { owner } = await this.#slotOf(key)
    await allowSilence(hastyMs, await this.#ports())
    await owner.kill()
    return owner
  }

  async migrateSlotOf(key: string, halfway?: () => Promise<void>): Promise<void> {
    const { slot, owner: source, primaries } = await this.#slotOf(key)
    const target = primaries.find((node) => node !== source)!
    const [from, to] = await Promise.all([source, target].map(({ port }) => cluster<string>(port, 'MYID')))
    await cluster(target.port, 'SETSLOT', slot, 'IMPORTING', from!)
    await cluster(source.port, 'SETSLOT', slot, 'MIGRATING', to!)
    await moveKeys(source, target, slot, Math.ceil((await cluster<number>(source.port, 'COUNTKEYSINSLOT', slot)) / 2))
    await halfway?.()
    await moveKeys(source, target, slot)
    // The target first: if the source were, nobody would have the slot for a moment.
    for (const node of [target, ...primaries.filter((node) => node !== target)])
      await cluster(node.port, 'SETSLOT', slot, 'NODE', to!)
    await this.ready()
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }

  async #slotOf(key: string): Promise<{ slot: number; owner: TestRedis; primaries: readonly TestRedis[] }> {
    const [asked] = await this.#running()
    if (!asked) throw new Error('no node of the cluster runs')
    const slot = await cluster<number>(asked.port, 'KEYSLOT', key)
    const ranges = await cluster<[number, number, [string, number]][]>(asked.port, 'SLOTS')
    const nodeAt = (port: number) => this.nodes.find((node) => node.port === port)!
    const owner = nodeAt(ranges.find(([start, end]) => start <= slot && slot <= end)![2][1])
    return { slot, owner, primaries: [...new Set(ranges.map(([, , [, port]]) => nodeAt(port)))] }
  }

  async #ports(): Promise<number[]> {
    return (await this.#running()).map(({ port }) => port)
  }

  async #running(): Promise<TestRedis[]> {
    const found = await Promise.all(this.nodes.map(async (node) => ((await answers(node)) ? [node] : [])))
    return found.flat()
  }
}

const share = (index: number) => Math.round((index * slots) / shards)

function cluster<T = unknown>(port: number, ...args: (string | number)[]): Promise<T> {
  return askRedis(port, (redis) => redis.call('CLUSTER', ...args) as Promise<T>)
}

/** How long a node may say nothing before the others take it for gone. */
async function allowSilence(milliseconds: number, ports: readonly number[]): Promise<void> {
  for (const port of ports) await askRedis(port, (redis) => redis.config('SET', 'cluster-node-timeout', milliseconds))
}

const answers = ({ port }: TestRedis) =>
  askRedis(port, (redis) => redis.ping()).then(
    () => true,
    () => false,
  )

async function view(port: number): Promise<NodeView[]> {
  const lines = (await cluster<string>(port, 'NODES')).trim().split('\n')
  return lines.map((line) => {
    const [id = '', address = '', flags = '', follows = '', , , , , ...ranges] = line.split(' ')
    return {
      id,
      port: Number(/:(\d+)@/.exec(address)?.[1]),
      isPrimary: flags.split(',').includes('master'),
      isDown: /fail|handshake|noaddr/.test(flags),
      follows,
      // Slots on the move are in brackets.
      slots: ranges.filter((range) => !range.startsWith('[')).reduce((sum, range) => sum + length(range), 0),
    }
  })
}

function length(range: string): number {
  const [start, end = start] = range.split('-').map(Number) as [number, number?]
  return end - start + 1
}

async function untilWhole(running: () => Promise<number[]>): Promise<void> {
  await until('the cluster is whole', async () => {
    const ports = await running()
    const fine = await Promise.all(ports.map((port) => isWhole(port, ports)))
    return fine.every(Boolean)
  })
}

/** Whether a node sees all slots with nodes that run, and, if it is a replica, follows one of those. */
async function isWhole(port: number, running: readonly number[]): Promise<boolean> {
  const info = await cluster<string>(port, 'INFO')
  if (!info.includes('cluster_state:ok')) return false
  const nodes = await view(port)
  const owners = nodes.filter((node) => node.slots > 0)
  if (owners.reduce((sum, node) => sum + node.slots, 0) !== slots) return false
  if (!owners.every((node) => node.isPrimary && !node.isDown && running.includes(node.port))) return false
  if (!running.every((each) => nodes.some((node) => node.port === each && !node.isDown))) return false
  const me = nodes.find((node) => node.port === port)!
  if (me.isPrimary) return me.slots > 0
  const role = await askRedis(port, (redis) => redis.call('ROLE') as Promise<[string, string, number, string]>)
  return owners.some((node) => node.id === me.follows) && role[3] === 'connected'
}

async function moveKeys(source: TestRedis, target: TestRedis, slot: number, limit = Infinity): Promise<void> {
  for (let left = limit; left > 0; ) {
    const keys = await cluster<string[]>(source.port, 'GETKEYSINSLOT', slot, Math.min(left, 100))
    if (keys.length === 0) return
    left -= keys.length
    const where = ['127.0.0.1', target.port, '', 0, 10_000] as const
    await askRedis(source.port, (redis) => redis.call('MIGRATE', ...where, 'KEYS', ...keys))
  }
}

async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  let last: unknown
  const reached = await poll(
    () =>
      ask().catch((error: unknown) => {
        last = error
        return false
      }),
    60_000,
  )
  if (!reached) throw new Error(`after 60 seconds still not: ${what}`, { cause: last })
}
