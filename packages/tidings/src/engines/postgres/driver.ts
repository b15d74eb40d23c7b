import pg from 'pg'
import { sleep, systemClock } from '../../core/clock.ts'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
import { Recent } from '../../core/recent.ts'
import type { Transaction } from '../../port/engine.ts'
import { inTurn } from '../../port/in-turn.ts'
import { OpenCalls } from '../../port/open-calls.ts'
import { type Connection, Connections, connectTimeoutMs, type Session, type Use } from './connections.ts'
import { describeTarget, toTidingsError } from './errors.ts'
import { Overdue } from './overdue.ts'
import { statements } from './sql.gen.ts'
import { failureOf, isOfServer } from './sqlstates.ts'
import { ownTypes } from './types.ts'
import { parseUrl } from './url.ts'

/** Where the server is: a URL, or a function that finds (and, for the local one, starts) it. */
export type PostgresTarget =
  | { readonly url: string }
  | { readonly locate: () => Promise<{ host: string; port: number; user: string; database: string }> }

export interface QueryOptions {
  /** Whether repeating the statement after a lost connection does no harm. */
  readonly repeatable: boolean
  /** Called before it is repeated where it may have been carried out. If this fails, it is not repeated. */
  readonly undo?: () => Promise<void>
}

export type Row = Readonly<Record<string, unknown>>

/** For how long a call that may be repeated is repeated, after it failed for the first time. */
const patienceMs = 5_000
const firstPauseMs = 50
const longestPauseMs = 500
const rollbackMs = 5_000
/** The values of a statement from which on it pays that the server keeps its memory. */
const largeBytes = 8_192

/** Statements and transactions on PostgreSQL. */
export class Driver {
  /** How many connections there may be, for everything. */
  readonly poolMax: number
  readonly #target: PostgresTarget
  #config: pg.ClientConfig | undefined
  #connections: Connections | undefined
  #overdue: Overdue | undefined
  readonly #calls = new OpenCalls()
  /** Called at every statement and transaction that is not about listening. */
  used: () => void = () => {}
  #namesGiven = 0
  /** Of prepared statements, by their texts. */
  readonly #names = new Recent(() => `tidings_${++this.#namesGiven}`)

  constructor(target: PostgresTarget, poolMax = 10) {
    this.#target = target
    this.poolMax = poolMax
  }

  /** 'host:port', for messages. */
  get where(): string {
    return describeTarget(this.#config)
  }

  async open(): Promise<void> {
    this.#config = await this.#locate()
    const connections = new Connections(this.#config, this.poolMax, this.where)
    this.#connections = connections
    this.#overdue = new Overdue(this.#config, () => connections.renew())
    const connection = await this.connect('statement')
    connection.release(false)
  }

  /** Waits for what is under way, also where it still waits for a connection. */
  close(): Promise<void> {
    return this.#calls.close(() => this.#connections?.close())
  }

  /** One statement in a transaction of its own, which is read committed: it sees what was committed while it waited. */
  query(text: string, values: readonly unknown[], { repeatable, undo }: QueryOptions): Promise<Row[]> {
    const attempt = () =>
      this.#with('statement', async (connection) => {
        const { begin } = connection.session
        if (begin === null) return this.#ask(connection, text, values)
        // Three statements instead of one: behind a pooler, settings of a session go astray.
        return this.#transact(connection, begin, () => this.#ask(connection, text, values))
      })
    return this.#calls.run(() => this.#persistently(repeatable, attempt, undo))
  }

  /** One statement in a transaction that somebody else began. */
  async queryWithin(transaction: Transaction, text: string, values: readonly unknown[]): Promise<readonly Row[]> {
    this.#calls.check()
    try {
      return (await transaction.query(text, values)).rows
    } catch (error) {
      throw toTidingsError(error, this.where, 'CONNECTION_LOST')
    }
  }

  /**
   * Several statements in one transaction, rolled back when `work` rejects.
   * @param work is called again where nothing has come of it and the same may succeed
   */
  transaction<T>(work: (query: (text: string, values?: readonly unknown[]) => Promise<Row[]>) => Promise<T>) {
    return this.#calls.run(() =>
      this.#persistently(false, () =>
        this.#with('statement', (connection) =>
          this.#transact(connection, connection.session.beginLong, () =>
            work((text, values) => this.#ask(connection, text, values)),
          ),
        ),
      ),
    )
  }

  /** A transaction for somebody's work, which may take long: on a connection that nothing else waits for. */
  hold<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#calls.run(() => this.#hold(work))
  }

  async #hold<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const connection = await this.#persistently(true, () => this.#begin())
    let over = false
    let fate: Fate = 'keep'
    const watched = async <Answer>(answer: Promise<Answer>, text: string, bytes = 0) => {
      try {
        return await this.#watch(connection, text, bytes, answer)
      } catch (error) {
        if (fate === 'keep') fate = fateOf(error)
        throw error
      }
    }
    const { client } = connection
    const transaction = inTurn({
      async query(text, values) {
        // The connection may be somebody else's by now.
        if (over) throw new TidingsError('CLOSED', 'the transaction has ended')
        // Handlers write statements of their own, and read them as the application reads all others.
        return watched(client.query({ text, values: [...values], types: pg.types }), text, sizeOf(values))
      },
    })
    try {
      const result = await work(transaction).catch(async (reason: unknown) => {
        over = true
        const rollback: pg.QueryConfig & { query_timeout: number } = { text: 'ROLLBACK', query_timeout: rollbackMs }
        if (fate === 'keep') await watched(client.query(rollback), rollback.text).catch(() => {})
        throw reason
      })
      over = true
      const done = await watched(client.query('COMMIT'), 'COMMIT').catch((error: unknown) => {
        throw toTidingsError(error, this.where, 'OUTCOME_UNKNOWN')
      })
      if (done.command !== 'COMMIT')
        throw new TidingsError('STORAGE_FAILED', 'the transaction was rolled back, since one of its statements failed')
      return result
    } finally {
      end(connection, fate)
    }
  }

  /** What others commit meanwhile must be seen: the lease of the message at hand may have been prolonged. */
  async #begin(): Promise<Connection> {
    const connection = await this.connect('transaction')
    try {
      await this.#ask(connection, connection.session.beginLong)
      return connection
    } catch (error) {
      connection.release(true)
      throw error
    }
  }

  /** A connection from those that there may be; the caller releases it. @throws CONNECTION_FAILED, CONNECTION_LIMIT */
  connect(use: Use): Promise<Connection> {
    this.#calls.check()
    if (use !== 'listening') this.used()
    return (this.#connections as Connections).connect(use)
  }

  /** Repeats what did nothing and may succeed soon: the server starts again, or another one takes its place. */
  async #persistently<T>(repeatable: boolean, attempt: () => Promise<T>, undo?: () => Promise<void>): Promise<T> {
    let giveUpAt: number | undefined
    for (let pauseMs = 0; ; pauseMs = Math.min(pauseMs * 2 || firstPauseMs, longestPauseMs)) {
      try {
        return await attempt()
      } catch (error) {
        giveUpAt ??= Date.now() + patienceMs
        const mayAgain = mayRepeat(error, repeatable) && Date.now() + pauseMs <= giveUpAt && !this.#calls.isClosed
        const again = mayAgain && (undo === undefined || wasNothing(error) || (await succeeds(undo)))
        if (!again) throw toTidingsError(error, this.where, repeatable ? 'CONNECTION_LOST' : 'OUTCOME_UNKNOWN')
        if (pauseMs > 0) await sleep(systemClock, pauseMs)
        // Starts the local server again if it is gone.
        if ('locate' in this.#target && isTidingsError(error, 'CONNECTION_FAILED')) await this.#target.locate()
      }
    }
  }

  async #with<T>(use: Use, work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.connect(use)
    let fate: Fate = 'keep'
    try {
      return await work(connection)
    } catch (error) {
      fate = fateOf(error)
      throw error
    } finally {
      end(connection, fate)
    }
  }

  async #transact<T>(connection: Connection, begin: string, work: () => Promise<T>): Promise<T> {
    try {
      await this.#ask(connection, begin)
      const result = await work()
      await this.#ask(connection, 'COMMIT')
      return result
    } catch (error) {
      if (failureOf(error).connection === 'keep') await this.#ask(connection, 'ROLLBACK').catch(() => {})
      throw error
    }
  }

  /** @param values without them the simple protocol is used, which takes several statements at once */
  async #ask(connection: Connection, text: string, values?: readonly unknown[]): Promise<Row[]> {
    const { client, session } = connection
    const bytes = values ? sizeOf(values) : 0
    if (bytes >= largeBytes && session.isDirect && !session.keepsMemory) {
      session.keepsMemory = true
      await this.#ask(connection, statements.keepMemory)
    }
    const answer = values ? client.query(this.#toQuery(session, text, values)) : client.query(text)
    return (await this.#watch(connection, text, bytes, answer)).rows as Row[]
  }

  /** One that the session plans once. Behind a pooler the next transaction may have another session. */
  #toQuery({ isDirect, prepared }: Session, text: string, values: readonly unknown[]): pg.QueryConfig {
    const query = { text, values: values as unknown[] }
    if (!isDirect) return query
    const name = this.#names.get(text)
    prepared.add(name)
    return { ...query, name }
  }

  #watch<T>(connection: Connection, text: string, bytes: number, answer: Promise<T>): Promise<T> {
    return (this.#overdue as Overdue).watch(connection, text, bytes, answer)
  }

  async #locate(): Promise<pg.ClientConfig> {
    const common = {
      application_name: 'tidings',
      types: ownTypes,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
    }
    if ('locate' in this.#target) {
      const { host, port, user, database } = await this.#target.locate()
      return { ...common, host, port, user, database }
    }
    return parseUrl(this.#target.url, common)
  }
}

type Fate = 'keep' | 'drop' | 'abandon'

/** What becomes of a connection. A session of which the server itself said that it ends needs no end. */
function fateOf(error: unknown): Fate {
  const { connection } = failureOf(error)
  return connection === 'keep' || isOfServer(error) ? connection : 'abandon'
}

function end(connection: Connection, fate: Fate): void {
  if (fate === 'abandon') connection.abandon()
  else connection.release(fate === 'drop')
}

/** Without a connection nothing was sent. */
const wasNothing = (error: unknown) => isTidingsError(error) || failureOf(error).outcome === 'nothing'

const succeeds = (step: () => Promise<void>): Promise<boolean> =>
  step().then(
    () => true,
    () => false,
  )

/** Whether the same again can do no harm and may succeed. */
function mayRepeat(error: unknown, repeatable: boolean): boolean {
  // Without a connection nothing was sent.
  if (isTidingsError(error)) return error.details.comesBack === true
  const { outcome, retry } = failureOf(error)
  return retry && (repeatable || outcome === 'nothing')
}

/** About how many bytes are to be sent. */
const sizeOf = (values: readonly unknown[]) =>
  values.reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 0), 0)
