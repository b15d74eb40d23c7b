import { systemClock, type Timer } from '../../core/clock.ts'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
import { type Interest, isChannel, type Listener, type Listening, nameIn } from '../../port/listening.ts'
import { noEvents } from '../../port/refusals.ts'
import type { Topology } from './cluster.ts'
import type { Driver } from './driver.ts'
import { Lost, toTidingsError } from './errors.ts'
import { channelOf, topicChannelOf } from './keys.ts'
import type { Registry } from './registry.ts'
import type { Server } from './server.ts'
import { SubscriberConnection } from './subscriber-connection.ts'

/** How often it is looked whether everything is still where it is listened for. */
const lookMs = 2_000

/** Listens over one connection to each server that has something of what is asked for. */
export class RedisListening implements Listening {
  readonly #driver: Driver
  readonly #queues: Registry
  readonly #topics: Registry
  readonly #listener: Listener
  readonly #subscribers = new Map<Server, SubscriberConnection>()
  /** Which connection hears of what. */
  readonly #heard = new Map<Interest, SubscriberConnection>()
  readonly #interests = new Map<string, Interest>()
  #look: Timer | undefined
  readonly #ended: () => void
  #isClosed = false

  /** @param ended called when it is closed */
  constructor(
    driver: Driver,
    { queues, topics }: { queues: Registry; topics: Registry },
    listener: Listener,
    ended: () => void,
  ) {
    this.#ended = ended
    this.#driver = driver
    this.#queues = queues
    this.#topics = topics
    this.#listener = listener
  }

  async listen(interests: readonly Interest[]): Promise<ReadonlyMap<Interest, unknown>> {
    if (this.#isClosed) throw new TidingsError('CLOSED', 'the connection was closed')
    const failures = new Map<Interest, unknown>()
    const listen = (interest: Interest) =>
      this.#listen(interest).catch((error: unknown) => failures.set(interest, error))
    await Promise.all(interests.map(listen))
    // A node that is away may have been replaced.
    if ([...failures.values()].some((error) => !isMissing(error))) await this.#driver.topology.refresh().catch(() => {})
    this.#lookLater()
    return failures
  }

  async #listen(interest: Interest): Promise<void> {
    if (isChannel(interest)) throw noEvents('redis')
    const channel = channelTo(interest)
    const subscriber = this.#subscriberAt(this.#driver.topology.serverOf(channel))
    const before = this.#heard.get(interest)
    if (before !== subscriber) before?.unsubscribe(channel)
    this.#heard.set(interest, subscriber)
    this.#interests.set(channel, interest)
    try {
      await subscriber.subscribe(channel)
      await this.#mustBeThere(interest)
    } catch (error) {
      // One that was listened to before goes on, though its queue may be gone.
      if (before !== subscriber) this.#forget(interest)
      throw toTidingsError(error, this.#driver.where, 'CONNECTION_LOST')
    }
  }

  /** Readers wait while the server is away, too. */
  async #mustBeThere(interest: Interest): Promise<void> {
    const name = nameIn(interest)
    const there = interest.startsWith('topic:') ? this.#topics.mustHave(name) : this.#queues.mustHave(name)
    await there.catch((error: unknown) => {
      if (isMissing(error)) throw error
    })
  }

  unlisten(interests: readonly Interest[]): void {
    for (const interest of interests) this.#forget(interest)
  }

  #forget(interest: Interest): void {
    this.#heard.get(interest)?.unsubscribe(channelTo(interest))
    this.#heard.delete(interest)
    this.#interests.delete(channelTo(interest))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#ended()
    this.#look?.cancel()
    this.#heard.clear()
    this.#interests.clear()
    for (const subscriber of this.#subscribers.values()) subscriber.close()
  }

  #subscriberAt(server: Server): SubscriberConnection {
    const found = this.#subscribers.get(server)
    if (found) return found
    const subscriber = new SubscriberConnection(server, {
      heard: (channel, text) => {
        const interest = this.#interests.get(channel)
        if (interest !== undefined) this.#listener.woken(interest, Number(text) || 0)
      },
      lost: (error) => {
        if (this.#subscribers.get(server) === subscriber) this.#subscribers.delete(server)
        void this.#driver.topology.refresh().catch(() => {})
        this.#lose((_, place) => place === subscriber, error)
      },
    })
    this.#subscribers.set(server, subscriber)
    return subscriber
  }

  #lose(isLost: (interest: Interest, subscriber: SubscriberConnection) => boolean, error: unknown): void {
    const lost = [...this.#heard].filter(([interest, subscriber]) => isLost(interest, subscriber))
    for (const [interest] of lost) this.#forget(interest)
    if (lost.length === 0 || this.#isClosed) return
    this.#listener.lost(
      lost.map(([interest]) => interest),
      toTidingsError(error, this.#driver.where, 'CONNECTION_LOST'),
    )
  }

  /** A slot may have gone to another node, and a half-open connection tells nothing. */
  #lookLater(): void {
    if (this.#look || this.#isClosed || this.#heard.size === 0) return
    this.#look = systemClock.after(lookMs, () => void this.#lookNow())
  }

  async #lookNow(): Promise<void> {
    const { topology } = this.#driver
    const checks = [...this.#subscribers.values()].map((subscriber) => subscriber.check())
    await Promise.all([topology.refresh().catch(() => {}), ...checks])
    this.#look = undefined
    if (this.#isClosed) return
    this.#lose(
      (interest, { server }) => isElsewhere(topology, interest, server),
      new Lost('its keys are elsewhere now'),
    )
    this.#lookLater()
  }
}

function isElsewhere(topology: Topology, interest: Interest, server: Server): boolean {
  try {
    return topology.serverOf(channelTo(interest)) !== server
  } catch {
    return true
  }
}

const isMissing = (error: unknown) =>
  isTidingsError(error, 'QUEUE_NOT_FOUND') || isTidingsError(error, 'TOPIC_NOT_FOUND')

function channelTo(interest: Interest): string {
  const name = nameIn(interest)
  return interest.startsWith('topic:') ? topicChannelOf(name) : channelOf(name)
}
