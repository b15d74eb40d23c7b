import type { Bus } from 'tidings'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { interestsIn } from 'tidings/internal/events/channels'
import type { Interest } from 'tidings/internal/port/listening'
import { noEvents } from 'tidings/internal/port/refusals'
import type { Subscriber, Watch } from 'tidings/internal/port/wakeups'
import type { EventSink, Reply } from '../http/route.ts'
import type { StreamLimit } from '../http/stream-limit.ts'

/** What came through a channel, or what kept the storage from announcing something. */
type Notice = { readonly channel: string; readonly text: string } | { readonly trouble: TidingsError }

interface ChannelStreamSettings {
  readonly bus: Bus
  readonly streamLimit: StreamLimit
  readonly channels: readonly string[]
  /** Aborted when the client has gone or the server stops. */
  readonly signal: AbortSignal
}

/**
 * An answer of events about what comes through channels. They are listened to before anything is answered, so that what
 * is wrong with it has a status of its own.
 * @param tell what of it is for the client
 * @throws UNSUPPORTED, TOO_MANY_STREAMS; CONNECTION_FAILED and the like
 */
export async function streamChannels(
  settings: ChannelStreamSettings,
  tell: (notice: Notice, events: EventSink) => Promise<unknown>,
): Promise<Reply> {
  const { stored, wakeups } = settings.bus
  if (!stored.storage.supports.has('events')) throw noEvents(stored.storage.name)
  const freePlace = settings.streamLimit.take()
  const stream = new ChannelStream(settings)
  const leave = () => {
    stream.leave()
    freePlace()
  }
  try {
    await stream.enter()
  } catch (error) {
    leave()
    throw error
  }
  return {
    async run(events) {
      const tellAll = async () => {
        await events.send('listening', { installed: wakeups.installed === true, prefix: wakeups.prefix })
        for (let notice = await stream.next(); notice !== null; notice = await stream.next()) await tell(notice, events)
      }
      // Nobody waits any longer for a client that reads nothing.
      await Promise.race([tellAll(), stream.over]).finally(leave)
    },
  }
}

/** How much may wait for a client that reads slowly. */
const maxWaiting = 1_000

/**
 * One client. What makes it miss something ends it, so that it knows: the connection to the storage broke, or it reads
 * too slowly.
 */
class ChannelStream implements Subscriber {
  readonly interests: readonly Interest[]
  /** Settled when the client has gone; rejected when it has missed something. */
  readonly over: Promise<void>
  readonly #bus: Bus
  readonly #signal: AbortSignal
  readonly #waiting: Notice[] = []
  #watch: Watch | undefined
  #failure: unknown = null
  #wakeUp = () => {}
  #left = () => {}
  #failed: (error: unknown) => void = () => {}

  constructor({ bus, channels, signal }: ChannelStreamSettings) {
    this.#bus = bus
    this.interests = interestsIn(channels)
    this.#signal = signal
    this.over = new Promise((resolve, reject) => {
      this.#left = resolve
      this.#failed = reject
    })
    this.over.catch(() => {})
  }

  /** @throws what ended it at once */
  async enter(): Promise<void> {
    this.#signal.addEventListener('abort', this.#gone, { once: true })
    if (this.#signal.aborted) this.#gone()
    this.#watch = await this.#bus.wakeups.subscribe(this)
    if (this.#failure !== null) throw this.#failure
  }

  leave(): void {
    this.#signal.removeEventListener('abort', this.#gone)
    this.#watch?.close()
  }

  /** @returns null once the client has gone. @throws what made it miss something */
  async next(): Promise<Notice | null> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure
      if (this.#signal.aborted) return null
      const next = this.#waiting.shift()
      if (next !== undefined) return next
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve
      })
    }
  }

  notified(channel: string, text: string): void {
    this.#add({ channel, text })
  }

  interrupted(error: unknown): void {
    this.#fail(error)
  }

  troubled(error: unknown): void {
    if (isTidingsError(error)) this.#add({ trouble: error })
  }

  async stop(): Promise<void> {
    this.#fail(new TidingsError('CLOSED', 'the bus was closed'))
  }

  #add(notice: Notice): void {
    if (this.#waiting.length < maxWaiting) this.#waiting.push(notice)
    else this.#fail(tooSlow())
    this.#wakeUp()
  }

  #fail(error: unknown): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#failed(error)
    this.#wakeUp()
  }

  readonly #gone = (): void => {
    this.#left()
    this.#wakeUp()
  }
}

const tooSlow = () =>
  new TidingsError('CONNECTION_LOST', `the client reads too slowly: ${maxWaiting} events wait for it`, {
    hint: 'Read faster, or ask for less: one namespace, or one queue. What was missed is in the queues.',
  })
