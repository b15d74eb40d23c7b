import { show, TidingsError } from './errors.ts'
import { typeError } from './options.ts'

/** The hint for unreadable URLs: the cause is mostly the password. */
export const percentEncode =
  "In user and password write '/', '?', '#', '@' and '%' as %2F, %3F, %23, %40 and %25: encodeURIComponent(password)."

/** @returns the type of the storage. @throws TYPE, URL_INVALID; the message omits everything behind the scheme: it may be secret */
export function checkUrl(
  url: unknown,
  path = 'url',
): 'postgres' | 'redis' | 'local' | 'redis+local' | 'memory' | 'http' {
  if (typeof url !== 'string') throw typeError(path, url, 'a string')
  const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase()
  if (hasBrokenAuthority(url))
    throw new TidingsError('URL_INVALID', `the ${scheme} URL has an '@' behind its first '/', '?' or '#'`, {
      details: { field: path },
      hint: percentEncode,
    })
  switch (scheme) {
    case 'postgres':
    case 'postgresql':
      return 'postgres'
    case 'redis':
    case 'rediss':
    case 'redis+cluster':
    case 'rediss+cluster':
    case 'unix':
      return 'redis'
    case 'http':
    case 'https':
      return 'http'
    case 'local':
    case 'redis+local':
    case 'memory':
      return scheme
    default:
      throw new TidingsError(
        'URL_INVALID',
        `the URL ${scheme ? `scheme ${show(scheme)}` : 'without a scheme'} is not known`,
        { details: { field: path } },
      )
  }
}

/** Whether the host would be taken from the middle of a password. */
function hasBrokenAuthority(url: string): boolean {
  const start = url.indexOf('://') + 3
  const end = start < 3 ? -1 : url.slice(start).search(/[/?#]/)
  return end >= 0 && url.includes('@', start + end)
}
