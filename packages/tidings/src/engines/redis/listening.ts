import { systemClock, type Timer } from '../../core/clock.ts'
import { isTidingsError, TidingsError } from '../../core/errors.ts'
import {
  type Interest,
  isCancels,
  isChannel,
  isPlace,
  type Listener,
  type Listening,
  nameIn,
} from '../../port/listening.ts'
import { noEvents } from '../../port/refusals.ts'
import type { Topology } from './cluster.ts'
import type { Driver } from './driver.ts'
import { Lost, toTidingsError } from './errors.ts'
import { cancelChannelOf, channelOf, scheduleChannel, topicChannelOf } from './keys.ts'
import { Life } from './life.ts'
import { Look, lookMs, untilNextLook } from './look.ts'
import type { Registry } from './registry.ts'
import type { Server } from './server.ts'
import { SubscriberConnection } from './subscriber-connection.ts'

/** One look of so many asks whether the connections that listen are half-open. */
const checkedEvery = 10
/** So soon a look is answered. If it is not, the connections that listen are asked, too. */
const promptMs = 500

/** Listens over one connection to each server that has something of what is asked for, or that this process has in hand. */
export class RedisListening implements Listening {
  readonly lookMs: number
  readonly #driver: Driver
  readonly #queues: Registry
  readonly #topics: Registry
  readonly #listener: Listener
  readonly #subscribers = new Map<Server, SubscriberConnection>()
  /** Which connection hears of what. */
  readonly #heard = new Map<Interest, SubscriberConnection>()
  readonly #interests = new Map<string, Interest>()
  readonly #life = new Life()
  #wantsLife = false
  readonly #look: Look
  #nextLook: Timer | undefined
  #looks = 0
  readonly #awoken = () => this.#lookLater()
  readonly #ended: () => void
  #isClosed = false

  /** @param ended called when it is closed */
  constructor(
    driver: Driver,
    { queues, topics }: { queues: Registry; topics: Registry },
    listener: Listener,
    ended: () => void,
  ) {
    this.lookMs = driver.wakefulness.sleeps ? Number.POSITIVE_INFINITY : lookMs
    driver.wakefulness.woken.add(this.#awoken)
    this.#ended = ended
    this.#driver = driver
    this.#queues = queues
    this.#topics = topics
    this.#listener = listener
    this.#look = new Look(driver, this.#life, (interest, dueMs) => {
      if (this.#heard.has(interest)) listener.woken(interest, dueMs)
    })
  }

  get wantsLife(): boolean {
    return this.#wantsLife
  }

  async listen(interests: readonly Interest[]): Promise<ReadonlyMap<Interest, unknown>> {
    if (this.#isClosed) throw new TidingsError('CLOSED', 'the connection was closed')
    const failures = new Map<Interest, unknown>()
    const listen = (interest: Interest) =>
      this.#listen(interest).catch((error: unknown) => failures.set(interest, error))
    // Others take this process for gone until it is in force again.
    const first = interests.filter((interest) => interest === 'life')
    await Promise.all([...first, ...interests.filter((interest) => interest !== 'life')].map(listen))
    // A node that is away may have been replaced.
    if ([...failures.values()].some((error) => !isMissing(error))) await this.#driver.topology.refresh().catch(() => {})
    this.#lookLater()
    return failures
  }

  async #listen(interest: Interest): Promise<void> {
    if (interest === 'life') return this.#listenForLife()
    if (isChannel(interest)) throw noEvents('redis')
    const channel = channelTo(interest)
    const subscriber = this.#subscriberAt(this.#driver.topology.serverOf(channel))
    const before = this.#heard.get(interest)
    if (before !== subscriber) before?.unsubscribe(channel)
    this.#heard.set(interest, subscriber)
    this.#interests.set(channel, interest)
    try {
      await subscriber.subscribe(channel)
      if (this.#wantsLife) await this.#life.keepAt(subscriber)
      await this.#mustBeThere(interest)
      this.#look.see(interest, subscriber)
    } catch (error) {
      // One that was listened to before goes on, though its queue may be gone.
      if (before !== subscriber) this.#forget(interest)
      throw toTidingsError(error, this.#driver.where, 'CONNECTION_LOST')
    }
  }

  async #listenForLife(): Promise<void> {
    this.#wantsLife = true
    try {
      await Promise.all([this.#life.begin(), ...this.#lifeAt().map((subscriber) => this.#life.keepAt(subscriber))])
    } catch (error) {
      throw toTidingsError(error, this.#driver.where, 'CONNECTION_LOST')
    }
  }

  /** Where the life of this process has to be known: on the servers that have what it has in hand or looks into. */
  #lifeAt(): SubscriberConnection[] {
    const { topology } = this.#driver
    const servers = topology.isCluster
      ? [...this.#life.held, ...this.#heard.keys()].map((interest) => topology.serverOf(channelTo(interest)))
      : topology.servers()
    return [...new Set(servers)].map((server) => this.#subscriberAt(server))
  }

  /** @returns the token by which leases there belong to this process; '' if they cannot */
  async holdIn(interest: Interest, leaseMs: number): Promise<string> {
    try {
      const subscriber = this.#subscriberAt(this.#driver.topology.serverOf(channelTo(interest)))
      if (!(await this.#life.keepAt(subscriber)) || this.#isClosed) return ''
      this.#life.hold(interest, leaseMs)
      this.#look.see(interest, subscriber)
      this.#lookLater()
      return this.#life.token
    } catch {
      return ''
    }
  }

  /** Leases that are in hand there go on for so long. */
  prolong(interest: Interest, leaseMs: number): void {
    this.#life.prolong(interest, leaseMs)
  }

  /** Readers wait while the server is away, too. */
  async #mustBeThere(interest: Interest): Promise<void> {
    if (!isPlace(interest)) return
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
    if (interest === 'life') {
      this.#wantsLife = false
      this.#life.end()
    }
    if (!this.#heard.has(interest)) return
    this.#heard.get(interest)?.unsubscribe(channelTo(interest))
    this.#heard.delete(interest)
    this.#interests.delete(channelTo(interest))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#driver.wakefulness.woken.delete(this.#awoken)
    this.#ended()
    this.#wantsLife = false
    this.#nextLook?.cancel()
    this.#look.stop()
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
        if (interest === undefined) return
        if (text === 'changed') this.#listener.changed?.(interest)
        this.#listener.woken(interest, Number(text) || 0)
      },
      lost: (error) => {
        if (this.#subscribers.get(server) === subscriber) this.#subscribers.delete(server)
        void this.#driver.topology.refresh().catch(() => {})
        const hasKeptLife = this.#life.leave(subscriber)
        // Without delay: the others do not wait for long.
        if (hasKeptLife && this.#wantsLife) this.#life.keepAt(this.#subscriberAt(server)).catch(() => {})
        this.#lose((_, place) => place === subscriber, error, hasKeptLife)
      },
    })
    this.#subscribers.set(server, subscriber)
    return subscriber
  }

  #lose(isLost: (interest: Interest, subscriber: SubscriberConnection) => boolean, error: unknown, andLife: boolean) {
    const lost = [...this.#heard].filter(([interest, subscriber]) => isLost(interest, subscriber)).map(([one]) => one)
    for (const interest of lost) this.#forget(interest)
    if (andLife && this.#wantsLife) lost.push('life')
    if (lost.length > 0 && !this.#isClosed)
      this.#listener.lost(lost, toTidingsError(error, this.#driver.where, 'CONNECTION_LOST'))
  }

  #lookLater(): void {
    if (this.#nextLook || this.#isClosed || this.#places().size === 0) return
    if (!this.#driver.wakefulness.mayLook) return
    this.#nextLook = systemClock.after(untilNextLook(), () => void this.#lookNow())
  }

  /** A slot may have gone to another node, and a half-open connection tells nothing. */
  async #lookNow(): Promise<void> {
    const { topology } = this.#driver
    const check = () => Promise.all([...this.#subscribers.values()].map((subscriber) => subscriber.check()))
    const checkLate = systemClock.after(promptMs, () => void check())
    await Promise.all([
      topology.refresh().catch(() => {}),
      ++this.#looks % checkedEvery === 0 && check(),
      this.#look.now(this.#places()),
    ])
    checkLate.cancel()
    this.#nextLook = undefined
    if (this.#isClosed) return
    this.#lose(
      (interest, { server }) => isElsewhere(topology, interest, server),
      new Lost('its keys are elsewhere now'),
      this.#isLifeMissing(),
    )
    this.#lookLater()
  }

  /** What is listened to, and what something is in hand of, by its connection. */
  #places(): Map<Interest, SubscriberConnection> {
    const places = new Map(this.#heard)
    if (!this.#wantsLife) return places
    for (const interest of this.#life.held) {
      const subscriber = [...this.#subscribers.values()].find(
        ({ server }) => !isElsewhere(this.#driver.topology, interest, server),
      )
      if (subscriber && !places.has(interest)) places.set(interest, subscriber)
    }
    return places
  }

  /** What is in hand has gone to a node that does not know this process yet: it is made known there. */
  #isLifeMissing(): boolean {
    if (!this.#wantsLife) return false
    try {
      const missing = this.#lifeAt().filter((subscriber) => this.#life.isMissingAt(subscriber))
      for (const subscriber of missing) this.#life.keepAt(subscriber).catch(() => {})
      return missing.length > 0
    } catch {
      // No node is known for something.
      return true
    }
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
  if (interest === 'schedules') return scheduleChannel
  const name = nameIn(interest)
  if (isCancels(interest)) return cancelChannelOf(name)
  return interest.startsWith('topic:') ? topicChannelOf(name) : channelOf(name)
}
