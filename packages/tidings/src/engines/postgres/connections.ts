import pg from 'pg'
import { systemClock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import { AbandonedSessions, type ServerSession } from './abandoned.ts'
import { toTidingsError } from './errors.ts'
import { statements } from './sql.gen.ts'
import { sqlStateOf } from './sqlstates.ts'

/** What a connection is wanted for. */
export type Use = 'statement' | 'transaction' | 'listening'

export interface Connection {
  readonly client: pg.PoolClient
  readonly session: Session
  /** @param drop whether it must not be used again */
  release(drop: boolean): void
  /** Releases it, since no answer comes; its session is ended in the server before another connection is made. */
  abandon(): void
}

export interface Session {
  /** False behind a pooler, where every transaction may have another session. */
  readonly isDirect: boolean
  /** How the transaction of a single statement begins; null if it needs none. */
  readonly begin: string | null
  /** How a transaction begins that may take long, and wait for others for long. */
  readonly beginLong: string
  /** The names of its prepared statements. */
  readonly prepared: Set<string>
  /** Whether the server keeps memory for large statements of it. */
  keepsMemory: boolean
}

interface Known extends Session {
  readonly generation: number
  readonly server: ServerSession
}

/** How long a call waits for a free connection, and a new one for the server. */
export const connectTimeoutMs = 4_000
/** For so long the limit that the server was found to have is believed in. */
export const believedMs = 60_000
const goodbyeMs = 500
/** The server keeps the plan of each: a session with more of them, for very many queues, gives way to a new one. */
const mostPrepared = 300
/** Below this there is no connection for listening. */
export const fewestForListening = 3

/**
 * All connections of one engine. They are at most `max`, whatever they are for: some may be held for long, for listening
 * and for handlers with a transaction, and at least one is left for all other calls.
 */
export class Connections {
  readonly #where: string
  readonly #max: number
  readonly #pool: pg.Pool
  readonly #sessions = new Map<pg.ClientBase, Known>()
  readonly #abandoned: AbandonedSessions
  /** Frees the place of one that was given up. */
  readonly #leaving = new Set<() => void>()
  /** Transactions that wait for others to end. */
  readonly #waiting: (() => void)[] = []
  #transactions = 0
  readonly #listening = new Set<pg.PoolClient>()
  /** Those of an older one are not used again. */
  #generation = 0
  #believedUntil = 0

  /** @param where host and port, for messages */
  constructor(config: pg.ClientConfig, max: number, where: string) {
    this.#where = where
    this.#max = max
    this.#abandoned = new AbandonedSessions(config)
    this.#pool = new pg.Pool({
      ...config,
      max,
      connectionTimeoutMillis: connectTimeoutMs,
      idleTimeoutMillis: 30_000,
      onConnect: (client) => this.#prepare(client),
    })
    // An idle connection that breaks is replaced when the next one is needed.
    this.#pool.on('error', () => {})
  }

  /** @throws CONNECTION_FAILED, CONNECTION_LIMIT */
  async connect(use: Use): Promise<Connection> {
    if (performance.now() > this.#believedUntil) this.#pool.options.max = this.#max
    if (use === 'listening' && !this.#mayListen()) throw this.#tooFew('listening')
    if (use === 'transaction') await this.#beginTransaction()
    try {
      const client = await this.#take()
      if (use === 'listening') this.#listen(client)
      const session = this.#sessions.get(client)!
      const release = (drop: boolean) => {
        client.release(drop || session.prepared.size > mostPrepared)
        this.#listening.delete(client)
        if (use === 'transaction') this.#endTransaction()
      }
      return { client, session, release, abandon: () => this.#abandon(client, session, () => release(true)) }
    } catch (error) {
      if (use === 'transaction') this.#endTransaction()
      throw this.#explain(error)
    }
  }

  /** The server may have said meanwhile how few it gives. */
  #listen(client: pg.PoolClient): void {
    if (this.#mayListen()) this.#listening.add(client)
    else {
      client.release()
      throw this.#tooFew('listening')
    }
  }

  /** Its place is free for another connection once the session has ended, or the server cannot be asked to end it. */
  #abandon(client: pg.ClientBase, { isDirect, server }: Known, release: () => void): void {
    cutOff(client)
    if (!isDirect) {
      release()
      return
    }
    const leave = () => {
      if (this.#leaving.delete(leave)) release()
    }
    this.#leaving.add(leave)
    this.#abandoned.add(server)
    this.#abandoned.end().then(leave, leave)
  }

  /** One of them was found dead: those that are idle now are not used again. */
  renew(): void {
    this.#generation++
  }

  /** Once all are released. Those that the server does not confirm to be closed are cut off. */
  async close(): Promise<void> {
    for (const leave of this.#leaving) leave()
    const ended = [...this.#sessions.keys()].map((client) => new Promise((resolve) => client.once('end', resolve)))
    await this.#pool.end()
    let timer: { cancel(): void } | undefined
    await Promise.race([
      Promise.all(ended),
      new Promise<void>((resolve) => {
        timer = systemClock.after(goodbyeMs, resolve)
      }),
    ])
    timer?.cancel()
    for (const client of this.#sessions.keys()) cutOff(client)
  }

  async #take(): Promise<pg.PoolClient> {
    for (;;) {
      await this.#abandoned.end()
      try {
        const client = await this.#pool.connect()
        const session = this.#sessions.get(client)
        if (session?.generation === this.#generation) return client
        if (session?.isDirect) this.#abandoned.add(session.server)
        client.release(true)
        cutOff(client)
      } catch (error) {
        if (sqlStateOf(error) !== '53300' || this.#sessions.size === 0) throw error
        this.#narrow()
      }
    }
  }

  /** The server gives no more: those that there are have to do, for a while. */
  #narrow(): void {
    this.#pool.options.max = this.#sessions.size
    this.#believedUntil = performance.now() + believedMs
    if (this.#sessions.size < fewestForListening) for (const client of this.#listening) cutOff(client)
  }

  async #beginTransaction(): Promise<void> {
    const giveUpAt = performance.now() + connectTimeoutMs
    while (!this.#mayBegin()) {
      const leftMs = giveUpAt - performance.now()
      if (leftMs <= 0) throw this.#tooFew('transaction')
      await new Promise<void>((resolve) => {
        const go = () => {
          timer.cancel()
          resolve()
        }
        const timer = systemClock.after(leftMs, () => {
          this.#waiting.splice(this.#waiting.indexOf(go), 1)
          resolve()
        })
        this.#waiting.push(go)
      })
    }
    this.#transactions++
  }

  #endTransaction(): void {
    this.#transactions--
    this.#waiting.shift()?.()
  }

  #mayListen(): boolean {
    const { max } = this.#pool.options
    return max >= fewestForListening && max - this.#transactions - this.#listening.size > 1
  }

  #mayBegin(): boolean {
    const { max } = this.#pool.options
    const forListening = max < fewestForListening ? 0 : Math.max(1, this.#listening.size)
    return this.#transactions === 0 || max - this.#transactions - forListening > 1
  }

  async #prepare(client: pg.ClientBase): Promise<void> {
    // One that breaks between two statements of its user would end the process.
    client.on('error', () => {})
    const generation = this.#generation
    const { processID } = client as pg.ClientBase & { processID?: number | null }
    const config: pg.QueryConfig & { query_timeout: number } = {
      text: statements.prepareSession,
      values: [processID ?? null],
      query_timeout: connectTimeoutMs,
    }
    const { is_direct, started, begin, begin_long } = (await client.query(config)).rows[0]
    this.#sessions.set(client, {
      isDirect: is_direct === true,
      begin,
      beginLong: begin_long,
      prepared: new Set(),
      keepsMemory: false,
      generation,
      server: { pid: processID ?? 0, started },
    })
    client.once('end', () => this.#sessions.delete(client))
  }

  #explain(error: unknown): TidingsError {
    const isWait = error instanceof Error && error.message === 'timeout exceeded when trying to connect'
    if (isWait && this.#sessions.size >= this.#pool.options.max) return this.#tooFew('statement')
    return toTidingsError(error, this.#where, 'CONNECTION_FAILED')
  }

  #tooFew(use: Use): TidingsError {
    const { max } = this.#pool.options
    const limit =
      max < this.#max ? `the server allows no more than ${max} (pool.max is ${this.#max})` : `pool.max is ${max}`
    const wanted = {
      statement: 'became free',
      transaction: 'became free for a transaction',
      listening: 'is left to listen',
    }[use]
    return new TidingsError('CONNECTION_LIMIT', `no connection to PostgreSQL at ${this.#where} ${wanted}: ${limit}`, {
      details: { max, poolMax: this.#max },
    })
  }
}

/** A connection that says nothing any more would keep the process alive for many minutes. */
export function cutOff(client: pg.ClientBase): void {
  streamOf(client).destroy()
}

export function streamOf(client: pg.ClientBase): { readonly bytesRead: number; destroy(): void } {
  return (client as pg.ClientBase & { connection: { stream: { bytesRead: number; destroy(): void } } }).connection
    .stream
}
