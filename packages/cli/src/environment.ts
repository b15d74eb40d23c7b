import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { parseEnv } from 'node:util'
import { TidingsError } from 'tidings/internal/core/errors'
import { decodeText } from 'tidings/internal/core/json'

type Environment = Readonly<Record<string, string | undefined>>

/** The URL of the storage, and its source. */
export interface Target {
  readonly url: string
  readonly source: string
}

export const localByDefault: Target = { url: 'local:.tidings', source: 'the default' }

const urlVariables = ['TIDINGS_URL', 'PGMQ_DSN', 'DATABASE_URL', 'REDIS_URL'] as const
const pgVariables = ['PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER', 'PGPASSWORD'] as const

/** For the help of the program. */
export const whereTheUrlComesFrom = `The storage is, by the first of these that is given:
  --url
  ${urlVariables.join(', ')}   (each also as NAME_FILE, the path of a file with the value)
  PGHOST with PGDATABASE, and PGPORT, PGUSER, PGPASSWORD, PGSSLMODE
  url in the configuration file
  the PostgreSQL that comes with Tidings, with its data in ./.tidings

A URL is one of these:
  postgres://user:password@host:5432/database
  redis://user:password@host:6379/0, rediss://… with TLS; several nodes of a Cluster as redis://host:6379,host:6380
  rediss://…?cacert=<file> for an authority of your own, &cert=<file>&key=<file> for a server that demands certificates
  http://host:8080, https://host: a server that \`tidings serve\` runs
  local:./directory for the PostgreSQL that comes with Tidings, redis+local:./directory for a Redis of this machine

A server (http://… or https://…) gets the token in TIDINGS_TOKEN, or in the file that TIDINGS_TOKEN_FILE names.
A file .env in the working directory is read; what is set in the environment goes before it.

The configuration file is --config, or tidings.config.js, .mjs, .json or .toml in the working directory. A flag goes
before the environment, that before the file, and that before the default.`

/** Reads `.env` of the working directory, if there is one. Variables that are set already stay. */
export function loadEnvironment(): void {
  let bytes: Buffer
  try {
    bytes = readFileSync('.env')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    throw invalid(`the file .env cannot be read: ${message}`, { cause: error })
  }
  // process.loadEnvFile would take a byte order mark for a part of the first name.
  for (const [name, value] of Object.entries(parseEnv(decodeText(bytes, 'the file .env'))))
    if (value !== undefined) process.env[name] ??= value
}

/**
 * @param flag the value of `--url`
 * @param config the URL of the configuration file
 * @throws CONFIG_INVALID if a variable is empty or the PG* variables are incomplete: the user meant to set them
 */
export function targetOf(flag: string | undefined, env: Environment, config?: Target): Target {
  if (flag !== undefined) return { url: flag, source: '--url' }
  for (const name of urlVariables) {
    const found = secret(name, env)
    if (found) return { url: found.value, source: found.source }
  }
  return fromPgVariables(env) ?? config ?? localByDefault
}

/** The token for a server. @returns undefined for other storages. @throws CONFIG_INVALID */
export function tokenOf({ url }: Target, env: Environment): string | undefined {
  return /^https?:/i.test(url) ? secret('TIDINGS_TOKEN', env)?.value : undefined
}

function fromPgVariables(env: Environment): Target | undefined {
  const password = env.PGPASSWORD === '' ? undefined : secret('PGPASSWORD', env)?.value
  const set = pgVariables.filter((name) => env[name] || (name === 'PGPASSWORD' && password))
  if (set.length === 0) return undefined
  const { PGHOST: host, PGDATABASE: database, PGPORT: port, PGUSER: user, PGSSLMODE: sslmode } = env
  if (!host || !database) {
    const missing = [host ? [] : ['PGHOST'], database ? [] : ['PGDATABASE']].flat()
    throw invalid(`${set.join(', ')} ${set.length > 1 ? 'are' : 'is'} set, but not ${missing.join(' and ')}`, {
      hint: `Set ${missing.join(' and ')} too, or pass --url (local:.tidings is the PostgreSQL that comes with Tidings).`,
    })
  }
  const credentials = [user || userInfo().username, ...(password ? [password] : [])].map(encodeURIComponent).join(':')
  const name = host.includes(':') ? `[${host}]` : encodeURIComponent(host)
  const address = `${name}${port ? `:${port}` : ''}/${encodeURIComponent(database)}`
  const query = sslmode ? `?sslmode=${encodeURIComponent(sslmode)}` : ''
  return { url: `postgres://${credentials}@${address}${query}`, source: set.join(', ') }
}

/** A variable, or the content of the file that `<name>_FILE` names, as for secrets of containers. */
function secret(name: string, env: Environment): { value: string; source: string } | undefined {
  const path = env[`${name}_FILE`]
  if (env[name] !== undefined && path !== undefined) throw invalid(`${name} and ${name}_FILE are both set`)
  const source = path === undefined ? name : `${name}_FILE`
  const value = path === undefined ? env[name]?.trim() : readSecret(path, source)
  if (value === '') throw invalid(`${source} is set, but empty`, { hint: 'Give it a value, or unset it.' })
  return value === undefined ? undefined : { value, source }
}

function readSecret(path: string, source: string): string {
  try {
    return decodeText(readFileSync(path), 'it').trim()
  } catch (error) {
    throw invalid(`the file that ${source} names cannot be read: ${(error as Error).message}`, { cause: error })
  }
}

const invalid = (message: string, options: { hint?: string; cause?: unknown } = {}) =>
  new TidingsError('CONFIG_INVALID', message, options)

/** A URL for people: without its password. */
export function redact(url: string): string {
  return url.replace(/^([a-z+]+:\/\/[^:@/?#]*):.*@/i, '$1:***@').replace(/([?&]password=)[^&]*/gi, '$1***')
}
