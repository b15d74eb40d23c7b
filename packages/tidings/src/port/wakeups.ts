import type { Clock, Timer } from '../core/clock.ts'
import { type ErrorCode, isTidingsError, TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { loggable } from '../core/message-error.ts'
import type { Engine } from './engine.ts'
import type { Announcing, Interest, Listener, Listening } from './listening.ts'

/** Ends a listening. */
export interface Watch {
  close(): void
}

/** Who wants to hear of something. */
export interface Subscriber {
  readonly interests: readonly Interest[]
  /** There may be something in a queue or topic, now or in so many milliseconds. May come too often. */
  woken?(dueMs: number): void
  /** Settings of the queue were changed, or may have been. */
  changed?(): void
  /** Something came through a channel. */
  notified?(channel: string, text: string): void
  /** What is announced from now on, until the storage can be listened to again, is missed. */
  interrupted?(error: unknown): void
  /** What is due could not be announced; it is tried again. */
  troubled?(error: unknown): void
  /** The bus is closed. */
  stop?(): Promise<void>
}

/** One interest, and who shares it. */
interface Shared {
  readonly subscribers: Set<Subscriber>
  /** The answer that is still to come; undefined: nothing is asked for. */
  asking: Promise<unknown> | undefined
  inForce: boolean
  /** Whether something may have been missed. */
  missed: boolean
  /** Whether it was lost since it was asked for. */
  wasLost: boolean
}

const firstPauseMs = 100
const longestPauseMs = 1_000
/** A connection that nobody listens on is kept for the next one. */
const idleMs = 10_000

/**
 * The one connection by which all users of a bus hear of new messages. What breaks is asked for again until it is in
 * force; then everybody concerned is woken, since what was announced meanwhile was missed. While nothing can be heard,
 * the slow poll of the readers has to do.
 */
export class Wakeups {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #shared = new Map<Interest, Shared>()
  /** What is asked for at the end of this tick, and who is told of the failure. */
  readonly #asks = new Map<Interest, (failure: unknown) => void>()
  readonly #listener: Listener
  #listening: Promise<Listening> | undefined
  #by: Announcing | null = null
  #isTroubled = false
  #isPolling = false
  #lookMs: number | null = null
  #pauseMs = firstPauseMs
  #retry: Timer | undefined
  #idle: NodeJS.Timeout | undefined
  #closed = false

  constructor({ engine, clock, logger }: { engine: Engine; clock: Clock; logger: Logger }) {
    this.#engine = engine
    this.#clock = clock
    this.#logger = logger
    this.#listener = {
      woken: (interest, dueMs) => this.#tellAll([interest], (one) => one.woken?.(dueMs)),
      changed: (interest) => this.#tellAll([interest], (one) => one.changed?.()),
      notified: (channel, text) => this.#tellAll([`channel:${channel}`], (one) => one.notified?.(channel, text)),
      lost: (interests, error) => this.#lost(interests, error),
      announcing: (by) => this.#announcing(by),
      troubled: (error) => this.#troubled(error),
      polling: (why) => this.#polling(why),
    }
  }

  /** Whether anything in the storage announces messages through channels; null if that is not known. */
  get installed(): boolean | null {
    return this.#by?.installed ?? null
  }

  /** What the names of the channels start with, where that is known. */
  get prefix(): string | null {
    return this.#by?.prefix ?? null
  }

  /** Whether everything that the subscriber wants to hear of is heard of. */
  hears({ interests }: Subscriber): boolean {
    return interests.every((interest) => this.#shared.get(interest)?.inForce)
  }

  /** How often the storage itself looks for what nobody announced; null: it does not, or it cannot be heard now. */
  lookMs(interest: Interest): number | null {
    return this.#shared.get(interest)?.inForce ? this.#lookMs : null
  }

  /** @returns once it is in force, or was found to be out of reach for now @throws as `subscribe` */
  watch(interest: Interest, woken: (dueMs: number) => void): Promise<Watch> {
    return this.subscribe({ interests: [interest], woken })
  }

  /**
   * Resolves once all is in force, or some of it is out of reach for now, of which the subscriber is told.
   * @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND; UNSUPPORTED behind a pooler; CLOSED; UNAUTHORIZED and FORBIDDEN of a server, and
   *   CONFIG_INVALID for a channel that it lets nobody listen to
   */
  async subscribe(subscriber: Subscriber): Promise<Watch> {
    if (this.#closed) throw closed()
    clearTimeout(this.#idle)
    for (const interest of subscriber.interests) this.#sharedBy(interest).subscribers.add(subscriber)
    const watch = { close: () => this.#remove(subscriber) }
    const failures = (await Promise.all(subscriber.interests.map((one) => this.#ask(one)))).filter(Boolean)
    const final = failures.find(isFinal)
    if (this.#closed || final !== undefined) {
      watch.close()
      throw this.#closed ? closed() : final
    }
    if (failures.length > 0) subscriber.interrupted?.(failures[0])
    return watch
  }

  async close(): Promise<void> {
    this.#closed = true
    const subscribers = new Set([...this.#shared.values()].flatMap((shared) => [...shared.subscribers]))
    await Promise.all([...subscribers].map((one) => one.stop?.()))
    this.#retry?.cancel()
    clearTimeout(this.#idle)
    this.#shared.clear()
    await this.#stopListening()
  }

  async #stopListening(): Promise<void> {
    const listening = this.#listening
    this.#listening = undefined
    // One that could not be made needs no end.
    await listening?.then((one) => one.close()).catch(() => {})
  }

  #sharedBy(interest: Interest): Shared {
    const shared = this.#shared.get(interest) ?? {
      subscribers: new Set(),
      asking: undefined,
      inForce: false,
      missed: false,
      wasLost: false,
    }
    this.#shared.set(interest, shared)
    return shared
  }

  #remove(subscriber: Subscriber): void {
    const unwanted: Interest[] = []
    for (const interest of subscriber.interests) {
      const shared = this.#shared.get(interest)
      if (!shared?.subscribers.delete(subscriber) || shared.subscribers.size > 0) continue
      this.#shared.delete(interest)
      // What is still asked for is given back when the answer comes.
      if (shared.inForce) unwanted.push(interest)
    }
    if (unwanted.length > 0) this.#unlisten(unwanted)
    if (this.#shared.size > 0 || this.#closed) return
    this.#retry?.cancel()
    this.#retry = undefined
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.#stopListening(), idleMs).unref()
  }

  /**
   * What is in force is asked for too: it may be gone by now.
   * @returns the error, if it is not in force; undefined if it is
   */
  #ask(interest: Interest): Promise<unknown> {
    const shared = this.#sharedBy(interest)
    shared.asking ??= this.#askSoon(interest).then((failure) => this.#answered(interest, shared, failure))
    return shared.asking
  }

  /** Together with what else is asked for in this tick. */
  #askSoon(interest: Interest): Promise<unknown> {
    if (this.#asks.size === 0) queueMicrotask(() => void this.#askAll())
    return new Promise((resolve) => {
      const before = this.#asks.get(interest)
      this.#asks.set(interest, (failure) => {
        before?.(failure)
        resolve(failure)
      })
    })
  }

  #answered(interest: Interest, shared: Shared, failure: unknown): unknown {
    shared.asking = undefined
    // Nobody wants it any more, or somebody who asks for it again.
    if (this.#shared.get(interest) !== shared) {
      if (!this.#shared.has(interest)) this.#unlisten([interest])
      return failure
    }
    if (failure === undefined && !shared.wasLost) {
      shared.inForce = true
      if (shared.missed)
        this.#tellAll([interest], (one) => {
          one.woken?.(0)
          one.changed?.()
        })
      shared.missed = false
    } else if (!shared.inForce) {
      shared.missed = true
      // An engine that was closed stays so.
      if (!isTidingsError(failure, 'CLOSED')) this.#tryLater()
    }
    return failure
  }

  #unlisten(interests: readonly Interest[]): void {
    this.#listening?.then((one) => one.unlisten(interests)).catch(() => {})
  }

  async #askAll(): Promise<void> {
    const asked = [...this.#asks]
    this.#asks.clear()
    for (const [interest] of asked) Object.assign(this.#shared.get(interest) ?? {}, { wasLost: false })
    try {
      this.#listening ??= this.#engine.listen(this.#listener).catch((error: unknown) => {
        this.#listening = undefined
        throw error
      })
      const listening = await this.#listening
      const refused = await listening.listen(asked.map(([interest]) => interest))
      this.#lookMs = listening.lookMs ?? null
      for (const [interest, tell] of asked) tell(refused.get(interest))
    } catch (error) {
      for (const [, tell] of asked) tell(error)
    }
  }

  #lost(interests: readonly Interest[], error: unknown): void {
    const wanted = interests.filter((interest) => this.#shared.has(interest))
    for (const interest of wanted)
      Object.assign(this.#shared.get(interest)!, { inForce: false, missed: true, wasLost: true })
    this.#tellAll(wanted, (one) => one.interrupted?.(error))
    if (wanted.length > 0) this.#tryLater()
  }

  #announcing(by: Announcing): void {
    if (!by.installed && this.#by === null)
      this.#logger.warn({}, 'nothing in this database announces messages yet: see `tidings generate-migration`')
    this.#by = by
    this.#isTroubled = false
  }

  /** Those who hear through a server are not told what the storage said; its log is. */
  #troubled(error: unknown): void {
    if (!this.#isTroubled)
      this.#logger.warn({ err: loggable(error) }, 'what is due cannot be announced; it is tried again')
    this.#isTroubled = true
    this.#tellAll(this.#shared.keys(), (one) => one.troubled?.(error))
  }

  #polling(error: unknown): void {
    if (!this.#isPolling)
      this.#logger.warn({ err: loggable(error) }, 'new messages are found by polling twice a second')
    this.#isPolling = true
  }

  #tryLater(): void {
    if (this.#closed || this.#retry) return
    this.#retry = this.#clock.after(this.#pauseMs, () => void this.#tryAgain())
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  async #tryAgain(): Promise<void> {
    this.#retry = undefined
    const missing = [...this.#shared.keys()].filter((interest) => !this.#shared.get(interest)!.inForce)
    const failures = await Promise.all(missing.map((interest) => this.#ask(interest)))
    const failed = missing.filter((_, index) => failures[index] !== undefined)
    if (failed.length === 0) this.#pauseMs = firstPauseMs
    else this.#tellAll(failed, (one) => one.interrupted?.(failures.find((failure) => failure !== undefined)))
  }

  /** Each of them once. */
  #tellAll(interests: Iterable<Interest>, tell: (subscriber: Subscriber) => void): void {
    const subscribers = [...interests].flatMap((interest) => [...(this.#shared.get(interest)?.subscribers ?? [])])
    for (const one of new Set(subscribers)) tell(one)
  }
}

/** Whether asking again would not mend it. */
const isFinal = (error: unknown) =>
  ['QUEUE_NOT_FOUND', 'TOPIC_NOT_FOUND', 'UNSUPPORTED', 'UNAUTHORIZED', 'FORBIDDEN', 'CONFIG_INVALID', 'CLOSED'].some(
    (code) => isTidingsError(error, code as ErrorCode),
  )

function closed(): TidingsError {
  return new TidingsError('CLOSED', 'the bus is closed, so nothing can be listened to')
}
