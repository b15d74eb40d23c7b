import { sleep, systemClock } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import type { Watch } from '../../port/types.ts'
import type { Client } from './client.ts'
import { readEvents, type ServerEvent } from './event-reader.ts'

const firstPauseMs = 100
const longestPauseMs = 5_000

/** What the server tells of one queue or topic. A connection that breaks is made anew, and whoever waits is woken then. */
export class Watcher implements Watch {
  readonly #client: Client
  readonly #path: string
  readonly #wake: (dueMs: number) => void
  readonly #closed = new AbortController()

  /** @returns once the watch is in force */
  static async open(client: Client, path: string, wake: (dueMs: number) => void): Promise<Watcher> {
    const watcher = new Watcher(client, path, wake)
    const events = await watcher.#connect()
    void watcher.#follow(events)
    return watcher
  }

  private constructor(client: Client, path: string, wake: (dueMs: number) => void) {
    this.#client = client
    this.#path = path
    this.#wake = wake
  }

  close(): void {
    this.#closed.abort()
  }

  async #connect(): Promise<AsyncGenerator<ServerEvent, void>> {
    const answer = await this.#client.stream(this.#path, this.#closed.signal)
    const events = readEvents(answer)
    // Its first event says that it is in force.
    const first = await events.next()
    if (first.done) throw new TidingsError('CONNECTION_LOST', `the server at ${this.#client.where} ended the watch`)
    return events
  }

  async #follow(first: AsyncGenerator<ServerEvent, void>): Promise<void> {
    for (let events: typeof first | null = first; events !== null; events = await this.#connectAgain()) {
      try {
        for await (const event of events) this.#notice(event)
      } catch {
        // It is made anew; readers look now and then in any case.
      }
    }
  }

  /** @returns null once nobody waits any more */
  async #connectAgain(): Promise<AsyncGenerator<ServerEvent, void> | null> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      await sleep(systemClock, pauseMs, this.#closed.signal)
      if (this.#isOver) return null
      const events = await this.#connect().catch(() => null)
      if (events === null) continue
      // What came meanwhile was not told.
      if (!this.#isOver) this.#wake(0)
      return events
    }
  }

  #notice({ event, data }: ServerEvent): void {
    if (event !== 'wake' || this.#isOver) return
    const { due_ms: dueMs = 0 } = JSON.parse(data) as { due_ms?: number }
    this.#wake(dueMs)
  }

  get #isOver(): boolean {
    return this.#closed.signal.aborted || this.#client.isClosed
  }
}
