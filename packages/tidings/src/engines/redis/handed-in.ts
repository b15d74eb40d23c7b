import { lookup } from 'node:dns'
import { promisify } from 'node:util'
import { show, TidingsError } from '../../core/errors.ts'
import { typeError } from '../../core/options.ts'
import { percentEncode } from '../../core/url.ts'
import { tooOld } from './client.ts'
import { type Address, describeAddresses, type RedisTarget } from './target.ts'

/** A `Redis` or `Cluster` of ioredis that is the application's. */
export interface RedisConnection {
  readonly status: string
  readonly isCluster: boolean
  readonly options: object
  duplicate(...args: never[]): unknown
}

/** The options of both that are read here. ioredis gets all of them. */
interface SharedOptions {
  readonly keyPrefix?: string | null
}

interface ServerOptions extends SharedOptions {
  readonly host?: string | null
  readonly port?: number | null
  readonly path?: string | null
  readonly db?: number | null
  readonly sentinels?: readonly Partial<Address>[] | null
  readonly name?: string | null
  readonly role?: string | null
  readonly Connector?: unknown
}

interface ClusterOptions extends SharedOptions {
  readonly redisOptions?: object | null
  readonly natMap?: NatMap | null
  readonly dnsLookup?: (host: string, found: (error: Error | null, address: string) => void) => void
  readonly useSRVRecords?: boolean
}

type NatMap = Readonly<Record<string, Address>> | ((address: string) => Address | null | undefined)

const anyhow = 'Make one, connect({ redis: new Redis(options) }), or pass a URL alone: connect(url).'
const ofNodeRedis = 'It looks like one of node-redis: pass its URL alone, connect(url).'

/**
 * Where a client is connected to, and how. Its options are read anew for every connection; the client itself is never
 * used and never closed.
 * @throws TYPE, CLOSED, UNSUPPORTED, OPTION_CONFLICT
 */
export function targetOfClient(given: unknown): RedisTarget {
  const client = checkClient(given)
  return client.isCluster ? clusterTarget(client) : serverTarget(client)
}

function checkClient(given: unknown): RedisConnection {
  const client = given as
    | (RedisConnection & { spublish?: unknown; call?: unknown; isOpen?: unknown })
    | null
    | undefined
  if (typeof client !== 'object' || client === null) throw notOurs(given)
  const looksLikeIoredis =
    [client.duplicate, client.call].every((one) => typeof one === 'function') &&
    typeof client.status === 'string' &&
    typeof client.options === 'object'
  if (!looksLikeIoredis) throw notOurs(given, 'isOpen' in client ? ofNodeRedis : anyhow)
  if (typeof client.isCluster !== 'boolean' || typeof client.spublish !== 'function')
    throw tooOld('the client is of an ioredis that')
  if (client.status === 'end')
    throw new TidingsError('CLOSED', 'the Redis client that was handed in is closed', {
      hint: 'Hand in one that is open, or not opened yet (lazyConnect).',
    })
  return client
}

function notOurs(given: unknown, hint = anyhow): TidingsError {
  const { message, details } = typeError('redis', given, 'a Redis or Cluster of ioredis 5.4 or newer')
  return new TidingsError('TYPE', message, { details, hint })
}

function serverTarget(client: RedisConnection): RedisTarget {
  const options = client.options as ServerOptions
  refusePrefix(options)
  if (options.role === 'slave' && options.sentinels)
    throw new TidingsError('UNSUPPORTED', "the Redis client asks its sentinels for a replica: role is 'slave'", {
      hint: 'Hand in one without the option role: Tidings writes.',
    })
  const address = { host: options.host ?? 'localhost', port: options.port ?? 6379 }
  const common = { addresses: [address], where: whereOf(options, address) } as const
  // What finds the server by itself, finds no other one.
  if (options.sentinels || options.Connector || options.path || options.db)
    return {
      ...common,
      cluster: 'no',
      optionsFor: async () => client.options,
      mayBeReplica: Boolean(options.sentinels),
    }
  return { ...common, cluster: 'ask', optionsFor: async (place) => ({ ...client.options, ...place }) }
}

function whereOf({ sentinels, name, path }: ServerOptions, address: Address): string {
  if (!sentinels) return path || describeAddresses([address])
  const all = sentinels.map(({ host = 'localhost', port = 26379 }) => ({ host, port }))
  return `the primary '${name}' of the sentinels ${describeAddresses(all)}`
}

function clusterTarget(client: RedisConnection): RedisTarget {
  const options = client.options as ClusterOptions
  refusePrefix(options)
  if (options.useSRVRecords)
    throw new TidingsError('UNSUPPORTED', 'the Redis client finds its Cluster by SRV records', {
      hint: 'Hand in a Cluster with host and port of some nodes.',
    })
  const nodes = startNodes(client)
  const startNode = ({ host, port }: Address) => nodes.find((node) => node.host === host && node.port === port)
  const [first, ...others] = nodes.map(({ host, port }) => ({ host, port }))
  if (!first) throw typeError('redis', client, 'a Cluster with at least one node')
  return {
    addresses: [first, ...others],
    where: describeAddresses([first, ...others]),
    cluster: 'yes',
    async optionsFor(place) {
      const { redisOptions, dnsLookup } = client.options as ClusterOptions
      const node = startNode(place)
      // By default ioredis looks up addresses itself, after which certificates have to bear them.
      const isOwn = node && dnsLookup && dnsLookup !== lookup
      const host = isOwn ? await promisify<string, string>(dnsLookup)(place.host) : place.host
      return { ...redisOptions, ...node, ...place, host, db: 0 }
    },
    translate: (place) => translate(place, options.natMap),
  }
}

function translate(place: Address, natMap: NatMap | null | undefined): Address {
  const name = `${place.host}:${place.port}`
  const mapped = typeof natMap === 'function' ? natMap(name) : natMap?.[name]
  return mapped ? { host: mapped.host, port: Number(mapped.port) } : place
}

/** As they were given to the constructor: numbers, texts or options of each. */
function startNodes(client: RedisConnection): (Address & object)[] {
  const { startupNodes = [] } = client as { startupNodes?: readonly unknown[] }
  return startupNodes.map((node) => {
    if (typeof node === 'number') return { host: '127.0.0.1', port: node }
    if (typeof node === 'string') return parseNode(node)
    const { db: _, ...options } = node as Partial<Address> & { db?: unknown }
    return { ...options, host: options.host ?? '127.0.0.1', port: Number(options.port ?? 6379) }
  })
}

function parseNode(text: string): Address & object {
  const url = text.includes('://') ? text : `redis://${text}`
  if (!URL.canParse(url))
    throw new TidingsError('URL_INVALID', 'the Redis client has a startup node whose URL cannot be read', {
      hint: percentEncode,
    })
  const { hostname, port, username, password } = new URL(url)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 6379),
    ...(username ? { username: decodeURIComponent(username) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
  }
}

function refusePrefix({ keyPrefix }: SharedOptions): void {
  if (!keyPrefix) return
  throw new TidingsError(
    'OPTION_CONFLICT',
    `the Redis client has keyPrefix ${show(keyPrefix)}; keys of Tidings have their own, {tidings`,
    {
      hint: "Hand in a client without it: of a Redis, client.duplicate({ keyPrefix: '', lazyConnect: true }).",
    },
  )
}
