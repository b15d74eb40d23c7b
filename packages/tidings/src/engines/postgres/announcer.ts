import { systemClock, type Timer } from '../../core/clock.ts'
import type { Announcing, Listener } from '../../port/listening.ts'
import type { Driver, Row } from './driver.ts'
import { statements as own } from './events.gen.ts'

/** How often it looks for due messages without being told of any. */
const lookMs = 5_000
/** Where another process is at it, or there is more than goes at once. */
const shortestLookMs = 50

interface AnnouncingEngine {
  /** Whether it looks only when something is known to be due. */
  readonly sleeps: boolean
  /** Moves due messages into their queues. */
  promoteDue(): Promise<void>
}

/** Has delayed messages announced through the channels for events when they become due, while somebody listens to them. */
export class Announcer {
  readonly #driver: Driver
  readonly #listener: Pick<Listener, 'announcing' | 'troubled'>
  readonly #engine: AnnouncingEngine
  /** The first look; undefined: nobody listens. */
  #started: Promise<void> | undefined
  #next: Timer | undefined
  #nextAt = 0

  constructor(driver: Driver, listener: Pick<Listener, 'announcing' | 'troubled'>, engine: AnnouncingEngine) {
    this.#driver = driver
    this.#engine = engine
    this.#listener = listener
  }

  /** @returns once it has looked for the first time */
  start(): Promise<void> {
    this.#started ??= Promise.resolve().then(() => this.#look(this.#started))
    return this.#started
  }

  stop(): void {
    this.#started = undefined
    this.#next?.cancel()
    this.#next = undefined
  }

  /** Looks then, or earlier if that was planned. */
  lookIn(milliseconds: number): void {
    if (this.#started === undefined) return
    const at = systemClock.now() + milliseconds
    if (this.#next !== undefined && this.#nextAt <= at) return
    this.#next?.cancel()
    this.#nextAt = at
    this.#next = systemClock.after(milliseconds, () => {
      this.#next = undefined
      void this.#look(this.#started)
    })
  }

  async #look(started: Promise<void> | undefined): Promise<void> {
    const outcome = await this.#announce().catch((error: unknown) => ({ error }))
    if (this.#started !== started) return
    if ('error' in outcome) this.#listener.troubled(outcome.error)
    else this.#listener.announcing(outcome)
    const nextDueMs = 'error' in outcome ? null : outcome.nextDueMs
    const longestMs = this.#engine.sleeps ? Number.POSITIVE_INFINITY : lookMs
    const nextMs = Math.min(longestMs, Math.max(shortestLookMs, nextDueMs ?? longestMs))
    if (Number.isFinite(nextMs)) this.lookIn(nextMs)
  }

  async #announce(): Promise<Announcing & { nextDueMs: number | null }> {
    const { installed, prefix, may_announce, delayed_ms } = await this.#query(own.lookAtDue)
    const delayedMs = delayed_ms as number | null
    // Moving them into their queue is what announces them.
    if (delayedMs !== null && delayedMs <= 0) await this.#engine.promoteDue()
    // A role that may not announce what is due relies on another listener for it.
    const nextMs = may_announce === true ? ((await this.#query(own.announceDue)).next_ms as number | null) : null
    const known = [delayedMs, nextMs].filter((one) => one !== null)
    return {
      installed: installed === true,
      prefix: prefix as string | null,
      nextDueMs: known.length > 0 ? Math.min(...known) : null,
    }
  }

  async #query(text: string): Promise<Row> {
    const [row = {}] = await this.#driver.query(text, [], { repeatable: true })
    return row
  }
}
