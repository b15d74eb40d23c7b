import { show, TidingsError } from './errors.ts'
import { typeError } from './options.ts'

/** @returns the kind of the storage. @throws TYPE, URL_INVALID */
export function checkUrl(
  url: unknown,
  path = 'url',
): 'postgres' | 'redis' | 'local' | 'redis+local' | 'memory' | 'http' {
  if (typeof url !== 'string') throw typeError(path, url, 'a string')
  const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase()
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
      // Without what follows the scheme, which may hold a password.
      throw new TidingsError(
        'URL_INVALID',
        `the URL ${scheme ? `scheme ${show(scheme)}` : 'without a scheme'} is not known`,
        { details: { field: path } },
      )
  }
}
