import type { QueryConfig } from 'pg'
import { TidingsError } from '../../core/errors.ts'
import type { Announcing, ChannelListener, Channels } from '../../port/engine.ts'
import type { Connection } from './connections.ts'
import type { Driver } from './driver.ts'
import { toTidingsError } from './errors.ts'
import { statements as own } from './events.gen.ts'
import { statements } from './sql.gen.ts'
import { failureOf } from './sqlstates.ts'

const patienceMs = 5_000

/** A listening connection for the events that the triggers of `sql/events` send. */
export class PostgresChannels implements Channels {
  readonly #connection: Connection
  readonly #listener: ChannelListener
  #last: Promise<unknown> = Promise.resolve()
  #over = false

  /** @throws UNSUPPORTED behind a pooler, where notifications go astray */
  static async open(driver: Driver, listener: ChannelListener): Promise<PostgresChannels> {
    const connection = await driver.connect('listening')
    if (connection.session.isDirect) return new PostgresChannels(connection, listener)
    connection.release(true)
    throw new TidingsError('UNSUPPORTED', `events do not come through the pooler at ${driver.where}`, {
      hint: 'Connect to the server itself, or let the pooler keep a connection for each session.',
    })
  }

  private constructor(connection: Connection, listener: ChannelListener) {
    const { client } = connection
    this.#connection = connection
    this.#listener = listener
    client.on('notification', ({ channel, payload }) => listener.notified(channel, payload ?? ''))
    client.on('error', (error) => this.#end(error))
    client.on('end', () => this.#end(new Error('the connection was ended')))
  }

  async listen(channels: readonly string[]): Promise<void> {
    await Promise.all(
      channels.map((channel) => this.#query(`LISTEN ${this.#connection.client.escapeIdentifier(channel)}`)),
    )
  }

  async unlisten(channels: readonly string[]): Promise<void> {
    await Promise.all(
      channels.map((channel) => this.#query(`UNLISTEN ${this.#connection.client.escapeIdentifier(channel)}`)),
    )
  }

  async announceDue(): Promise<Announcing> {
    const { installed, prefix, may_announce, delayed_ms } = await this.#query(own.lookAtDue)
    const delayedMs = delayed_ms as number | null
    // Moving them into their queue is what announces them.
    if (delayedMs !== null && delayedMs <= 0) await this.#query(statements.maintain)
    // A role that may not announce what is due relies on another listener for it.
    const nextMs = may_announce === true ? ((await this.#query(own.announceDue)).next_ms as number | null) : null
    const known = [delayedMs, nextMs].filter((one) => one !== null)
    return {
      installed: installed === true,
      prefix: prefix as string | null,
      nextDueMs: known.length > 0 ? Math.max(0, Math.min(...known)) : null,
    }
  }

  async close(): Promise<void> {
    if (this.#over) return
    this.#over = true
    this.#connection.release(true)
  }

  /** One statement after the other, as `pg` wants it. @returns the first row */
  async #query(text: string): Promise<Readonly<Record<string, unknown>>> {
    const config: QueryConfig & { query_timeout: number } = { text, query_timeout: patienceMs }
    const result = this.#last.then(() => this.#connection.client.query(config))
    this.#last = result.catch(() => {})
    try {
      return (await result).rows[0] ?? {}
    } catch (error) {
      if (failureOf(error).connection === 'drop') this.#end(error)
      throw toTidingsError(error, 'the connection for events', 'CONNECTION_LOST')
    }
  }

  #end(error: unknown): void {
    if (this.#over) return
    void this.close()
    this.#listener.lost(toTidingsError(error, 'the connection for events', 'CONNECTION_LOST'))
  }
}
