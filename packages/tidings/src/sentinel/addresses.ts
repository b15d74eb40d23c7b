import { type LookupAddress, lookup } from 'node:dns'
import { BlockList, isIP, isIPv6, type LookupFunction } from 'node:net'
import { promisify } from 'node:util'
import { show, TidingsError } from '../core/errors.ts'

/** Networks that are not on the public internet: RFC 6890 and its successors. */
const special4 = subnets('ipv4', [
  '0.0.0.0/8', // this network
  '10.0.0.0/8',
  '100.64.0.0/10', // carrier-grade NAT
  '127.0.0.0/8',
  '169.254.0.0/16', // link-local, where clouds answer about themselves
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // relays to IPv6
  '192.168.0.0/16',
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
])
/** Everything else of IPv6 is private, local, multicast or an IPv4 address in disguise. */
const global6 = subnets('ipv6', ['2000::/3'])
const special6 = subnets('ipv6', [
  '2001::/23', // Teredo and other protocols
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4: holds an IPv4 address
  '3fff::/20', // documentation
])

function subnets(family: 'ipv4' | 'ipv6', list: readonly string[]): BlockList {
  const blocks = new BlockList()
  for (const [net, bits] of list.map((one) => one.split('/') as [string, string]))
    blocks.addSubnet(net, Number(bits), family)
  return blocks
}

/** Whether an IP address belongs to the public internet. */
export function isPublic(address: string): boolean {
  if (!isIPv6(address)) return isIP(address) === 4 && !special4.check(address, 'ipv4')
  // An address with a zone is link-local.
  if (address.includes('%')) return false
  return global6.check(address, 'ipv6') && !special6.check(address, 'ipv6')
}

/**
 * Checks a URL as far as possible without looking up its host.
 * @throws URL_NOT_ALLOWED
 */
export function checkUrlAllowed(text: string, allowPrivate: boolean, path: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  // It may hold a token, so it is not shown.
  if (url === null) throw notAllowed(`${path} is not a URL`, 'Write it as https://host/path.')
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw notAllowed(`${path} is a ${show(url.protocol)} URL; only http: and https: are called`)
  if (url.username !== '' || url.password !== '')
    throw notAllowed(`${path} has a user name or a password in it`, 'Sign with a secret instead.')
  const address = url.hostname.replace(/^\[(.*)\]$/, '$1')
  if (isIP(address) !== 0 && !allowPrivate && !isPublic(address)) throw privateAddress(path, address)
  return url
}

export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

const lookUp = promisify(lookup)
const resolveAll: Resolve = (host) => lookUp(host, { all: true })

/**
 * A lookup for a socket that refuses a host with any private address. The socket connects to the checked address, so a
 * name server cannot answer differently a second time.
 */
export function guardedLookup(allowPrivate: boolean, resolve: Resolve = resolveAll): LookupFunction {
  return (host, options, callback) => {
    const answer = (addresses: readonly LookupAddress[]) => {
      const bad = allowPrivate ? undefined : addresses.find(({ address }) => !isPublic(address))
      const [first] = addresses
      if (bad) return callback(privateAddress(`the host ${show(host)}`, bad.address), [])
      if (first === undefined) return callback(new Error(`the host ${show(host)} has no address`), [])
      if (options.all) return callback(null, [...addresses])
      return callback(null, first.address, first.family)
    }
    resolve(host).then(answer, (error: NodeJS.ErrnoException) => callback(error, []))
  }
}

const privateAddress = (what: string, address: string) =>
  notAllowed(`${what} has the private address ${address}`, 'Set allowPrivate if it is a server of yours.')

export const notAllowed = (message: string, hint?: string) =>
  new TidingsError('URL_NOT_ALLOWED', message, hint === undefined ? {} : { hint })
