import type { Clock } from '../core/clock.ts'
import { TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import { isInternalQueue } from '../core/names.ts'
import * as option from '../core/options.ts'
import { Service } from '../core/service.ts'
import type { Subscriber, Wakeups, Watch } from '../port/wakeups.ts'
import { channelOf, channelsOf, interestsIn } from './channels.ts'
import { parseEvent, type QueueEvent } from './event.ts'
import { type EventsOptions, eventsOptions } from './options.ts'

export interface EventsStats {
  readonly connected: boolean
  /** Whether the migration of `tidings generate-migration` was applied; null before the first check. */
  readonly installed: boolean | null
  /** The installed prefix of channel names, such as 'shop.'; null if not known. Other prefixes carry no events. */
  readonly prefix: string | null
  /** The channels listened to. */
  readonly channels: readonly string[]
  /** Events for this reader, dropped ones too. */
  readonly received: number
  /** Events that found the buffer full. */
  readonly dropped: number
  readonly parseErrors: number
  readonly connectionErrors: number
  readonly handlerErrors: number
  /** How full the buffer is, from 0 to 1. */
  readonly saturation: number
  /** By the buffer: healthy below 80 %, critical from 95 %. */
  readonly health: 'healthy' | 'degraded' | 'critical'
  readonly lastEventAt: Date | null
  readonly lastErrorAt: Date | null
}

interface EventsDependencies {
  readonly wakeups: Pick<Wakeups, 'subscribe' | 'hears' | 'installed' | 'prefix'>
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * The events of queues, for one reader: `for await (const event of events)` or `events.listen(handler)`. Events are signals
 * and can be missed, while the connection is down or the buffer full. Messages cannot be missed.
 */
export class Events extends Service implements AsyncIterable<QueueEvent> {
  readonly #dependencies: EventsDependencies
  readonly #options: option.OptionsOutput<typeof eventsOptions>
  readonly #channels: readonly string[]
  readonly #subscriber: Subscriber
  readonly #buffer: QueueEvent[] = []
  #watch: Watch | undefined
  #isRead = false
  #handling: Promise<void> | undefined
  #wakeUp: () => void = () => {}
  readonly #counts = { received: 0, dropped: 0, parseErrors: 0, connectionErrors: 0, handlerErrors: 0 }
  #lastEventAt: Date | null = null
  #lastErrorAt: Date | null = null

  constructor(options: EventsOptions | undefined, dependencies: EventsDependencies) {
    super()
    this.#options = option.parseOptions(eventsOptions, options, 'events')
    this.#dependencies = dependencies
    const { prefix, namespace } = this.#options
    this.#channels = channelsOf(prefix, namespace)
    this.#subscriber = {
      interests: interestsIn([...this.#channels, channelOf.due(prefix)]),
      notified: (channel, text) => this.#notified(channel, text),
      interrupted: (error) => this.#failed(error),
      troubled: (error) => this.#failed(error),
      stop: () => this.stop(),
    }
  }

  /** @example const { received } = bus.events().stats() */
  stats(): EventsStats {
    const { wakeups } = this.#dependencies
    const saturation = this.#buffer.length / this.#options.buffer
    return {
      connected: this.state === 'running' && wakeups.hears(this.#subscriber),
      installed: wakeups.installed,
      prefix: wakeups.prefix,
      channels: this.#channels,
      ...this.#counts,
      saturation,
      health: saturation < 0.8 ? 'healthy' : saturation < 0.95 ? 'degraded' : 'critical',
      lastEventAt: this.#lastEventAt,
      lastErrorAt: this.#lastErrorAt,
    }
  }

  /**
   * Calls the handler with each event, one after the other. Errors of the handler are counted and logged, and end nothing.
   * @returns once the connection listens
   * @example await bus.events().listen((event) => console.log(event))
   */
  async listen(handler: (event: QueueEvent) => void | Promise<void>): Promise<void> {
    this.#takeReader()
    this.#handling = this.#handleAll(handler)
    await this.start()
  }

  async #handleAll(handler: (event: QueueEvent) => void | Promise<void>): Promise<void> {
    for (let event = await this.#next(); event !== null; event = await this.#next()) {
      try {
        await this.call(() => handler(event))
      } catch (error) {
        this.#counts.handlerErrors++
        this.#noteError(error, 'the handler of an event threw', null)
      }
    }
  }

  /** Starts the service; leaving the loop stops it. */
  async *[Symbol.asyncIterator](): AsyncGenerator<QueueEvent, void, undefined> {
    this.#takeReader()
    try {
      await this.start()
      for (let event = await this.#next(); event !== null; event = await this.#next()) yield event
    } finally {
      await this.stop()
    }
  }

  #takeReader(): void {
    if (this.#isRead) throw new TidingsError('OPTION_CONFLICT', 'these events have a reader already; ask for others')
    this.#isRead = true
  }

  /** @returns null once the service is stopped */
  async #next(): Promise<QueueEvent | null> {
    for (;;) {
      if (this.state === 'stopping' || this.state === 'stopped') return null
      const event = this.#buffer.shift()
      if (event !== undefined) return event
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve
      })
    }
  }

  protected override async onStart(): Promise<void> {
    const { wakeups, logger } = this.#dependencies
    this.#watch = await wakeups.subscribe(this.#subscriber)
    const { prefix } = wakeups
    const [channel = ''] = this.#channels
    if (prefix !== null && !channel.startsWith(`${prefix}pgmq_`))
      logger.warn({ prefix }, `nothing comes through ${channel}: check the prefix of the events`)
  }

  protected override async onStop(): Promise<void> {
    this.#wakeUp()
    this.#watch?.close()
    await this.#handling
  }

  #notified(channel: string, text: string): void {
    const event = this.#read(channel, text)
    const { namespace, queue, buffer } = this.#options
    if (event === null || (isInternalQueue(event.queue) && event.queue !== queue)) return
    if ((namespace !== null && !namespace.includes(event.namespace)) || (queue !== null && event.queue !== queue))
      return
    this.#counts.received++
    this.#lastEventAt = new Date(this.#dependencies.clock.now())
    if (this.#buffer.length < buffer) this.#buffer.push(event)
    else this.#counts.dropped++
    this.#wakeUp()
  }

  #read(channel: string, text: string): QueueEvent | null {
    try {
      return parseEvent(text)
    } catch (error) {
      this.#counts.parseErrors++
      const { onParseError } = this.#options
      const tell = onParseError && (() => onParseError(error as Error, { channel, text }))
      this.#noteError(error, `what came through ${channel} is no event`, tell)
      return null
    }
  }

  #failed(error: unknown): void {
    this.#counts.connectionErrors++
    const { onConnectionError } = this.#options
    const tell = onConnectionError && (() => onConnectionError(error))
    this.#noteError(error, 'the connection for events failed; it is tried again', tell)
  }

  /** Never throws, even if the user's functions do. */
  #noteError(error: unknown, message: string, tell: (() => void) | null): void {
    const { clock, logger } = this.#dependencies
    this.#lastErrorAt = new Date(clock.now())
    try {
      if (tell) tell()
      else logger.warn({ err: loggable(error) }, message)
    } catch (thrown) {
      logger.warn({ err: loggable(thrown) }, `the function that was told of an error threw: ${message}`)
    }
  }
}
