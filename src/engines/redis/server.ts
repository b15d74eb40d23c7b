import { type Command, callOn } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Disk } from './disk.ts'
import { Unsent } from './errors.ts'

/** One server, with one connection for all commands, which is made anew when it is needed. */
export class Server {
  readonly where: string
  /** The same commands, on disk when they are answered. */
  readonly disk: Disk
  readonly #newClient: () => Promise<RedisClient>
  #client: RedisClient | undefined
  #connecting: Promise<RedisClient> | undefined
  #closed = false

  constructor(where: string, newClient: () => Promise<RedisClient>) {
    this.where = where
    this.disk = new Disk(where, () => this.connectAlone())
    this.#newClient = newClient
  }

  /**
   * Sends a command once.
   * @param asking first tells a node of a Cluster that it is asked for a slot that is on its way to it
   * @throws Unsent, Lost, or what the server replied
   */
  async call(command: Command, timeoutMs: number, asking = false): Promise<unknown> {
    return callOn(await this.#connected(), command, timeoutMs, asking)
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
    this.disk.close()
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
