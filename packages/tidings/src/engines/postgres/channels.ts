import type { Client, QueryConfig } from 'pg'
import { TidingsError } from '../../core/errors.ts'
import type { Announcing, ChannelListener, Channels } from '../../port/engine.ts'
import type { Driver } from './driver.ts'
import { isConnectionError, toTidingsError } from './errors.ts'
import { statements as own } from './events.gen.ts'
import { isDirect } from './pooler.ts'
import { statements } from './sql.gen.ts'

const patienceMs = 5_000

/** A listening connection for the events that the triggers of `sql/events` send. */
export class PostgresChannels implements Channels {
  readonly #client: Client
  readonly #listener: ChannelListener
  #last: Promise<unknown> = Promise.resolve()
  #over = false

  /** @throws UNSUPPORTED behind a pooler, where notifications go astray */
  static async open(driver: Driver, listener: ChannelListener): Promise<PostgresChannels> {
    const client = await driver.connectAlone()
    try {
      if (await isDirect(client)) return new PostgresChannels(client, listener)
    } catch (error) {
      await client.end().catch(() => {})
      throw toTidingsError(error, driver.where, 'CONNECTION_LOST')
    }
    await client.end().catch(() => {})
    throw new TidingsError('UNSUPPORTED', `events do not come through the pooler at ${driver.where}`, {
      hint: 'Connect to the server itself, or let the pooler keep a connection for each session.',
    })
  }

  private constructor(client: Client, listener: ChannelListener) {
    this.#client = client
    this.#listener = listener
    client.on('notification', ({ channel, payload }) => listener.notified(channel, payload ?? ''))
    client.on('error', (error) => this.#end(error))
    client.on('end', () => this.#end(new Error('the connection was ended')))
  }

  async listen(channels: readonly string[]): Promise<void> {
    await Promise.all(channels.map((channel) => this.#query(`LISTEN ${this.#client.escapeIdentifier(channel)}`)))
  }

  async unlisten(channels: readonly string[]): Promise<void> {
    await Promise.all(channels.map((channel) => this.#query(`UNLISTEN ${this.#client.escapeIdentifier(channel)}`)))
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
    this.#over = true
    await this.#client.end().catch(() => {})
  }

  /** One statement after the other, as `pg` wants it. @returns the first row */
  async #query(text: string): Promise<Readonly<Record<string, unknown>>> {
    const config: QueryConfig & { query_timeout: number } = { text, query_timeout: patienceMs }
    const result = this.#last.then(() => this.#client.query(config))
    this.#last = result.catch(() => {})
    try {
      return (await result).rows[0] ?? {}
    } catch (error) {
      if (isConnectionError(error)) this.#end(error)
      throw toTidingsError(error, 'the connection for events', 'CONNECTION_LOST')
    }
  }

  #end(error: unknown): void {
    if (this.#over) return
    void this.close()
    this.#listener.lost(toTidingsError(error, 'the connection for events', 'CONNECTION_LOST'))
  }
}
