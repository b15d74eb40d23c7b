import { Silence } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Lost } from './errors.ts'
import type { Server } from './server.ts'

export interface SubscriberEvents {
  heard(channel: string, text: string): void
  /** The connection broke, or the server sent its listeners away. Told once. */
  lost(error: unknown): void
}

/** How long an answer may take on a connection that is not half-open. */
const patienceMs = 2_500

/** One connection that listens to channels of one server. */
export class SubscriberConnection {
  readonly server: Server
  readonly #events: SubscriberEvents
  #connecting: Promise<RedisClient> | undefined
  #client: RedisClient | undefined
  #silence: Silence | undefined
  readonly #subscribed = new Map<string, Promise<unknown>>()
  #over = false

  constructor(server: Server, events: SubscriberEvents) {
    this.server = server
    this.#events = events
  }

  get isOver(): boolean {
    return this.#over
  }

  /** Resolves once in force. @param how plainly: the channel belongs to no slot */
  async subscribe(channel: string, how: 'ssubscribe' | 'subscribe' = 'ssubscribe'): Promise<void> {
    this.#connecting ??= this.#connect()
    const client = await this.#connecting
    const asked = this.#subscribed.get(channel) ?? this.#ask(client, how, channel)
    this.#subscribed.set(channel, asked)
    try {
      await asked
    } catch (error) {
      // The slot may be elsewhere; others on this connection go on.
      this.#subscribed.delete(channel)
      throw error
    }
  }

  unsubscribe(channel: string, how: 'sunsubscribe' | 'unsubscribe' = 'sunsubscribe'): void {
    if (!this.#subscribed.delete(channel) || !this.#client) return
    this.#ask(this.#client, how, channel).catch(() => {})
  }

  /** Notices a connection that is half-open. */
  async check(): Promise<void> {
    if (this.#client) await this.#ask(this.#client, 'ping').catch(() => {})
  }

  close(): void {
    this.#over = true
    this.#client?.disconnect()
  }

  async #connect(): Promise<RedisClient> {
    try {
      const client = await this.server.connectAlone()
      if (this.#over) {
        client.disconnect()
        throw new Lost('closed')
      }
      this.#client = client
      this.#silence = new Silence(client, () => this.#end(new Lost('the server fell silent')))
      client.on('smessage', (channel, text) => this.#events.heard(channel, text))
      client.on('end', () => this.#end(new Lost('the connection was ended')))
      // The slot of a channel went to another node.
      client.on('moved', () => this.#end(new Lost('the slot of a channel went to another node')))
      return client
    } catch (error) {
      this.#end(error)
      throw error
    }
  }

  async #ask(client: RedisClient, command: string, ...args: string[]): Promise<unknown> {
    const waiting = this.#silence?.begin(patienceMs)
    try {
      return await client.call(command, args)
    } finally {
      if (waiting) this.#silence?.end(waiting)
    }
  }

  #end(error: unknown): void {
    if (this.#over) return
    this.close()
    this.#events.lost(error)
  }
}
