import pg from 'pg'
import { sleep, systemClock } from '../../core/clock.ts'
import { statements } from './sql.gen.ts'
import { sqlStateOf } from './sqlstates.ts'

/** A session of the server, which is named by both. */
export interface ServerSession {
  readonly pid: number
  /** In microseconds since 1970. */
  readonly started: string
}

const timeoutMs = 4_000
/** How often, and for how long, it is looked whether they have ended. */
const pauseMs = 20
const patienceMs = 2_000

/**
 * Sessions whose connections were given up, since their answers do not come. The server may be at work for them still, or
 * wait for a lock, and would carry out what nobody hears of. So they are ended before another connection is made.
 */
export class AbandonedSessions {
  readonly #config: pg.ClientConfig
  readonly #sessions = new Set<ServerSession>()
  #ending: Promise<boolean> | undefined

  constructor(config: pg.ClientConfig) {
    this.#config = config
  }

  add(session: ServerSession): void {
    this.#sessions.add(session)
  }

  /** Resolves once they have ended. @throws what connecting to the server throws */
  async end(): Promise<void> {
    // More are given up while some are being ended: those of one server mostly break together.
    while (this.#sessions.size > 0) {
      this.#ending ??= this.#end().finally(() => {
        this.#ending = undefined
      })
      if (!(await this.#ending)) return
    }
  }

  /** @returns false if the server has no connection left for that; it may have one the next time */
  async #end(): Promise<boolean> {
    const sessions = [...this.#sessions]
    const config: pg.ClientConfig = { ...this.#config, connectionTimeoutMillis: timeoutMs, query_timeout: timeoutMs }
    const client = new pg.Client(config)
    client.on('error', () => {})
    try {
      await client.connect()
      const giveUpAt = performance.now() + patienceMs
      const listed = JSON.stringify(sessions)
      while ((await client.query(statements.endSessions, [listed])).rows.length > 0 && performance.now() < giveUpAt)
        await sleep(systemClock, pauseMs)
    } catch (error) {
      if (sqlStateOf(error) === '53300') return false
      throw error
    } finally {
      client.end().catch(() => {})
    }
    for (const session of sessions) this.#sessions.delete(session)
    return true
  }
}
