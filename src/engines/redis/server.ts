import { systemClock } from '../../clock.ts'
import type { RedisClient } from './client.ts'
import { Lost, Unsent } from './errors.ts'

export type Command = readonly [name: string, ...args: (string | number)[]]

/** One server, with one connection for all commands, which is made anew when it is needed. */
export class Server {
  readonly where: string
  readonly #newClient: () => Promise<RedisClient>
  #client: RedisClient | undefined
  #connecting: Promise<RedisClient> | undefined
  #closed = false

  constructor(where: string, newClient: () => Promise<RedisClient>) {
    this.where = where
    this.#newClient = newClient
  }

  /**
   * Sends a command once.
   * @param asking first tells a node of a Cluster that it is asked for a slot that is on its way to it
   * @throws Unsent, Lost, or what the server replied
   */
  async call([name, ...args]: Command, timeoutMs: number, asking = false): Promise<unknown> {
    const client = await this.#connected()
    const sent = asking ? [client.call('ASKING', []), client.call(name, args)] : [client.call(name, args)]
    const timer = systemClock.after(timeoutMs, () => client.disconnect())
    try {
      return (await Promise.all(sent)).at(-1)
    } catch (error) {
      const { name: kind, message } = error as Error
      if (kind === 'ReplyError') throw error
      if (message.startsWith("Stream isn't writeable")) throw new Unsent(message, { cause: error })
      throw new Lost(message, { cause: error })
    } finally {
      timer.cancel()
    }
  }

  /** A connection of its own, opened, for listening; the caller ends it. @throws Unsent */
  async connectAlone(): Promise<RedisClient> {
    const client = await this.#newClient()
    let failure: Error | undefined
    // Without a listener it would be written to the console.
    client.on('error', (error) => {
      failure ??= error
    })
    try {
      await client.connect()
      // The database could not be selected.
      if (failure) throw failure
      return client
    } catch (error) {
      client.disconnect()
      throw new Unsent('not connected', { cause: failure ?? error })
    }
  }

  /** The next command makes a new connection. */
  disconnect(): void {
    this.#client?.disconnect()
    this.#client = undefined
  }

  close(): void {
    this.#closed = true
    this.disconnect()
  }

  async #connected(): Promise<RedisClient> {
    if (this.#client?.status === 'ready') return this.#client
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  async #connect(): Promise<RedisClient> {
    const client = await this.connectAlone()
    if (this.#closed) {
      client.disconnect()
      throw new Unsent('closed')
    }
    this.#client = client
    return client
  }
}
