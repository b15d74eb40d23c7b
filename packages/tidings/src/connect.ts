import { Bus } from './bus/bus.ts'
import { TidingsError } from './core/errors.ts'
import { type Idle, idleOption } from './core/idle.ts'
import type { Logger } from './core/logger.ts'
import { checkQueueName } from './core/names.ts'
import * as option from './core/options.ts'
import { type PoolSettings, poolOption } from './core/pool.ts'
import { type TelemetrySettings, telemetryOption } from './core/telemetry-option.ts'
import { type TlsSettings, tlsOption } from './core/tls.ts'
import { checkUrl } from './core/url.ts'
import type { PostgresTarget } from './engines/postgres/driver.ts'
import type { RedisConnection } from './engines/redis/handed-in.ts'
import type { LocalRedis } from './engines/redis/target.ts'
import type { EventsMigrationOptions } from './events/migration.ts'
import { type QueueOptions, queueOptions } from './messages/options.ts'
import type { Engine } from './port/engine.ts'
import type { Migrations } from './port/migrations.ts'
import { Telemetry } from './port/telemetry.ts'

export const connectOptions = {
  token: option.text('For a server that wants one: a URL of http or https.', { default: null, check: checkToken }),
  tls: tlsOption,
  pool: poolOption,
  idle: idleOption,
  telemetry: telemetryOption,
  logger: option.value<Logger, Logger | null>('Takes what Tidings has to say: pino, winston, console.', {
    default: null,
    defaultText: 'silent',
    typeText: 'object with debug, info, warn and error',
    parse: parseLogger,
  }),
  queues: option.value<Readonly<Record<string, QueueOptions>>, ReadonlyMap<string, QueueOptions>>(
    'Options of queues by their names, for every `bus.queue(name)` that does not say otherwise.',
    { default: new Map(), defaultText: 'none', typeText: 'object with the options of queues', parse: parseQueues },
  ),
} as const
export type ConnectOptions = option.OptionsInput<typeof connectOptions>

/** A client of the application, instead of a URL. */
export interface ConnectSource {
  /**
   * A `Redis` or `Cluster` of ioredis 5.4 or newer. Tidings opens connections of its own by its options; the client stays
   * the application's, which closes it whenever it likes.
   */
  readonly redis: RedisConnection
}

/**
 * Opens a bus on a storage.
 * @param source `postgres://…`; `redis://…`, a server or a Cluster; `local:./directory` for the PostgreSQL that comes with
 *   the package, which is started if need be; `redis+local:./directory` for the Redis that is installed here, and
 *   `redis+local:` for one in memory that ends with the bus; `memory:` for tests; `https://…` for a server that `tidings serve` runs;
 *   `{ redis }` with a client of ioredis.
 *   Left out: `local:.tidings`. `undefined` is refused: a variable that is not set must not become a private database.
 * @throws URL_INVALID, CONNECTION_FAILED with host, port and cause, LOCAL_UNAVAILABLE; for a client TYPE, UNSUPPORTED,
 *   OPTION_CONFLICT, CLOSED; UNSUPPORTED for `telemetry` where @opentelemetry/api is missing
 * @example
 * await using bus = await connect(process.env.DATABASE_URL)
 */
export async function connect(
  ...given: [source?: string | ConnectSource | undefined, options?: ConnectOptions]
): Promise<Bus> {
  const [source = 'local:.tidings', options] = given
  if (given.length > 0 && given[0] === undefined) throw noSource()
  const { logger, queues, telemetry, ...access } = option.parseOptions(connectOptions, options, 'connect')
  const tracer = telemetry && (await loadTracer(telemetry))
  const engine = await createEngine(source, { ...access, ...(tracer ? { headers: () => tracer.carrier() } : {}) })
  await engine.open()
  // Who asks for one in memory knows that it keeps nothing.
  if (logger && engine.name === 'redis' && source !== 'redis+local:') await warn(engine, logger)
  const seam = new Telemetry(tracer)
  if (tracer) seam.observe(tracer.observer)
  return new Bus(engine, { queues, telemetry: seam, ...(logger ? { logger } : {}) })
}

async function loadTracer(settings: TelemetrySettings) {
  const { OpenTelemetry } = await import('./port/opentelemetry.ts')
  return OpenTelemetry.create(settings)
}

const noSource = () =>
  new TidingsError('URL_INVALID', 'connect(undefined): the URL is undefined, as a variable is that is not set', {
    details: { field: 'url' },
    hint: "Set the variable. For the local PostgreSQL call connect() without arguments, or connect('local:.tidings', options).",
  })

/** Whether a Redis keeps what it was given is for its settings to say: whoever uses it has to hear of that. */
async function warn(engine: Engine, logger: Logger): Promise<void> {
  for (const { level, check, message, remedy } of await engine.diagnose())
    if (level !== 'ok') logger[level === 'problem' ? 'error' : 'warn']({ check }, `${message}. ${remedy}`)
}

/**
 * The SQL that lets the queues of a PostgreSQL announce their messages, and the SQL that takes it away again.
 * @example const { up, down } = await eventsMigration({ queuePattern: 'orders%' })
 */
export async function eventsMigration(options?: EventsMigrationOptions): Promise<{ up: string; down: string }> {
  const postgres = await import('./engines/postgres/events-migration.ts')
  return postgres.eventsMigration(options)
}

/** The same behind migrations that were made before, whose texts are given in their order; null: nothing is to change. */
export async function eventsMigrationAfter(
  files: readonly string[],
  options?: EventsMigrationOptions,
): Promise<{ up: string; down: string; changes: readonly string[] } | null> {
  const postgres = await import('./engines/postgres/events-migration.ts')
  return postgres.eventsMigrationAfter(files, options)
}

/** The files by which a PostgreSQL offers the schema as its extension `pgmq`: what is in them, by their names. */
export async function extensionFiles(): Promise<Record<string, string>> {
  const postgres = await import('./engines/postgres/extension-files.ts')
  return postgres.extensionFiles()
}

/** What a storage may want to be reached. */
interface Access {
  readonly token: string | null
  readonly tls: TlsSettings | null
  readonly pool: PoolSettings | null
  readonly idle: Idle
  /** What requests bring along. */
  readonly headers?: () => Record<string, string>
}

/** The only place that names the engines. Each is loaded when it is asked for. */
async function createEngine(source: string | ConnectSource, access: Access): Promise<Engine> {
  if (typeof source === 'object') return engineOn(source, access)
  const kind = checkUrl(source)
  refuseAccess(access, kind, `the URL is one of ${kind}`)
  if (kind === 'http') {
    const { HttpEngine } = await import('./engines/http/http.ts')
    const { token, tls, headers } = access
    return new HttpEngine({ url: source, token, tls, ...(headers ? { headers } : {}) })
  }
  if (kind === 'memory') {
    const { MemoryEngine } = await import('./engines/memory/memory.ts')
    return new MemoryEngine()
  }
  if (kind === 'redis' || kind === 'redis+local') {
    const { RedisEngine } = await import('./engines/redis/redis.ts')
    const target = kind === 'redis' ? { url: source, tls: access.tls } : await localRedis(source)
    return new RedisEngine(target, { sleeps: access.idle === 'sleep' })
  }
  const { PostgresEngine } = await import('./engines/postgres/postgres.ts')
  return new PostgresEngine(await postgresTarget(source), {
    poolMax: access.pool?.max,
    sleeps: access.idle === 'sleep',
  })
}

async function engineOn(source: ConnectSource, access: Access): Promise<Engine> {
  if (Object.keys(source).join() !== 'redis') {
    const { message, details } = option.typeError(
      'url',
      source,
      'a string, or { redis: client } with a client of ioredis',
    )
    throw new TidingsError('TYPE', message, { details, hint: 'Options come second: connect(url, { logger }).' })
  }
  refuseAccess(access, 'client', 'a client has its own options')
  const { RedisEngine } = await import('./engines/redis/redis.ts')
  return new RedisEngine({ client: source.redis }, { sleeps: access.idle === 'sleep' })
}

/** With fewer connections new messages are found by polling. */
const leastToListen = 3

function refuseAccess({ token, tls, pool, idle }: Access, kind: string, why: string): void {
  if (token !== null && kind !== 'http')
    throw new TidingsError('OPTION_CONFLICT', `token is given, which is for http and https; ${why}`)
  if (tls !== null && kind !== 'redis' && kind !== 'http')
    throw new TidingsError('OPTION_CONFLICT', `tls is given, which is for rediss and https; ${why}`, {
      hint: 'PostgreSQL takes files in its URL: ?sslrootcert=<file>.',
    })
  const isPostgres = kind === 'postgres' || kind === 'local'
  if (pool !== null && !isPostgres)
    throw new TidingsError('OPTION_CONFLICT', `pool is given, which is for PostgreSQL; ${why}`)
  if (idle !== null && !isPostgres && !['redis', 'redis+local', 'client'].includes(kind))
    throw new TidingsError('OPTION_CONFLICT', `idle is given, which is for PostgreSQL and Redis; ${why}`)
  if (idle === 'sleep' && (pool?.max ?? leastToListen) < leastToListen)
    throw new TidingsError(
      'OPTION_CONFLICT',
      `idle is 'sleep', and pool.max ${pool?.max} leaves no connection to listen`,
      {
        hint: `Give pool.max at least ${leastToListen}.`,
      },
    )
}

/** The migrations of a storage, not opened yet; null for one that has no schema. @throws URL_INVALID */
export async function migrationsOf(url: string): Promise<Migrations | null> {
  if (!['postgres', 'local'].includes(checkUrl(url))) return null
  const { PostgresMigrations } = await import('./engines/postgres/migrate.ts')
  return new PostgresMigrations(await postgresTarget(url))
}

/** Statements on a PostgreSQL, one at a time. Its shape stands here, since that of the driver names the types of `pg`. */
export interface Statements {
  /** @param options repeatable: whether it does no harm to send it again when its answer was lost */
  query(
    text: string,
    values: readonly (string | null)[],
    options: { readonly repeatable: boolean },
  ): Promise<readonly Readonly<Record<string, unknown>>[]>
  close(): Promise<void>
}

/** Whatever is installed there. @throws URL_INVALID, CONNECTION_FAILED */
export async function openPostgres(url: string, connections?: number): Promise<Statements> {
  const { Driver } = await import('./engines/postgres/driver.ts')
  const driver = new Driver(await postgresTarget(url), connections)
  await driver.open()
  return driver
}

async function postgresTarget(url: string): Promise<PostgresTarget> {
  if (checkUrl(url) === 'postgres') return { url }
  const { ensureLocal } = await localServers()
  const directory = url.slice('local:'.length) || '.tidings'
  return { locate: () => ensureLocal(directory) }
}

async function localRedis(url: string): Promise<LocalRedis> {
  const directory = url.slice('redis+local:'.length)
  if (directory === '') {
    const { PrivateRedis } = await localServers()
    return new PrivateRedis()
  }
  const { ensureLocalRedis } = await localServers()
  return { locate: () => ensureLocalRedis(directory) }
}

/** What the package `tidings-local` offers. That package depends on this one, so its shape stands here. */
interface LocalServers {
  ensureLocal(directory: string): Promise<{ host: string; port: number; user: string; database: string }>
  ensureLocalRedis(directory: string): Promise<{ path: string }>
  readonly PrivateRedis: new () => LocalRedis
}

/** In a variable, so that bundlers leave the package where it is: it starts programs of its own. */
const localPackage = 'tidings-local'

async function localServers(): Promise<LocalServers> {
  try {
    return await import(/* @vite-ignore */ /* webpackIgnore: true */ /* turbopackIgnore: true */ localPackage)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes(`'${localPackage}'`)) throw error
    throw new TidingsError('LOCAL_UNAVAILABLE', `the package ${localPackage} is not installed`, {
      cause: error,
      hint: `Install it (npm install ${localPackage}), or name a storage: connect('postgres://…').`,
    })
  }
}

/** Never shown: what stands here may be a secret of another kind. */
function checkToken(value: string, path: string): void {
  if (/^[\x21-\x7e]{1,4096}$/.test(value)) return
  throw new TidingsError('TYPE', `${path} is empty, or has characters that no token has`, { details: { field: path } })
}

function parseQueues(value: unknown, path: string): ReadonlyMap<string, QueueOptions> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw option.typeError(path, value, 'an object with the options of queues')
  const queues = Object.entries(value)
  for (const [name, options] of queues) option.parseOptions(queueOptions, options, checkQueueName(name, path))
  return new Map(queues)
}

function parseLogger(value: unknown, path: string): Logger {
  const logger = value as Partial<Logger> | null
  const methods = ['debug', 'info', 'warn', 'error'] as const
  if (typeof logger !== 'object' || logger === null || methods.some((name) => typeof logger[name] !== 'function'))
    throw option.typeError(path, value, 'an object with debug, info, warn and error')
  return value as Logger
}
