import type { TidingsError } from '../../core/errors.ts'
import { type Interest, isChannel, isPlace, type Listener } from '../../port/listening.ts'
import type { Driver } from './driver.ts'
import { placeOf } from './listening-connection.ts'
import { statements } from './sql.gen.ts'

/** How often readers are woken where notifications do not come. */
const pollMs = 500

/** Stands in for a connection behind a pooler, and where none is left to listen: wakes everybody at intervals. */
export class Poller {
  readonly hearsEvents = false
  readonly #driver: Driver
  readonly #why: TidingsError
  readonly #waiting = new Set<Interest>()
  readonly #beat: NodeJS.Timeout
  readonly #end: NodeJS.Timeout | undefined

  /**
   * @param why nothing can be listened to
   * @param forMs after so long it is lost, so that a connection is tried again; null: never
   */
  constructor(driver: Driver, listener: Pick<Listener, 'woken' | 'lost'>, why: TidingsError, forMs: number | null) {
    this.#driver = driver
    this.#why = why
    this.#beat = setInterval(() => {
      for (const interest of this.#waiting) listener.woken(interest, 0)
    }, pollMs)
    this.#beat.unref()
    if (forMs === null) return
    this.#end = setTimeout(() => {
      void this.close()
      listener.lost([...this.#waiting], why)
    }, forMs)
    this.#end.unref()
  }

  /** It wakes readers at intervals. */
  lookSoon(): void {}

  /** @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND; for a channel why it cannot be listened to */
  async start(interest: Interest): Promise<void> {
    if (isChannel(interest)) throw this.#why
    // No session of ours lasts here, so leases end with their time.
    if (interest === 'life') return
    // What is put by others is seen with the next look at what is due, and what is cancelled with the next renewal.
    if (!isPlace(interest)) return
    await this.#driver.query(statements.checkQueue, [placeOf(interest)], { repeatable: true })
    this.#waiting.add(interest)
  }

  stop(interest: Interest): void {
    this.#waiting.delete(interest)
  }

  async close(): Promise<void> {
    clearInterval(this.#beat)
    clearTimeout(this.#end)
  }
}
