import { systemClock } from '../../core/clock.ts'
import { isTidingsError } from '../../core/errors.ts'
import { type Command, callOn } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Disk } from './disk.ts'
import { Lost, replyCode, Unsent } from './errors.ts'

export interface SendingOnce {
  readonly timeoutMs: number
  /** Whether what it writes has to be on disk when it is answered. Default: false. */
  readonly onDisk?: boolean
}

/** From the first packet until commands can be sent. The connection's own limit ends once TCP has one. */
const handshakeTimeoutMs = 4_500
const roleTimeoutMs = 2_000

/** One server, with one connection for all commands, which is made anew when it is needed. */
export class Server {
  readonly where: string
  readonly #disk: Disk
  readonly #newClient: () => Promise<RedisClient>
  readonly #mayBeReplica: boolean
  /** What connections failed with first. */
  readonly #failures = new WeakMap<RedisClient, Error>()
  #client: RedisClient | undefined
  #connecting: Promise<RedisClient> | undefined
  #calls = 0
  #isLeft = false
  #closed = false

  /** @param mayBeReplica whether it has to be asked, with every connection, if it is one; default: false */
  constructor(where: string, newClient: () => Promise<RedisClient>, mayBeReplica = false) {
    this.where = where
    this.#disk = new Disk(where)
    this.#newClient = newClient
    this.#mayBeReplica = mayBeReplica
  }

  /**
   * Sends a command once.
   * @throws Unsent, Lost, or what the server replied; DURABILITY_UNAVAILABLE before it is sent
   */
  async call(command: Command, { timeoutMs, onDisk = false }: SendingOnce, asking = false): Promise<unknown> {
    this.#calls++
    try {
      const client = await this.#connected()
      if (onDisk) await this.#disk.confirm(client)
      return await callOn(client, command, timeoutMs, asking).catch((error: unknown) => {
        // ioredis rejects with 'Connection is closed.', whatever closed it.
        if (error instanceof Lost) error.cause = this.#failures.get(client) ?? error.cause
        throw error
      })
    } finally {
      this.#calls--
      if (this.#isLeft) this.leave()
    }
  }

  /** A connection of its own, opened, for listening; the caller ends it. @throws Unsent */
  async connectAlone(): Promise<RedisClient> {
    const client = await this.#newClient().catch((error: unknown) => {
      throw isTidingsError(error) ? error : new Unsent('not connected', { cause: error })
    })
    // Without a listener it would be written to the console.
    client.on('error', (error) => {
      if (!this.#failures.has(client)) this.#failures.set(client, error)
    })
    // It may have connections of its own, to sentinels.
    client.on('end', () => client.disconnect())
    try {
      await connectSoon(client)
      // The database could not be selected.
      if (this.#failures.has(client)) throw this.#failures.get(client)
      if (this.#mayBeReplica) await refuseReplica(client)
      return client
    } catch (error) {
      client.disconnect()
      throw new Unsent('not connected', { cause: this.#failures.get(client) ?? error })
    }
  }

  /** The next command makes a new connection. */
  disconnect(): void {
    this.#client?.disconnect()
    this.#client = undefined
  }

  /** Closes it as soon as no call is under way. */
  leave(): void {
    this.#isLeft = true
    if (this.#calls === 0) this.close()
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

async function connectSoon(client: RedisClient): Promise<void> {
  const connected = client.connect()
  const late = new Promise<never>((_resolve, reject) => {
    const noAnswer = new Error(`no answer within ${handshakeTimeoutMs / 1_000} seconds`)
    const timer = systemClock.after(handshakeTimeoutMs, () => reject(Object.assign(noAnswer, { code: 'ETIMEDOUT' })))
    const cancel = () => timer.cancel()
    connected.then(cancel, cancel)
  })
  await Promise.race([connected, late])
}

/** Sentinels that have not heard of a failover yet send us to the old primary: there, nothing new would ever come. */
async function refuseReplica(client: RedisClient): Promise<void> {
  const answer = await callOn(client, ['ROLE'], roleTimeoutMs).catch((error: unknown) => {
    // Whether it is one is seen at the first write, then.
    if (replyCode(error) === '') throw error
  })
  const [role] = (answer ?? []) as string[]
  if (role === 'slave') throw new Error('the server is a replica')
}
