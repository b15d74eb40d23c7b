import type { Driver } from './driver.ts'
import { statements } from './sql.gen.ts'

/** What comes of it where somebody listens. */
export interface LinkEvents {
  notified(queue: string, dueMs: number): void
  lost(): void
}

/** How often readers are woken where notifications do not come. */
const pollMs = 500

/** Stands in for a link behind a pooler, and where no connection is left to listen: wakes everybody at intervals. */
export class Poller {
  readonly #driver: Driver
  readonly #waiting = new Set<string>()
  readonly #beat: NodeJS.Timeout
  readonly #end: NodeJS.Timeout | undefined

  /** @param forMs after so long it is lost, so that a link is tried again; null: never */
  constructor(driver: Driver, events: LinkEvents, forMs: number | null) {
    this.#driver = driver
    this.#beat = setInterval(() => {
      for (const queue of this.#waiting) events.notified(queue, 0)
    }, pollMs)
    this.#beat.unref()
    if (forMs === null) return
    this.#end = setTimeout(() => {
      void this.close()
      events.lost()
    }, forMs)
    this.#end.unref()
  }

  /** @throws QUEUE_NOT_FOUND, TOPIC_NOT_FOUND */
  async startWaiting(queue: string): Promise<void> {
    await this.#driver.query(statements.checkQueue, [queue], { repeatable: true })
    this.#waiting.add(queue)
  }

  stopWaiting(queue: string): void {
    this.#waiting.delete(queue)
  }

  async close(): Promise<void> {
    clearInterval(this.#beat)
    clearTimeout(this.#end)
  }
}
