import { systemClock, type Timer } from '../../clock.ts'
import type { Watch } from '../../engine.ts'
import { TidingsError } from '../../errors.ts'
import type { Driver } from './driver.ts'
import { Ear } from './ear.ts'
import { channelOf, queueOfChannel } from './keys.ts'
import type { Server } from './server.ts'

type Wake = (dueMs: number) => void

const firstPauseMs = 100
const longestPauseMs = 1_000
/** How often it is looked whether the queues are still where they are listened for. */
const lookMs = 2_000

/**
 * Tells the readers of this process about new messages, over one connection to each server that has queues which are
 * watched. Where it is lost, or a queue goes to another node, it is made anew, and then everybody concerned is woken,
 * since what was announced meanwhile was missed.
 */
export class Listener {
  readonly #driver: Driver
  readonly #watches = new Map<string, Set<Wake>>()
  readonly #ears = new Map<Server, Ear>()
  /** Who listens for which queue. */
  readonly #places = new Map<string, Ear>()
  readonly #missed = new Set<string>()
  #pauseMs = firstPauseMs
  #retry: Timer | undefined
  #look: Timer | undefined
  #closed = false

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** The queue is there. Where it cannot be listened for at this moment, that is tried again. */
  async watch(queue: string, wake: Wake): Promise<Watch> {
    if (this.#closed) throw new TidingsError('CLOSED', 'the connection was closed')
    const wakes = this.#watches.get(queue) ?? new Set()
    this.#watches.set(queue, wakes)
    wakes.add(wake)
    this.#lookLater()
    await this.#listenFor(queue)
    return {
      close: () => {
        wakes.delete(wake)
        if (wakes.size > 0 || this.#watches.get(queue) !== wakes) return
        this.#watches.delete(queue)
        this.#missed.delete(queue)
        this.#places.get(queue)?.unsubscribe(channelOf(queue))
        this.#places.delete(queue)
      },
    }
  }

  close(): void {
    this.#closed = true
    this.#retry?.cancel()
    this.#look?.cancel()
    this.#watches.clear()
    for (const ear of this.#ears.values()) ear.close()
  }

  async #listenFor(queue: string): Promise<void> {
    try {
      const server = this.#driver.topology.serverOf(channelOf(queue))
      const ear = this.#earAt(server)
      const before = this.#places.get(queue)
      if (before !== ear) before?.unsubscribe(channelOf(queue))
      this.#places.set(queue, ear)
      await ear.subscribe(channelOf(queue))
      if (this.#missed.delete(queue)) this.#wake(queue, 0)
    } catch {
      this.#places.delete(queue)
      this.#tryLater(queue)
    }
  }

  #earAt(server: Server): Ear {
    const found = this.#ears.get(server)
    if (found) return found
    const ear = new Ear(server, {
      heard: (channel, text) => {
        const queue = queueOfChannel(channel)
        if (queue !== undefined) this.#wake(queue, Number(text) || 0)
      },
      lost: () => this.#lose(server, ear),
    })
    this.#ears.set(server, ear)
    return ear
  }

  #lose(server: Server, ear: Ear): void {
    if (this.#ears.get(server) === ear) this.#ears.delete(server)
    for (const [queue, place] of [...this.#places]) {
      if (place !== ear) continue
      this.#places.delete(queue)
      this.#tryLater(queue)
    }
  }

  #tryLater(queue: string): void {
    if (this.#closed || !this.#watches.has(queue)) return
    this.#missed.add(queue)
    if (this.#retry) return
    this.#retry = systemClock.after(this.#pauseMs, () => void this.#tryAgain())
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  async #tryAgain(): Promise<void> {
    this.#retry = undefined
    await this.#driver.topology.refresh().catch(() => {})
    const queues = [...this.#missed]
    await Promise.all(queues.map((queue) => this.#listenFor(queue)))
    if (this.#missed.size === 0) this.#pauseMs = firstPauseMs
  }

  /** A slot may have gone to another node, and a half-open connection tells nothing. */
  #lookLater(): void {
    if (this.#look || this.#closed) return
    this.#look = systemClock.after(lookMs, () => void this.#lookNow())
  }

  async #lookNow(): Promise<void> {
    await Promise.all([
      this.#driver.topology.refresh().catch(() => {}),
      ...[...this.#ears.values()].map((ear) => ear.check()),
    ])
    this.#look = undefined
    if (this.#closed) return
    for (const [queue, ear] of [...this.#places]) if (this.#isElsewhere(queue, ear)) this.#tryLater(queue)
    if (this.#watches.size > 0) this.#lookLater()
  }

  #isElsewhere(queue: string, ear: Ear): boolean {
    try {
      return this.#driver.topology.serverOf(channelOf(queue)) !== ear.server
    } catch {
      return true
    }
  }

  #wake(queue: string, dueMs: number): void {
    for (const wake of [...(this.#watches.get(queue) ?? [])]) wake(dueMs)
  }
}
