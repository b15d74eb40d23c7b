import { show, TidingsError } from '../../errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** What the URL of a Redis says. */
export interface RedisTarget {
  /** More than one only of a Cluster. */
  readonly addresses: readonly [Address, ...Address[]]
  /** Of a socket; instead of the addresses. */
  readonly path?: string
  readonly username?: string
  readonly password?: string
  readonly db: number
  readonly tls: boolean
  /** Whether it must be a Cluster. Otherwise the server says whether it is one. */
  readonly cluster: boolean
}

/** A server of this machine that is started if it does not run. */
export interface LocalRedis {
  /** Asked before every connection. */
  locate(): Promise<{ readonly path: string }>
  /** Told when it is not needed any more. */
  release?(): Promise<void>
}

const defaultPort = 6379
const form = /^(rediss?|rediss?\+cluster|unix):\/\/(?:([^/]*)@)?([^/?]*)(\/[^?]*)?(?:\?(.*))?$/i

/**
 * `redis://user:password@host:port/db`, `rediss://` for TLS, several hosts with commas between them for a Cluster,
 * `redis+cluster://` if it must be one; `unix:///path/to/socket?db=1`.
 * @throws URL_INVALID, without the password
 */
export function parseTarget(url: string): RedisTarget {
  const [, scheme, user, hosts, path = '', query] = form.exec(url) ?? []
  if (scheme === undefined) throw invalid('cannot be read')
  const kind = scheme.toLowerCase()
  const common = {
    ...credentials(user),
    db: dbOf(kind === 'unix' ? '' : path.slice(1), query),
    tls: kind.startsWith('rediss'),
    cluster: kind.endsWith('+cluster'),
  }
  if (kind === 'unix') {
    if (path.length < 2) throw invalid('names no socket: unix:///path/to/socket')
    return { ...common, addresses: [{ host: 'localhost', port: 0 }], path: decode(path) }
  }
  const [first = { host: 'localhost', port: defaultPort }, ...others] = (hosts ?? '').split(',').map(toAddress)
  if (common.db !== 0 && (common.cluster || others.length > 0)) throw invalid('names a database; a Cluster has only 0')
  return { ...common, addresses: [first, ...others] }
}

function toAddress(text: string): Address {
  const [, host, port] = /^(\[[0-9a-f:.]+\]|[^:[\]]*)(?::(\d+))?$/i.exec(text) ?? []
  if (host === undefined || Number(port) > 65_535) throw invalid(`has the host ${show(text)}, which is none`)
  return { host: host.replace(/^\[|\]$/g, '') || 'localhost', port: port === undefined ? defaultPort : Number(port) }
}

function credentials(user: string | undefined): { username?: string; password?: string } {
  if (user === undefined || user === '') return {}
  const [, name = '', password] = /^([^:]*)(?::(.*))?$/s.exec(user) ?? []
  return { ...(name ? { username: decode(name) } : {}), ...(password ? { password: decode(password) } : {}) }
}

function dbOf(path: string, query: string | undefined): number {
  const parameters = new URLSearchParams(query)
  for (const name of parameters.keys())
    if (name !== 'db') throw invalid(`has the parameter ${show(name)}; only 'db' is known`)
  const text = parameters.get('db') ?? path
  if (text !== '' && !/^\d{1,6}$/.test(text)) throw invalid(`names the database ${show(text)}, which is no number`)
  return Number(text)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('has a broken % in it')
  }
}

function invalid(why: string): TidingsError {
  return new TidingsError('URL_INVALID', `the Redis URL ${why}`, { hint: "Use 'redis://user:password@host:6379/0'." })
}

export function socketTarget(path: string): RedisTarget {
  return { addresses: [{ host: 'localhost', port: 0 }], path, db: 0, tls: false, cluster: false }
}

/** 'host:port', or the socket: for messages. */
export const describeTarget = ({ addresses, path }: RedisTarget) => path ?? addresses.map(describeAddress).join(', ')
export const describeAddress = ({ host, port }: Address) =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
