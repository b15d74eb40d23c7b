import { systemClock } from '../../core/clock.ts'
import { isTidingsError } from '../../core/errors.ts'
import { soon } from '../../core/turns.ts'
import { type Command, callOn } from './calling.ts'
import type { RedisClient } from './client.ts'
import { Disk } from './disk.ts'
import { Lost, replyCode, Unsent } from './errors.ts'

export interface SendingOnce {
  readonly timeoutMs: number
  /** Whether the write has to be on disk when the command is answered. Default: false. */
  readonly onDisk?: boolean
}

/** From the first packet until commands can be sent. A server that cannot be reached is reported within 5 s. */
const handshakeTimeoutMs = 4_500
const roleTimeoutMs = 2_000

/** One server, and one connection for all commands, which is opened when a command needs it. */
export class Server {
  readonly where: string
  readonly #disk: Disk
  readonly #newClient: () => Promise<RedisClient>
  readonly #mayBeReplica: boolean
  /** The first error of each connection. */
  readonly #failures = new WeakMap<RedisClient, Error>()
  #client: RedisClient | undefined
  #connecting: Promise<RedisClient> | undefined
  #calls = 0
  #database = 0
  #isLeft = false
  #closed = false

  /** @param mayBeReplica whether every new connection asks if the server is a replica; default: false */
  constructor(where: string, newClient: () => Promise<RedisClient>, mayBeReplica = false) {
    this.where = where
    this.#disk = new Disk(where)
    this.#newClient = newClient
    this.#mayBeReplica = mayBeReplica
  }

  /** The number of the database; known once there was a connection. Channels are those of all databases. */
  get database(): number {
    return this.#database
  }

  /**
   * Sends a command once.
   * @throws Unsent, Lost, or the error that the server replied; DURABILITY_UNAVAILABLE before the command is sent
   */
  async call(command: Command, { timeoutMs, onDisk = false }: SendingOnce, asking = false): Promise<unknown> {
    let client = this.#client
    this.#calls++
    try {
      if (client?.status !== 'ready') client = await this.#connected()
      if (onDisk) await this.#disk.confirm(client)
      return await callOn(client, command, timeoutMs, asking)
    } catch (error) {
      // ioredis rejects with 'Connection is closed.' for every cause.
      if (error instanceof Lost && client) error.cause = this.#failures.get(client) ?? error.cause
      throw error
    } finally {
      this.#calls--
      if (this.#isLeft) this.leave()
    }
  }

  /** Opens another connection, for listening. The caller ends it. @throws Unsent */
  async connectAlone(): Promise<RedisClient> {
    const client = await this.#newClient().catch((error: unknown) => {
      throw isTidingsError(error) ? error : new Unsent('not connected', { cause: error })
    })
    // ioredis writes errors without a listener to the console.
    client.on('error', (error) => {
      if (!this.#failures.has(client)) this.#failures.set(client, error)
    })
    // The client may have connections to sentinels.
    client.on('end', () => client.disconnect())
    try {
      await connectSoon(client)
      // The database could not be selected.
      if (this.#failures.has(client)) throw this.#failures.get(client)
      if (this.#mayBeReplica) await refuseReplica(client)
      this.#database = client.options?.db ?? 0
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

  /** Closes the connection as soon as no call is under way. */
  leave(): void {
    this.#isLeft = true
    if (this.#calls === 0) this.close()
  }

  close(): void {
    this.#closed = true
    this.disconnect()
  }

  #connected(): Promise<RedisClient> {
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
  const timeout = new Promise<never>((_resolve, reject) => {
    const noAnswer = new Error(`no answer within ${handshakeTimeoutMs / 1_000} seconds`)
    const giveUp = () => reject(Object.assign(noAnswer, { code: 'ETIMEDOUT' }))
    // What came while the event loop was blocked is read first.
    const timer = systemClock.after(handshakeTimeoutMs, () => soon(giveUp))
    const cancel = () => timer.cancel()
    connected.then(cancel, cancel)
  })
  await Promise.race([connected, timeout])
}

/** Sentinels that have not heard of a failover yet send us to the old primary: there, nothing new would ever come. */
async function refuseReplica(client: RedisClient): Promise<void> {
  const answer = await callOn(client, ['ROLE'], roleTimeoutMs).catch((error: unknown) => {
    // Without the answer, the first write tells.
    if (replyCode(error) === '') throw error
  })
  const [role] = (answer ?? []) as string[]
  if (role === 'slave') throw new Error('the server is a replica')
}
