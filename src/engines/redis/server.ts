import { type Command, callOn } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Disk } from './disk.ts'
import { Unsent } from './errors.ts'

export interface SendingOnce {
  readonly timeoutMs: number
  /** Whether what it writes has to be on disk when it is answered. Default: false. */
  readonly onDisk?: boolean
}

/** One server, with one connection for all commands, which is made anew when it is needed. */
export class Server {
  readonly where: string
  readonly #disk: Disk
  readonly #newClient: () => Promise<RedisClient>
  #client: RedisClient | undefined
  #connecting: Promise<RedisClient> | undefined
  #closed = false

  constructor(where: string, newClient: () => Promise<RedisClient>) {
    this.where = where
    this.#disk = new Disk(where)
    this.#newClient = newClient
  }

  /**
   * Sends a command once.
   * @throws Unsent, Lost, or what the server replied; DURABILITY_UNAVAILABLE before it is sent
   */
  async call(command: Command, { timeoutMs, onDisk = false }: SendingOnce, asking = false): Promise<unknown> {
    const client = await this.#connected()
    if (onDisk) await this.#disk.confirm(client)
    return callOn(client, command, timeoutMs, asking)
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
