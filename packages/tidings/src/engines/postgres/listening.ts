import { isTidingsError, TidingsError } from '../../core/errors.ts'
import { isDueChannel } from '../../events/channels.ts'
import type { Interest, Listener, Listening } from '../../port/listening.ts'
import { Announcer } from './announcer.ts'
import { believedMs } from './connections.ts'
import type { Driver } from './driver.ts'
import { ListeningConnection } from './listening-connection.ts'
import { Poller } from './poller.ts'

/** Listens over one connection, which is made when something is asked for, and again after it broke. */
export class PostgresListening implements Listening {
  readonly #driver: Driver
  readonly #listener: Listener
  readonly #announcer: Announcer
  readonly #ended: () => void
  #connection: Promise<ListeningConnection | Poller> | undefined
  #isClosed = false

  /** @param engine promoteDue moves due messages into their queues; ended is called when this is closed */
  constructor(driver: Driver, listener: Listener, engine: { promoteDue(): Promise<void>; ended(): void }) {
    this.#driver = driver
    this.#listener = listener
    this.#ended = engine.ended
    this.#announcer = new Announcer(driver, listener, engine.promoteDue)
  }

  async listen(interests: readonly Interest[]): Promise<ReadonlyMap<Interest, unknown>> {
    if (this.#isClosed) throw new TidingsError('CLOSED', 'the connection was closed')
    this.#connection ??= this.#connect()
    const connection = await this.#connection
    const failures = await Promise.all(interests.map((one) => connection.start(one).catch((error: unknown) => error)))
    if (connection.hearsChannels) await this.#announcer.start()
    return new Map(interests.flatMap((one, index) => (failures[index] === undefined ? [] : [[one, failures[index]]])))
  }

  unlisten(interests: readonly Interest[]): void {
    const stop = (connection: ListeningConnection | Poller) => {
      for (const interest of interests) connection.stop(interest)
      if (!connection.hearsChannels) this.#announcer.stop()
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
      notified: (channel: string, text: string) => {
        if (isDueChannel(channel)) this.#announcer.lookIn(Number(text) || 0)
        else this.#listener.notified(channel, text)
      },
      lost: (interests: readonly Interest[], error: unknown) => {
        this.#connection = undefined
        this.#announcer.stop()
        this.#listener.lost(interests, error)
      },
    }
    const found = await this.#driver.connect('listening').catch((error: unknown) => {
      if (isTidingsError(error, 'CONNECTION_LIMIT')) return error
      throw error
    })
    const poll = (why: TidingsError, forMs: number | null) => {
      this.#listener.polling(why)
      return new Poller(this.#driver, listener, why, forMs)
    }
    if (found instanceof TidingsError) return poll(found, believedMs)
    if (found.session.isDirect) return new ListeningConnection(found, listener)
    // A lock of a session would stay behind on a connection of the pooler.
    found.release(true)
    const why = new TidingsError('UNSUPPORTED', `events do not come through the pooler at ${this.#driver.where}`, {
      hint: 'Connect to the server itself, or let the pooler keep a connection for each session.',
    })
    return poll(why, null)
  }
}
