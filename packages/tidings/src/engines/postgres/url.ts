import pg from 'pg'
import { show, TidingsError } from '../../core/errors.ts'
import { percentEncode } from '../../core/url.ts'

/** Each of these checks the certificate of the server and its name. */
const checked = ['allow', 'prefer', 'require', 'verify-ca', 'verify-full']
const modes = ['disable', 'no-verify', ...checked]
const files = ['sslrootcert', 'sslcert', 'sslkey']

/**
 * What `pg` takes of a URL. TLS means the same with every release of `pg`, which may take `sslmode=require` for TLS that
 * anybody can be in between of.
 * @throws URL_INVALID, without the password
 */
export function parseUrl<Common extends pg.ClientConfig>(url: string, common: Common): Common & pg.ClientConfig {
  const [address = '', query = ''] = url.split(/\?(.*)/s)
  const [, , authority = ''] = address.split('/')
  if (authority.slice(authority.lastIndexOf('@')).includes(','))
    throw invalid('names several hosts', 'Name one: the primary, or an address that always leads to it.')
  const parameters = new URLSearchParams(query)
  const connectionString = checkTls(parameters) ? `${address}?${parameters}` : url
  const config = { ...common, connectionString }
  try {
    const { host, port } = new pg.Client(config)
    return { ...config, host, port }
  } catch (error) {
    // The text of the cause may hold the URL with its password.
    const { code, path } = error as { code?: unknown; path?: unknown }
    const name = files.find((one) => parameters.get(one) === path)
    const why = code === undefined ? '' : ` (${String(code)})`
    if (name === undefined) throw invalid(`cannot be read${why}`, percentEncode)
    throw invalid(`names the file ${show(path)} as ${name}, which cannot be read${why}`, fileHint)
  }
}

const fileHint = 'Name a PEM file that this process may read. `sslrootcert=system` stands for the authorities of Node.'

/** @returns whether something was changed */
function checkTls(parameters: URLSearchParams): boolean {
  const mode = parameters.get('sslmode')
  if (mode !== null && !modes.includes(mode))
    throw invalid(`has the sslmode ${show(mode)}`, `It is one of ${modes.join(', ')}.`)
  const isSystem = parameters.get('sslrootcert') === 'system'
  const isChecked = mode !== null && checked.includes(mode) && parameters.get('uselibpqcompat') !== 'true'
  if (isSystem) parameters.delete('sslrootcert')
  if (isSystem || isChecked) parameters.set('sslmode', 'verify-full')
  return isSystem || isChecked
}

const invalid = (why: string, hint: string) => new TidingsError('URL_INVALID', `the PostgreSQL URL ${why}`, { hint })
