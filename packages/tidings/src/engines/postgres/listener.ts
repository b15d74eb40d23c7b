import { systemClock, type Timer } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import type { Watch } from '../../port/engine.ts'
import type { Driver } from './driver.ts'
import { Link } from './listening-connection.ts'
import type { Poller } from './poller.ts'

type Wake = (dueMs: number) => void

const firstPauseMs = 100
const longestPauseMs = 1_000

/**
 * Tells the readers of this process about new messages in queues and topics, over one connection. When the connection is lost it is made
 * anew, and then everybody is woken, since what was announced meanwhile was missed. While there is none to be had, the
 * slow poll of the readers has to do.
 */
export class Listener {
  readonly #driver: Driver
  readonly #watches = new Map<string, Set<Wake>>()
  #link: Link | Poller | undefined
  #establishing: Promise<void> | undefined
  #interrupted = false
  #pauseMs = firstPauseMs
  #retry: Timer | undefined
  #closed = false

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /**
   * @param queue or the place of a topic
   * @throws QUEUE_NOT_FOUND or TOPIC_NOT_FOUND, if there is a connection to tell it by
   */
  async watch(queue: string, wake: Wake): Promise<Watch> {
    if (this.#closed) throw new TidingsError('CLOSED', 'the connection was closed')
    const wakes = this.#watches.get(queue) ?? new Set()
    this.#watches.set(queue, wakes)
    wakes.add(wake)
    const close = () => {
      wakes.delete(wake)
      if (wakes.size > 0 || this.#watches.get(queue) !== wakes) return
      this.#watches.delete(queue)
      this.#link?.stopWaiting(queue)
    }
    try {
      if (!this.#link) await this.#establish()
      await this.#link?.startWaiting(queue)
    } catch (error) {
      close()
      throw error
    }
    return { close }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#retry?.cancel()
    this.#watches.clear()
    await this.#establishing
    await this.#link?.close()
  }

  #establish(): Promise<void> {
    this.#establishing ??= this.#establishOnce().finally(() => {
      this.#establishing = undefined
    })
    return this.#establishing
  }

  async #establishOnce(): Promise<void> {
    this.#retry?.cancel()
    try {
      const link = await Link.open(this.#driver, {
        notified: (queue, dueMs) => this.#wake(queue, dueMs),
        lost: () => this.#tryLater(),
      })
      if (this.#closed) return await link.close()
      this.#link = link
      // A queue that is gone is reported to whoever watches it next.
      await Promise.allSettled([...this.#watches.keys()].map((queue) => link.startWaiting(queue)))
    } catch {
      return this.#tryLater()
    }
    this.#pauseMs = firstPauseMs
    if (!this.#interrupted) return
    this.#interrupted = false
    for (const queue of this.#watches.keys()) this.#wake(queue, 0)
  }

  #tryLater(): void {
    this.#link = undefined
    this.#interrupted = true
    this.#retry?.cancel()
    // With nobody waiting there is no hurry: the next watch connects.
    if (this.#closed || this.#watches.size === 0) return
    this.#retry = systemClock.after(this.#pauseMs, () => void this.#establish())
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  #wake(queue: string, dueMs: number): void {
    for (const wake of [...(this.#watches.get(queue) ?? [])]) wake(dueMs)
  }
}
