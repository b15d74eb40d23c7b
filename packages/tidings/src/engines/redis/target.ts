import { readFile } from 'node:fs/promises'
import { show, TidingsError } from '../../core/errors.ts'
import { checkTls, parsePem, type TlsSettings } from '../../core/tls.ts'
import { percentEncode } from '../../core/url.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** The addresses of a Redis, and how to connect. */
export interface RedisTarget {
  /** Of a Cluster, any of its nodes. */
  readonly addresses: readonly [Address, ...Address[]]
  /** 'host:port', or the socket: for messages. */
  readonly where: string
  /** Whether the target is a Cluster. `ask`: the server knows. */
  readonly cluster: 'yes' | 'no' | 'ask'
  /** Options of ioredis for one of the servers. Called before every connection. */
  optionsFor(address: Address): Promise<object>
  /** From the address that the Cluster tells to one that this process can reach. */
  readonly translate?: (address: Address) => Address
  /** Whether the options may lead to a replica, which has to be asked for with every connection then. */
  readonly mayBeReplica?: boolean
  /** Called when the target is not needed any more. */
  release?(): Promise<void>
}

/** A server of this machine that is started if it does not run. */
export interface LocalRedis {
  /** Asked before every connection. */
  locate(): Promise<{ readonly path: string }>
  /** Called when the target is not needed any more. */
  release?(): Promise<void>
}

const defaultPort = 6379
const form = /^(rediss?|rediss?\+cluster|unix):\/\/(?:([^/]*)@)?([^/?]*)(\/[^?]*)?(?:\?(.*))?$/i
/** Parameters that name files, by what they hold. */
const files = { ca: 'cacert', cert: 'cert', key: 'key' } as const

/**
 * `redis://user:password@host:port/db`, `rediss://` for TLS, several hosts with commas between them for a Cluster,
 * `redis+cluster://` if it must be one; `unix:///path/to/socket?db=1`. `?family=6` takes IPv6. With TLS
 * `?cacert=…&cert=…&key=…` name files.
 * @throws URL_INVALID, without the password; OPTION_CONFLICT
 */
export function parseTarget(url: string, tls: TlsSettings | null = null): RedisTarget {
  const [, scheme, user, hosts, path = '', query] = form.exec(url) ?? []
  if (scheme === undefined) throw invalid('cannot be read')
  const kind = scheme.toLowerCase()
  const parameters = parametersOf(query, kind.startsWith('rediss'))
  const secure = tlsOf(kind, parameters, tls)
  const db = dbOf(parameters.get('db') ?? (kind === 'unix' ? '' : path.slice(1)))
  const common = { ...credentials(user), ...familyOf(parameters), db }
  const options = async (place: object) => ({ ...place, ...common, ...(secure ? { tls: await secure() } : {}) })
  if (kind === 'unix') {
    if (path.length < 2) throw invalid('names no socket: unix:///path/to/socket')
    return socketTarget(decode(path), (place) => options(place))
  }
  const [first = { host: 'localhost', port: defaultPort }, ...others] = (hosts ?? '').split(',').map(toAddress)
  const mustBeCluster = kind.endsWith('+cluster') || others.length > 0
  if (db !== 0 && mustBeCluster) throw invalid('names a database; a Cluster has only 0')
  const addresses = [first, ...others] as const
  return {
    addresses,
    where: describeAddresses(addresses),
    cluster: mustBeCluster ? 'yes' : db === 0 ? 'ask' : 'no',
    optionsFor: options,
  }
}

function toAddress(text: string): Address {
  const [, host, port] = /^(\[[0-9a-f:.]+\]|[^:[\]]*)(?::(\d+))?$/i.exec(text) ?? []
  if (host === undefined || Number(port) > 65_535) throw invalid('has a host that is none')
  return { host: host.replace(/^\[|\]$/g, '') || 'localhost', port: port === undefined ? defaultPort : Number(port) }
}

function credentials(user: string | undefined): { username?: string; password?: string } {
  if (user === undefined || user === '') return {}
  const [, name = '', password] = /^([^:]*)(?::(.*))?$/s.exec(user) ?? []
  return { ...(name ? { username: decode(name) } : {}), ...(password ? { password: decode(password) } : {}) }
}

function parametersOf(query: string | undefined, withTls: boolean): URLSearchParams {
  const parameters = new URLSearchParams(query)
  const known = ['db', 'family', ...(withTls ? Object.values(files) : [])]
  for (const name of parameters.keys()) {
    if (known.includes(name)) continue
    const isForTls = Object.values<string>(files).includes(name)
    const why = isForTls ? 'which is for rediss:// only' : `known: ${known.map((one) => `'${one}'`).join(', ')}`
    throw invalid(`has the parameter ${show(name)}; ${why}`)
  }
  return parameters
}

function dbOf(text: string): number {
  if (text !== '' && !/^\d{1,6}$/.test(text)) throw invalid('names a database that is no number')
  return Number(text)
}

/** IPv4 or IPv6, where the name of the host has addresses of both; 0 for either. */
function familyOf(parameters: URLSearchParams): { family?: number } {
  const family = parameters.get('family')
  if (family === null) return {}
  if (['0', '4', '6'].includes(family)) return { family: Number(family) }
  throw invalid(`has the family ${show(family)}; it is 0, 4 or 6`)
}

type Secure = () => Promise<Partial<TlsSettings>>

function tlsOf(scheme: string, parameters: URLSearchParams, tls: TlsSettings | null): Secure | undefined {
  if (!scheme.startsWith('rediss')) {
    if (tls === null) return undefined
    throw new TidingsError(
      'OPTION_CONFLICT',
      `tls is given, but the URL begins with ${scheme}://, which is without TLS`,
      {
        hint: 'Write rediss:// in the URL, or leave out tls.',
      },
    )
  }
  const named = Object.values(files).find((name) => parameters.has(name))
  if (named === undefined) return async () => tls ?? {}
  if (tls === null) return () => readFiles(parameters)
  throw new TidingsError('OPTION_CONFLICT', `tls is given, and the URL names a file as ${named}`)
}

/** Read for every connection: certificates are renewed while a process runs. */
async function readFiles(parameters: URLSearchParams): Promise<Partial<TlsSettings>> {
  const read = async ([field, name]: [string, string]) => {
    const file = parameters.get(name)
    if (file === null) return []
    try {
      return [[field, parsePem(await readFile(file), name)] as const]
    } catch (error) {
      const why = `names the file ${show(file)} as ${name}: ${(error as Error).message}`
      throw invalid(why, 'Name a PEM file that this process may read.')
    }
  }
  const { ca, ...others } = Object.fromEntries((await Promise.all(Object.entries(files).map(read))).flat())
  const settings = { ...(ca ? { ca: [ca] } : {}), ...others }
  checkTls(settings, 'the Redis URL')
  return settings
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('has a broken % in it')
  }
}

function invalid(why: string, hint = `Use 'redis://user:password@host:6379/0'. ${percentEncode}`): TidingsError {
  return new TidingsError('URL_INVALID', `the Redis URL ${why}`, { hint })
}

const nowhere: Address = { host: 'localhost', port: 0 }

function socketTarget(path: string, optionsFor: (place: { path: string }) => Promise<object>): RedisTarget {
  return { addresses: [nowhere], where: path, cluster: 'no', optionsFor: () => optionsFor({ path }) }
}

export function localTarget(local: LocalRedis): RedisTarget {
  let where = 'its socket'
  return {
    addresses: [nowhere],
    get where() {
      return where
    },
    cluster: 'no',
    async optionsFor() {
      const { path } = await local.locate()
      where = path
      return { path }
    },
    async release() {
      await local.release?.()
    },
  }
}

export const describeAddresses = (addresses: readonly Address[]) => addresses.map(describeAddress).join(', ')
export const describeAddress = ({ host, port }: Address) =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
