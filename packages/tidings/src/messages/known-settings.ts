import { type Clock, type Moment, momentOf, passedBetween } from '../core/clock.ts'
import { isTidingsError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { soon } from '../core/turns.ts'
import type { Engine } from '../port/engine.ts'
import { type QueueSettings, readSettings } from './settings.ts'

/** So old, what is known is read anew while it goes on being used. */
const renewMs = 5_000
/** The same after a refusal to tell. */
const refusedMs = 60_000
const refusals = ['FORBIDDEN', 'UNAUTHORIZED', 'PERMISSION_DENIED'] as const
/** So old, what is known no longer does for a limit. */
export const limitAgeMs = 60_000

const nothing: QueueSettings = {}

interface Reading {
  readonly settings: QueueSettings
  readonly at: Moment
  readonly renewAfterMs: number
}

/**
 * What one process knows of the settings of a queue. They are read when they are first needed, by one call for all who need
 * them, and later beside the calls that need them: nobody waits again, unless they are too old for a limit, or a change was
 * announced.
 */
export class KnownSettings {
  readonly #engine: Engine
  readonly #clock: Clock
  readonly #queue: string
  #last: Reading | undefined
  /** A change was heard of. */
  #isOutdated = false
  /** Counts changes that this process hears of. */
  #version = 0
  #reading: Promise<void> | undefined
  /** What callers wait for; for one turn longer than it takes, so that later callers do not overtake them. */
  #awaited: Promise<QueueSettings> | undefined

  constructor(engine: Engine, clock: Clock, queue: string) {
    this.#engine = engine
    this.#clock = clock
    this.#queue = queue
  }

  /** As they were last read; undefined before. */
  get known(): QueueSettings | undefined {
    return this.#last?.settings
  }

  /**
   * @param maxAgeMs so old they may be; left out: any age, for what is no limit
   * @returns a promise only where they have to be read first
   * @throws what can be tried again, where they were never read
   */
  latest(maxAgeMs = Number.POSITIVE_INFINITY): QueueSettings | Promise<QueueSettings> {
    if (this.#awaited !== undefined) return this.#awaited
    const last = this.#last
    if (last === undefined || this.#isOutdated) return this.#await()
    const ageMs = passedBetween(last.at, momentOf(this.#clock))
    if (ageMs > Math.max(maxAgeMs, last.renewAfterMs)) return this.#await()
    if (ageMs > last.renewAfterMs) void this.#read().catch(() => {})
    return last.settings
  }

  /** This process has read or changed them. @returns the same */
  set<S extends JsonObject | QueueSettings>(settings: S): S {
    this.#version++
    this.#keep(readSettings(settings), renewMs)
    return settings
  }

  /** They were changed, or may have been. */
  forget(): void {
    this.#version++
    this.#isOutdated = true
  }

  get isBusy(): boolean {
    return this.#reading !== undefined
  }

  async idle(): Promise<void> {
    await this.#reading?.catch(() => {})
  }

  #await(): Promise<QueueSettings> {
    const awaited = this.#read().then(() => this.known ?? nothing)
    this.#awaited = awaited
    const end = () => {
      if (this.#awaited === awaited) this.#awaited = undefined
    }
    awaited.then(() => soon(end), end)
    return awaited
  }

  /** One at a time. */
  #read(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  /** Again where a change was heard of meanwhile. */
  async #readOnce(): Promise<void> {
    for (let version = -1; version !== this.#version; ) {
      version = this.#version
      try {
        const [info] = await this.#engine.describe(this.#queue)
        if (version === this.#version) this.#keep(readSettings(info?.settings ?? {}), renewMs)
      } catch (error) {
        if (version === this.#version) this.#failed(error)
      }
    }
  }

  #failed(error: unknown): void {
    // One that is made later begins without settings.
    if (isTidingsError(error, 'QUEUE_NOT_FOUND')) this.#keep(nothing, renewMs)
    // Who may send need not be allowed to see the settings. Over HTTP the server keeps to them.
    else if (refusals.some((code) => isTidingsError(error, code))) this.#keep(this.known ?? nothing, refusedMs)
    else if (this.#last === undefined || isTidingsError(error, 'CLOSED')) throw error
  }

  #keep(settings: QueueSettings, renewAfterMs: number): void {
    this.#last = { settings, at: momentOf(this.#clock), renewAfterMs }
    this.#isOutdated = false
  }
}
