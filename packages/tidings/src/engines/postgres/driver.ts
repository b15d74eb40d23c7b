import pg from 'pg'
import { sleep, systemClock } from '../../core/clock.ts'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
import { percentEncode } from '../../core/url.ts'
import type { Transaction } from '../../port/engine.ts'
import { inTurn } from '../../port/in-turn.ts'
import { describeTarget, isConnectionError, toTidingsError } from './errors.ts'

/** Where the server is: a URL, or a function that finds (and, for the local one, starts) it. */
export type PostgresTarget =
  | { readonly url: string }
  | { readonly locate: () => Promise<{ host: string; port: number; user: string; database: string }> }

export interface QueryOptions {
  /** Whether repeating the statement after a lost connection does no harm. */
  readonly repeatable: boolean
  /** Gives up on a connection that does not answer for so long, in milliseconds. */
  readonly timeoutMs?: number
}

export type Row = Readonly<Record<string, unknown>>

const maxConnections = 10
/** A server that cannot be reached is reported within 5 s. */
const connectTimeoutMs = 4_000
/** After a first success, how long a call waits for the server to come back before it fails. */
const reconnectMs = 5_000
const longestStatementMs = 60_000
const rollbackMs = 5_000

/** Connections to PostgreSQL: a pool for statements, and single ones for listening. */
export class Driver {
  readonly #target: PostgresTarget
  #config: pg.ClientConfig | undefined
  #pool: pg.Pool | undefined
  /** For transactions that last as long as somebody's work; who asks for them says how many there are. */
  #held: pg.Pool | undefined
  /** Whether the server gives transactions a snapshot of their own, unless they ask for another isolation. */
  #isolates = false
  #closing: Promise<void> | undefined
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(target: PostgresTarget) {
    this.#target = target
  }

  /** 'host:port', for messages. */
  get where(): string {
    return describeTarget(this.#config)
  }

  async open(): Promise<void> {
    this.#config = await this.#locate()
    this.#pool = this.#newPool(maxConnections)
    this.#held = this.#newPool(Number.MAX_SAFE_INTEGER)
    const client = await this.#connect()
    try {
      const { rows } = await client.query('SHOW default_transaction_isolation')
      this.#isolates = rows[0]?.default_transaction_isolation !== 'read committed'
    } catch (error) {
      throw toTidingsError(error, this.where, 'CONNECTION_FAILED')
    } finally {
      client.release()
    }
  }

  #newPool(max: number): pg.Pool {
    const pool = new pg.Pool({ ...this.#config, max, idleTimeoutMillis: 30_000 })
    // An idle connection that breaks is replaced when the next one is needed.
    pool.on('error', () => {})
    // One that breaks between two statements of its user would end the process.
    pool.on('connect', (client) => void client.on('error', () => {}))
    return pool
  }

  /** Waits for what is under way, also where it still waits for a connection. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#underWay)
    await Promise.all([this.#pool?.end(), this.#held?.end()])
  }

  /** One statement in a transaction of its own, which is read committed: it sees what was committed while it waited. */
  query(text: string, values: readonly unknown[], options: QueryOptions): Promise<Row[]> {
    return this.#whileOpen(() => this.#queryPersistently(text, values, options))
  }

  async #whileOpen<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw closed()
    const running = call()
    this.#underWay.add(running)
    try {
      return await running
    } finally {
      this.#underWay.delete(running)
    }
  }

  async #queryPersistently(text: string, values: readonly unknown[], options: QueryOptions): Promise<Row[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#queryOnce(text, values, options)
      } catch (error) {
        // What was rolled back, and what may be done twice, is tried again.
        const again =
          isTidingsError(error, 'CONNECTION_LOST') || (isTidingsError(error) && error.details.rolledBack === true)
        if (!again || attempt === 3 || this.#closing !== undefined) throw error
      }
    }
  }

  async #queryOnce(text: string, values: readonly unknown[], options: QueryOptions): Promise<Row[]> {
    const client = await this.#connectPatiently()
    let broken: Error | undefined
    try {
      const config: pg.QueryConfig & { query_timeout: number } = {
        text,
        values: [...values],
        query_timeout: options.timeoutMs ?? longestStatementMs,
      }
      const result = await (this.#isolates ? queryCommitted(client, config) : client.query(config))
      return result.rows as Row[]
    } catch (error) {
      if (isConnectionError(error)) broken = error as Error
      throw toTidingsError(error, this.where, options.repeatable ? 'CONNECTION_LOST' : 'OUTCOME_UNKNOWN')
    } finally {
      client.release(broken)
    }
  }

  /** One statement in a transaction that somebody else began. */
  async queryWithin(transaction: Transaction, text: string, values: readonly unknown[]): Promise<readonly Row[]> {
    if (this.#closing !== undefined) throw closed()
    try {
      return (await transaction.query(text, values)).rows
    } catch (error) {
      throw toTidingsError(error, this.where, 'CONNECTION_LOST')
    }
  }

  /** Several statements in one transaction, rolled back when `work` rejects. */
  async transaction<T>(work: (query: (text: string, values?: readonly unknown[]) => Promise<Row[]>) => Promise<T>) {
    const client = await this.#connectPatiently()
    let broken: Error | undefined
    try {
      await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      const result = await work(async (text, values) => {
        // Without values the simple protocol is used, which takes several statements at once.
        const answer = await (values ? client.query(text, [...values]) : client.query(text))
        return answer.rows as Row[]
      })
      await client.query('COMMIT')
      return result
    } catch (error) {
      if (isConnectionError(error)) broken = error as Error
      else await client.query('ROLLBACK').catch(() => {})
      throw toTidingsError(error, this.where, 'OUTCOME_UNKNOWN')
    } finally {
      client.release(broken)
    }
  }

  /** A transaction for somebody's work, which may take long: on a connection that nothing else waits for. */
  hold<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#whileOpen(() => this.#hold(work))
  }

  async #hold<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const client = await this.#connectPatiently(this.#held)
    let over = false
    let broken: Error | undefined
    const carryOut = async (text: string, timeoutMs: number, lostAs: 'CONNECTION_LOST' | 'OUTCOME_UNKNOWN') => {
      try {
        const config: pg.QueryConfig & { query_timeout: number } = { text, query_timeout: timeoutMs }
        return (await client.query(config)).command
      } catch (error) {
        if (isConnectionError(error)) broken = error as Error
        throw toTidingsError(error, this.where, lostAs)
      }
    }
    const transaction = inTurn({
      async query(text, values) {
        // The connection may be somebody else's by now.
        if (over) throw new TidingsError('CLOSED', 'the transaction has ended')
        return client.query(text, [...values])
      },
    })
    try {
      // What others commit meanwhile must be seen: the lease of the message at hand may have been prolonged.
      await carryOut('BEGIN ISOLATION LEVEL READ COMMITTED', longestStatementMs, 'CONNECTION_LOST')
      const result = await work(transaction).catch(async (reason: unknown) => {
        over = true
        await carryOut('ROLLBACK', rollbackMs, 'CONNECTION_LOST').catch(() => {})
        throw reason
      })
      over = true
      const done = await carryOut('COMMIT', longestStatementMs, 'OUTCOME_UNKNOWN')
      if (done !== 'COMMIT')
        throw new TidingsError('STORAGE_FAILED', 'the transaction was rolled back, since one of its statements failed')
      return result
    } finally {
      client.release(broken)
    }
  }

  /** A connection of its own, not from the pool; the caller ends it. */
  async connectAlone(): Promise<pg.Client> {
    if (this.#closing !== undefined) throw closed()
    const client = new pg.Client(this.#config)
    client.on('error', () => {})
    try {
      await client.connect()
      return client
    } catch (error) {
      await client.end().catch(() => {})
      throw toTidingsError(error, this.where, 'CONNECTION_FAILED')
    }
  }

  /** Waits for a server that is just starting again. Nothing was sent yet, so nothing can be done twice. */
  async #connectPatiently(pool = this.#pool): Promise<pg.PoolClient> {
    const giveUpAt = Date.now() + reconnectMs
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 500)) {
      try {
        return await this.#connect(pool)
      } catch (error) {
        if (!isTidingsError(error, 'CONNECTION_FAILED') || error.details.comesBack !== true) throw error
        if (Date.now() + pauseMs > giveUpAt || this.#closing !== undefined) throw error
      }
      await sleep(systemClock, pauseMs)
      // Starts the local server again if it is gone.
      if ('locate' in this.#target) await this.#target.locate()
    }
  }

  async #connect(pool = this.#pool): Promise<pg.PoolClient> {
    if (!pool) throw closed()
    try {
      return await pool.connect()
    } catch (error) {
      throw toTidingsError(error, this.where, 'CONNECTION_FAILED')
    }
  }

  async #locate(): Promise<pg.ClientConfig> {
    const common = { application_name: 'tidings', connectionTimeoutMillis: connectTimeoutMs, keepAlive: true }
    if ('locate' in this.#target) {
      const { host, port, user, database } = await this.#target.locate()
      return { ...common, host, port, user, database }
    }
    const config = { ...common, connectionString: this.#target.url }
    try {
      const { host, port } = new pg.Client(config)
      return { ...config, host, port }
    } catch (error) {
      // The text of the cause may hold the URL with its password.
      const why = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : ''
      throw new TidingsError('URL_INVALID', `the PostgreSQL URL cannot be read${why}`, { hint: percentEncode })
    }
  }
}

/** Three statements instead of one, but also through a pooler, where settings of a session go astray. */
async function queryCommitted(client: pg.PoolClient, config: pg.QueryConfig): Promise<pg.QueryResult> {
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
  try {
    const result = await client.query(config)
    await client.query('COMMIT')
    return result
  } catch (error) {
    if (!isConnectionError(error)) await client.query('ROLLBACK')
    throw error
  }
}

function closed(): TidingsError {
  return new TidingsError('CLOSED', 'the connection was closed')
}
