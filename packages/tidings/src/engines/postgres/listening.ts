import { isTidingsError, TidingsError } from '../../core/errors.ts'
import { isDueChannel } from '../../events/channels.ts'
import type { Interest, Listener, Listening } from '../../port/listening.ts'
import { Announcer } from './announcer.ts'
import { believedMs } from './connections.ts'
import type { Driver } from './driver.ts'
import type { Life } from './life.ts'
import { ListeningConnection } from './listening-connection.ts'
import { Poller } from './poller.ts'

/** For so long after a call of its own a process takes it that the server is awake. */
const awakeMs = 3_000

interface EngineOfListening {
  readonly life: Life
  /** Whether nothing is asked of an idle server. */
  readonly sleeps: boolean
  /** Moves due messages into their queues. */
  promoteDue(): Promise<void>
  /** Called when the listening is closed. */
  ended(): void
}

/** Listens over one connection, which is made when something is asked for, and again after it broke. */
export class PostgresListening implements Listening {
  readonly #driver: Driver
  readonly #listener: Listener
  readonly #announcer: Announcer
  readonly #life: Life
  readonly #ended: () => void
  readonly #sleeps: boolean
  /** When this process last asked the server for something. */
  #usedAt = 0
  /** A connection that was lost while nobody needed it is told of when somebody does: connecting would wake the server. */
  #tellLost: (() => void) | undefined
  #lookMs: number | undefined
  #connection: Promise<ListeningConnection | Poller> | undefined
  #isClosed = false

  constructor(driver: Driver, listener: Listener, engine: EngineOfListening) {
    this.#driver = driver
    this.#listener = listener
    this.#life = engine.life
    this.#ended = engine.ended
    this.#sleeps = engine.sleeps
    this.#announcer = new Announcer(driver, listener, engine)
  }

  get lookMs(): number | undefined {
    return this.#lookMs
  }

  /** This process asks the server for something, so that it is awake. */
  used(): void {
    this.#usedAt = performance.now()
    if (!this.#sleeps) return
    this.#tellLost?.()
    this.#connection?.then((connection) => connection.lookSoon()).catch(() => {})
  }

  async listen(interests: readonly Interest[]): Promise<ReadonlyMap<Interest, unknown>> {
    if (this.#isClosed) throw new TidingsError('CLOSED', 'the connection was closed')
    this.#connection ??= this.#connect()
    const connection = await this.#connection
    const failures = await Promise.all(interests.map((one) => connection.start(one).catch((error: unknown) => error)))
    if (connection.hearsEvents) await this.#announcer.start()
    return new Map(interests.flatMap((one, index) => (failures[index] === undefined ? [] : [[one, failures[index]]])))
  }

  unlisten(interests: readonly Interest[]): void {
    const stop = (connection: ListeningConnection | Poller) => {
      for (const interest of interests) connection.stop(interest)
      if (!connection.hearsEvents) this.#announcer.stop()
    }
    // One that could not be made listens to nothing.
    this.#connection?.then(stop, () => {})
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#ended()
    this.#announcer.stop()
    const connection = await this.#connection?.catch(() => undefined)
    await connection?.close()
  }

  #connect(): Promise<ListeningConnection | Poller> {
    const connecting = this.#open()
    connecting.catch(() => {
      if (this.#connection === connecting) this.#connection = undefined
    })
    return connecting
  }

  async #open(): Promise<ListeningConnection | Poller> {
    const listener = {
      woken: (interest: Interest, dueMs: number) => this.#listener.woken(interest, dueMs),
      changed: (interest: Interest) => this.#listener.changed?.(interest),
      notified: (channel: string, text: string) => {
        if (isDueChannel(channel)) this.#announcer.lookIn(Number(text) || 0)
        else this.#listener.notified(channel, text)
      },
      lost: (interests: readonly Interest[], error: unknown) => {
        const tell = () => {
          this.#tellLost = undefined
          this.#connection = undefined
          this.#announcer.stop()
          this.#listener.lost(interests, error)
        }
        if (this.#sleeps && performance.now() - this.#usedAt > awakeMs) this.#tellLost = tell
        else tell()
      },
    }
    const found = await this.#driver.connect('listening').catch((error: unknown) => {
      if (isTidingsError(error, 'CONNECTION_LIMIT')) return error
      throw error
    })
    const poll = (why: TidingsError, forMs: number | null) => {
      this.#listener.polling(why)
      this.#lookMs = undefined
      return new Poller(this.#driver, listener, why, forMs)
    }
    if (found instanceof TidingsError) return poll(found, believedMs)
    if (found.session.isDirect) {
      const connection = new ListeningConnection(found, listener, this.#life, this.#driver, this.#sleeps)
      this.#lookMs = this.#sleeps ? Number.POSITIVE_INFINITY : connection.lookMs
      return connection
    }
    // A lock of a session would stay behind on a connection of the pooler.
    found.release(true)
    const why = new TidingsError('UNSUPPORTED', `events do not come through the pooler at ${this.#driver.where}`, {
      hint: 'Connect to the server itself, or let the pooler keep a connection for each session.',
    })
    return poll(why, null)
  }
}
