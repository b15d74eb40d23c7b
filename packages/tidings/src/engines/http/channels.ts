import { isTidingsError, TidingsError } from '../../core/errors.ts'
import type { Announcing, ChannelListener, Channels } from '../../port/engine.ts'
import { maxChannels } from '../../protocol/messages.ts'
import type { Client } from './client.ts'
import { readEvents, type ServerEvent } from './event-reader.ts'
import { lostAnswer, refused } from './failures.ts'

/** Some channels on a connection of their own. */
interface Stream {
  readonly channels: readonly string[]
  readonly inForce: Promise<void>
  readonly closing: AbortController
}

/**
 * Channels of the server's storage. What is asked for together comes as one stream. Where one ends, all do, so that
 * nothing is missed unnoticed.
 */
export class HttpChannels implements Channels {
  readonly #client: Client
  readonly #listener: ChannelListener
  readonly #wanted = new Set<string>()
  readonly #streams = new Set<Stream>()
  #installed = false
  #prefix: string | null = null
  #trouble: TidingsError | null = null
  #failure: unknown = null
  #isOver = false

  constructor(client: Client, listener: ChannelListener) {
    this.#client = client
    this.#listener = listener
  }

  async listen(channels: readonly string[]): Promise<void> {
    if (this.#isOver) throw this.#failure ?? new TidingsError('CLOSED', 'the connection for events was closed')
    for (const channel of channels) this.#wanted.add(channel)
    const missing = channels.filter((channel) => this.#streamOf(channel) === undefined)
    for (let from = 0; from < missing.length; from += maxChannels) this.#open(missing.slice(from, from + maxChannels))
    await Promise.all(channels.map((channel) => this.#streamOf(channel)?.inForce))
  }

  async unlisten(channels: readonly string[]): Promise<void> {
    for (const channel of channels) this.#wanted.delete(channel)
    for (const stream of this.#streams) if (!stream.channels.some((one) => this.#wanted.has(one))) this.#close(stream)
  }

  /** The server announces what is due, for all who listen. */
  async announceDue(): Promise<Announcing> {
    const trouble = this.#trouble
    this.#trouble = null
    if (trouble !== null) throw trouble
    return { installed: this.#installed, prefix: this.#prefix, nextDueMs: null }
  }

  async close(): Promise<void> {
    this.#isOver = true
    for (const stream of this.#streams) this.#close(stream)
  }

  #streamOf(channel: string): Stream | undefined {
    return [...this.#streams].find(({ channels }) => channels.includes(channel))
  }

  #open(channels: readonly string[]): void {
    const closing = new AbortController()
    this.#streams.add({ channels, closing, inForce: this.#start(channels, closing.signal) })
  }

  #close(stream: Stream): void {
    this.#streams.delete(stream)
    stream.closing.abort()
  }

  /** @returns once the channels are listened to, or nobody wants them any more */
  async #start(channels: readonly string[], closing: AbortSignal): Promise<void> {
    try {
      const answer = await this.#client.stream(`/v1/channels?names=${encodeURIComponent(channels.join(','))}`, closing)
      const events = readEvents(answer)
      // Its first event says that it is in force.
      const first = await events.next()
      if (first.done) throw this.#ended()
      this.#notice(first.value)
      void this.#follow(events, closing)
    } catch (error) {
      if (!closing.aborted) this.#end(error)
      if (this.#failure !== null) throw this.#failure
    }
  }

  async #follow(events: AsyncIterable<ServerEvent>, closing: AbortSignal): Promise<void> {
    try {
      for await (const event of events) this.#notice(event)
      throw this.#ended()
    } catch (error) {
      if (!closing.aborted) this.#end(error)
    }
  }

  #notice({ event, data }: ServerEvent): void {
    const fields = JSON.parse(data) as { installed?: boolean; prefix?: string | null; channel: string; text: string }
    switch (event) {
      case 'listening':
        this.#installed = fields.installed === true
        this.#prefix = fields.prefix ?? null
        return
      case 'notified':
        // Only what is installed tells of anything.
        this.#installed = true
        if (this.#wanted.has(fields.channel) && !this.#isOver) this.#listener.notified(fields.channel, fields.text)
        return
      case 'failed':
        this.#trouble = refused(500, fields, this.#client.where, 'STORAGE_FAILED')
        return
      case 'error':
        throw refused(500, fields, this.#client.where, 'CONNECTION_LOST')
    }
  }

  #ended(): TidingsError {
    return new TidingsError('CONNECTION_LOST', `the server at ${this.#client.where} ended the stream of events`)
  }

  #end(reason: unknown): void {
    if (this.#isOver) return
    this.#failure = isTidingsError(reason) ? reason : lostAnswer(reason, this.#client.where, 'CONNECTION_LOST')
    void this.close()
    this.#listener.lost(this.#failure)
  }
}
