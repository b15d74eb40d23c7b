import { isTidingsError, TidingsError } from '../../core/errors.ts'
import type { Client, StreamRequest } from './client.ts'
import { readEvents, type ServerEvent } from './event-reader.ts'
import { lostAnswer, refused } from './failures.ts'

export interface StreamListener {
  came(event: ServerEvent): void
  /** It broke, or the server ended it. Not told before it is open, and not after `close`. */
  ended(error: TidingsError): void
}

/** A stream of the server's events, on a connection of its own. */
export class EventStream {
  readonly #client: Client
  readonly #listener: StreamListener
  readonly #closing = new AbortController()

  constructor(client: Client, listener: StreamListener) {
    this.#client = client
    this.#listener = listener
  }

  /** @returns the data of its first event, which says that it is in force */
  async open(request: StreamRequest): Promise<string> {
    const events = readEvents(await this.#client.stream(request, this.#closing.signal))
    const first = await events.next().catch((error: unknown) => Promise.reject(this.#typed(error)))
    if (first.done) throw this.#isEnded()
    this.#throwIfError(first.value)
    void this.#follow(events)
    return first.value.data
  }

  close(): void {
    this.#closing.abort()
  }

  async #follow(events: AsyncIterable<ServerEvent>): Promise<void> {
    try {
      for await (const event of events) {
        this.#throwIfError(event)
        if (!this.#closing.signal.aborted) this.#listener.came(event)
      }
      throw this.#isEnded()
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#listener.ended(this.#typed(error))
    }
  }

  #throwIfError({ event, data }: ServerEvent): void {
    if (event === 'error') throw refused(500, JSON.parse(data), this.#client.where, 'CONNECTION_LOST')
  }

  #typed(error: unknown): TidingsError {
    return isTidingsError(error) ? error : lostAnswer(error, this.#client.where, 'CONNECTION_LOST')
  }

  #isEnded(): TidingsError {
    return new TidingsError('CONNECTION_LOST', `the server at ${this.#client.where} ended a stream of events`)
  }
}
