import { type AnyTransaction, parseTransaction, recognise } from '../adapters/recognise.ts'
import { TidingsError } from '../core/errors.ts'
import * as option from '../core/options.ts'
import { poolOption } from '../core/pool.ts'
import { checkUrl } from '../core/url.ts'
import type { Migrations } from '../port/migrations.ts'
import { PgmqMessages } from './messages.ts'
import { PgmqNotifications } from './notifications.ts'
import { PgmqQueues } from './queues.ts'
import { ofApplication, Session } from './session.ts'
import { PgmqTopics } from './topics.ts'

export const pgmqOptions = {
  skipExtensionCreation: option.boolean(
    'Do not look whether there is a schema `pgmq`, and do not install that of Tidings where there is none.',
    { default: false },
  ),
  pool: poolOption,
} as const
export type PgmqOptions = option.OptionsInput<typeof pgmqOptions>

export const serverOptions = {
  host: option.text('The server, or the directory of its socket.', { default: 'localhost' }),
  port: option.integer('Its port.', { default: 5432, min: 1, max: 65_535 }),
  database: option.required(option.text('The database.', { default: null })),
  user: option.required(option.text('The role.', { default: null })),
  password: option.text('Its password.', { default: '' }),
  ssl: option.boolean('TLS, with a certificate that is checked.', { default: true }),
  max: option.integer('How many connections at most.', { default: 10, min: 1, max: 1_000 }),
} as const
/** Where the server is, in the fields that pgmq-js takes. */
export type PgmqServer = option.OptionsInput<typeof serverOptions>
type Server = option.OptionsOutput<typeof serverOptions>

/** A URL, the fields of a server, or what the application has: a connection, a pool, a database of its library. */
export type PgmqSource = string | PgmqServer | AnyTransaction

const sources =
  'a URL of PostgreSQL, an object with host, database, user and password, or a pool, connection or transaction of pg, ' +
  'postgres.js, Drizzle, Kysely, Knex, TypeORM or Prisma'

/** PGMQ's functions, one method each, for what speaks PGMQ itself. Workers, retries and the like are in `connect()`. */
export class Pgmq {
  readonly queue: PgmqQueues
  readonly msg: PgmqMessages
  readonly topic: PgmqTopics
  readonly notify: PgmqNotifications
  readonly #session: Session

  private constructor(session: Session) {
    this.#session = session
    this.queue = new PgmqQueues(session)
    this.msg = new PgmqMessages(session)
    this.topic = new PgmqTopics(session)
    this.notify = new PgmqNotifications(session)
  }

  /**
   * Works on the functions of PGMQ that are there, those of Tidings or of the extension. Where there is no schema `pgmq`, that
   * of Tidings is installed; on a connection of the application nothing is.
   * @param source `postgres://…`, `local:./directory`, the fields of a server, or what the application has
   * @throws TYPE, URL_INVALID, CONNECTION_FAILED, SCHEMA_MISSING
   * @example
   * import { Pgmq } from 'tidings/pgmq'
   *
   * const pgmq = await Pgmq.new('postgres://app:secret@db.internal/shop')
   */
  static async new(source: PgmqSource, options?: PgmqOptions): Promise<Pgmq> {
    const { skipExtensionCreation, pool } = option.parseOptions(pgmqOptions, options, 'Pgmq.new')
    const recognised = recognise(source)
    if (recognised) {
      if (pool !== null)
        throw new TidingsError('OPTION_CONFLICT', `pool is given, and so is a connection of ${recognised.library}`)
      const pgmq = new Pgmq(new Session(ofApplication(recognised)))
      if (!skipExtensionCreation && !(await pgmq.#isInstalled())) throw missing()
      return pgmq
    }
    const { url, max } = addressOf(source)
    const { migrationsOf, openPostgres } = await import('../connect.ts')
    const pgmq = new Pgmq(new Session(await openPostgres(url, pool?.max ?? max)))
    if (skipExtensionCreation || (await pgmq.#isInstalled())) return pgmq
    await install(await migrationsOf(url))
    return pgmq
  }

  /**
   * The same functions in a transaction of the application, whatever this one was opened on.
   * @param tx an open transaction of pg, postgres.js, Drizzle, Kysely, Knex, TypeORM or Prisma
   * @throws TYPE
   * @example
   * async function order(tx: import('kysely').Transaction<unknown>) {
   *   await pgmq.within(tx).msg.send('orders', { total: 12 })
   * }
   */
  within(tx: AnyTransaction): Pgmq {
    const transaction = parseTransaction(tx, 'tx')
    return new Pgmq(new Session(ofApplication({ library: 'transaction', open: true, transaction })))
  }

  /**
   * Waits for what is under way. A connection of the application stays open.
   * @example await pgmq.close()
   */
  close(): Promise<void> {
    return this.#session.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #isInstalled(): Promise<boolean> {
    return this.#session.one<boolean>('isInstalled')
  }
}

async function install(migrations: Migrations | null): Promise<void> {
  await migrations?.open()
  try {
    await migrations?.apply({})
  } finally {
    await migrations?.close()
  }
}

const missing = () =>
  new TidingsError(
    'SCHEMA_MISSING',
    'there is no schema "pgmq", and on a connection of the application none is installed',
    {
      hint: 'Run `npx tidings migrate`, or CREATE EXTENSION pgmq.',
    },
  )

function addressOf(source: unknown): { url: string; max?: number } {
  if (typeof source === 'string') {
    const kind = checkUrl(source)
    if (kind === 'postgres' || kind === 'local') return { url: source }
    throw new TidingsError('URL_INVALID', `the URL is one of ${kind}; PGMQ is in PostgreSQL alone`, {
      details: { field: 'source' },
      hint: "Use 'postgres://user@host/database', or 'local:./directory' for the local one.",
    })
  }
  if (typeof source !== 'object' || source === null || Array.isArray(source))
    throw option.typeError('source', source, sources)
  const { max, ...server } = option.parseOptions(serverOptions, source, 'Pgmq.new')
  return { url: urlOf(server), max }
}

function urlOf({ host, port, database, user, password, ssl }: Omit<Server, 'max'>): string {
  const encode = encodeURIComponent
  const authority = `${encode(user)}:${encode(password)}@${host.includes(':') ? `[${host}]` : encode(host)}:${port}`
  return `postgres://${authority}/${encode(database)}?sslmode=${ssl ? 'verify-full' : 'disable'}`
}
