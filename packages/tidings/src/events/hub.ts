import type { Clock, Timer } from '../core/clock.ts'
import { type ErrorCode, isTidingsError, TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { Channels, Engine } from '../port/engine.ts'
import { isDueChannel } from './channels.ts'

/** Whoever wants to hear of some channels. */
export interface Subscriber {
  /** With the one for what is due, of which the hub takes care itself. */
  readonly channels: readonly string[]
  notified(channel: string, text: string): void
  /** There is no connection: what is announced until it is back is missed. */
  interrupted(error: unknown): void
  /** What is due could not be announced; it is tried again. */
  troubled(error: unknown): void
  stop(): Promise<void>
}

const firstPauseMs = 100
const longestPauseMs = 5_000
/** How often due messages are looked for without being told of any; also finds a connection that is only half there. */
const lookMs = 5_000
/** Where another process is at it, or there is more than goes at once. */
const shortestLookMs = 50

/** One connection for all who listen to the events of a bus. It is made with the first of them, and again when it breaks. */
export class EventHub {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #subscribers = new Set<Subscriber>()
  #channels: Channels | undefined
  #connecting: Promise<void> | undefined
  #pauseMs = firstPauseMs
  #retry: Timer | undefined
  #look: Timer | undefined
  #lookAt = 0
  #looking: Promise<void> | undefined
  #installed: boolean | null = null
  #prefix: string | null = null
  #isTroubled = false
  #closed = false

  constructor({ engine, clock, logger }: { engine: Engine; clock: Clock; logger: Logger }) {
    this.#engine = engine
    this.#clock = clock
    this.#logger = logger
  }

  get connected(): boolean {
    return this.#channels !== undefined
  }

  /** Whether anything in the storage announces messages; null if that is not known yet. */
  get installed(): boolean | null {
    return this.#installed
  }

  /** What the names of the channels start with, where that is known. */
  get prefix(): string | null {
    return this.#prefix
  }

  /** @throws UNSUPPORTED */
  check(): void {
    if (!this.#engine.supports.has('events'))
      throw new TidingsError('UNSUPPORTED', `the ${this.#engine.name} engine has no events`)
  }

  /**
   * Resolves when the channels are listened to, or the first attempt to connect has failed, of which the subscriber is
   * told; it is tried again.
   * @throws UNSUPPORTED behind a pooler, CLOSED; UNAUTHORIZED and FORBIDDEN of a server
   */
  async add(subscriber: Subscriber): Promise<void> {
    if (this.#closed) throw new TidingsError('CLOSED', 'the bus is closed, so nothing can be listened to')
    this.#subscribers.add(subscriber)
    try {
      if (this.#channels === undefined) await this.#connect()
    } catch (error) {
      await this.remove(subscriber)
      if (this.#subscribers.size > 0) this.#interrupted(error)
      throw error
    }
    // The connection may have been made for others. One that breaks now is made anew for all.
    if (this.#channels) await listenFor(this.#channels, [subscriber]).catch(() => {})
  }

  async remove(subscriber: Subscriber): Promise<void> {
    if (!this.#subscribers.delete(subscriber)) return
    if (this.#subscribers.size === 0) return this.#disconnect()
    const wanted = channelsOf(this.#subscribers)
    const unwanted = subscriber.channels.filter((channel) => !wanted.has(channel))
    // A connection that breaks now listens to nothing anyway.
    await this.#channels?.unlisten(unwanted).catch(() => {})
  }

  /** Stops all who listen. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#subscribers].map((subscriber) => subscriber.stop()))
  }

  async #disconnect(): Promise<void> {
    const channels = this.#channels
    this.#channels = undefined
    this.#cancelTimers()
    await channels?.close()
    // It closes what it opens for nobody.
    await this.#connecting?.catch(() => {})
    await this.#looking
  }

  #cancelTimers(): void {
    this.#retry?.cancel()
    this.#look?.cancel()
    this.#look = undefined
  }

  #connect(): Promise<void> {
    this.#connecting ??= this.#connectOnce().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  async #connectOnce(): Promise<void> {
    this.#retry?.cancel()
    let lost = false
    let channels: Channels | undefined
    try {
      channels = await this.#engine.openChannels!({
        notified: (channel, text) => this.#notified(channel, text),
        lost: (error) => {
          lost = true
          if (this.#channels === undefined) return
          this.#channels = undefined
          this.#interrupted(error)
        },
      })
      await listenFor(channels, this.#subscribers)
      if (this.#subscribers.size === 0) return await channels.close()
      if (lost) throw new TidingsError('CONNECTION_LOST', 'the connection for events broke at once')
      this.#channels = channels
      this.#pauseMs = firstPauseMs
      this.#looking = this.#announceDue()
      await this.#looking
    } catch (error) {
      await channels?.close()
      if (isFinal(error)) throw error
      this.#interrupted(error)
    }
  }

  #interrupted(error: unknown): void {
    this.#cancelTimers()
    for (const subscriber of [...this.#subscribers]) subscriber.interrupted(error)
    if (this.#subscribers.size === 0 || isTidingsError(error, 'CLOSED')) return
    this.#retry = this.#clock.after(this.#pauseMs, () => void this.#connectAgain())
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  async #connectAgain(): Promise<void> {
    // What was direct is behind a pooler now.
    await this.#connect().catch((error) => this.#interrupted(error))
  }

  #notified(channel: string, text: string): void {
    if (isDueChannel(channel)) {
      this.#lookIn(Number(text) || 0)
      return
    }
    for (const subscriber of [...this.#subscribers])
      if (subscriber.channels.includes(channel)) subscriber.notified(channel, text)
  }

  /** Looks for due messages then, or earlier if that was planned. */
  #lookIn(milliseconds: number): void {
    const at = this.#clock.now() + milliseconds
    if (this.#look !== undefined && this.#lookAt <= at) return
    this.#look?.cancel()
    this.#lookAt = at
    this.#look = this.#clock.after(milliseconds, () => {
      this.#look = undefined
      this.#looking = this.#announceDue()
    })
  }

  /** Those who hear through a server are not told what the storage said; its log is. */
  #troubled(error: unknown): void {
    if (!this.#isTroubled) this.#logger.warn({ error }, 'what is due cannot be announced; it is tried again')
    this.#isTroubled = true
    for (const subscriber of this.#subscribers) subscriber.troubled(error)
  }

  async #announceDue(): Promise<void> {
    const channels = this.#channels
    if (channels === undefined) return
    let nextMs = lookMs
    try {
      const { installed, prefix = null, nextDueMs } = await channels.announceDue()
      if (!installed && this.#installed === null)
        this.#logger.warn({}, 'nothing in this database announces messages yet: see `tidings generate-migration`')
      this.#installed = installed
      this.#prefix = prefix
      this.#isTroubled = false
      nextMs = Math.min(lookMs, Math.max(shortestLookMs, nextDueMs ?? lookMs))
    } catch (error) {
      // Of a connection that broke they were told already.
      if (this.#channels === channels) this.#troubled(error)
    }
    if (this.#channels === channels) this.#lookIn(nextMs)
  }
}

/** Whether trying again would not mend it. */
const isFinal = (error: unknown) =>
  ['UNSUPPORTED', 'UNAUTHORIZED', 'FORBIDDEN'].some((code) => isTidingsError(error, code as ErrorCode))

function channelsOf(subscribers: Iterable<Subscriber>): Set<string> {
  return new Set([...subscribers].flatMap(({ channels }) => channels))
}

function listenFor(channels: Channels, subscribers: Iterable<Subscriber>): Promise<void> {
  return channels.listen([...channelsOf(subscribers)])
}
