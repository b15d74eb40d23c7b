import type { Bus } from 'tidings'
import { isTidingsError, TidingsError } from 'tidings/internal/core/errors'
import { interestsIn } from 'tidings/internal/events/channels'
import type { Interest } from 'tidings/internal/port/listening'
import { noEvents } from 'tidings/internal/port/refusals'
import type { Subscriber, Watch } from 'tidings/internal/port/wakeups'
import type { EventSink, Reply } from '../http/route.ts'
import type { Seats } from '../http/stream-limit.ts'

/** What came through a channel, or what kept the storage from announcing something. */
type Heard = { readonly channel: string; readonly text: string } | { readonly trouble: TidingsError }

interface Hall {
  readonly bus: Bus
  readonly seats: Seats
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
export async function hearing(hall: Hall, tell: (heard: Heard, events: EventSink) => Promise<unknown>): Promise<Reply> {
  const { stored, wakeups } = hall.bus
  if (!stored.storage.supports.has('events')) throw noEvents(stored.storage.name)
  const leaveSeat = hall.seats.take()
  const audience = new Audience(hall)
  const leave = () => {
    audience.leave()
    leaveSeat()
  }
  try {
    await audience.enter()
  } catch (error) {
    leave()
    throw error
  }
  return {
    async run(events) {
      const tellAll = async () => {
        await events.send('listening', { installed: wakeups.installed === true, prefix: wakeups.prefix })
        for (let heard = await audience.next(); heard !== null; heard = await audience.next()) await tell(heard, events)
      }
      // Nobody waits any longer for a client that reads nothing.
      await Promise.race([tellAll(), audience.over]).finally(leave)
    },
  }
}

/** How much may wait for a client that reads slowly. */
const maxWaiting = 1_000

/**
 * One client. What makes it miss something ends it, so that it knows: the connection to the storage broke, or it reads
 * too slowly.
 */
class Audience implements Subscriber {
  readonly interests: readonly Interest[]
  /** Settled when the client has gone; rejected when it has missed something. */
  readonly over: Promise<void>
  readonly #bus: Bus
  readonly #signal: AbortSignal
  readonly #waiting: Heard[] = []
  #watch: Watch | undefined
  #failure: unknown = null
  #ring = () => {}
  #end: (failure?: Promise<never>) => void = () => {}

  constructor({ bus, channels, signal }: Hall) {
    this.#bus = bus
    this.interests = interestsIn(channels)
    this.#signal = signal
    this.over = new Promise((resolve) => {
      this.#end = resolve
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
  async next(): Promise<Heard | null> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure
      if (this.#signal.aborted) return null
      const next = this.#waiting.shift()
      if (next !== undefined) return next
      await new Promise<void>((resolve) => {
        this.#ring = resolve
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

  #add(heard: Heard): void {
    if (this.#waiting.length < maxWaiting) this.#waiting.push(heard)
    else this.#fail(tooSlow())
    this.#ring()
  }

  #fail(error: unknown): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#end(Promise.reject(error))
    this.#ring()
  }

  readonly #gone = (): void => {
    this.#end()
    this.#ring()
  }
}

const tooSlow = () =>
  new TidingsError('CONNECTION_LOST', `the client reads too slowly: ${maxWaiting} events wait for it`, {
    hint: 'Read faster, or ask for less: one namespace, or one queue. What was missed is in the queues.',
  })
