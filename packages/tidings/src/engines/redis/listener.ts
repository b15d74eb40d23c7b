import { systemClock, type Timer } from '../../core/clock.ts'
import { TidingsError } from '../../core/errors.ts'
import type { Watch } from '../../port/engine.ts'
import type { Driver } from './driver.ts'
import { Ear } from './ear.ts'
import type { Server } from './server.ts'

type Wake = (dueMs: number) => void

const firstPauseMs = 100
const longestPauseMs = 1_000
/** How often it is looked whether the queues are still where they are listened for. */
const lookMs = 2_000

/**
 * Tells the readers of this process about new messages, over one connection to each server that has queues or topics which are
 * watched. Where it is lost, or a queue goes to another node, it is made anew, and then everybody concerned is woken,
 * since what was announced meanwhile was missed.
 */
export class Listener {
  readonly #driver: Driver
  readonly #watches = new Map<string, Set<Wake>>()
  readonly #ears = new Map<Server, Ear>()
  /** Who listens to which channel. */
  readonly #places = new Map<string, Ear>()
  readonly #missed = new Set<string>()
  #pauseMs = firstPauseMs
  #retry: Timer | undefined
  #look: Timer | undefined
  #closed = false

  constructor(driver: Driver) {
    this.#driver = driver
  }

  /** Of a queue or topic that is there. Where it cannot be listened for at this moment, that is tried again. */
  async watch(channel: string, wake: Wake): Promise<Watch> {
    if (this.#closed) throw new TidingsError('CLOSED', 'the connection was closed')
    const wakes = this.#watches.get(channel) ?? new Set()
    this.#watches.set(channel, wakes)
    wakes.add(wake)
    this.#lookLater()
    await this.#listenFor(channel)
    return {
      close: () => {
        wakes.delete(wake)
        if (wakes.size > 0 || this.#watches.get(channel) !== wakes) return
        this.#watches.delete(channel)
        this.#missed.delete(channel)
        this.#places.get(channel)?.unsubscribe(channel)
        this.#places.delete(channel)
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

  async #listenFor(channel: string): Promise<void> {
    try {
      const server = this.#driver.topology.serverOf(channel)
      const ear = this.#earAt(server)
      const before = this.#places.get(channel)
      if (before !== ear) before?.unsubscribe(channel)
      this.#places.set(channel, ear)
      await ear.subscribe(channel)
      if (this.#missed.delete(channel)) this.#wake(channel, 0)
    } catch {
      this.#places.delete(channel)
      this.#tryLater(channel)
    }
  }

  #earAt(server: Server): Ear {
    const found = this.#ears.get(server)
    if (found) return found
    const ear = new Ear(server, {
      heard: (channel, text) => this.#wake(channel, Number(text) || 0),
      lost: () => this.#lose(server, ear),
    })
    this.#ears.set(server, ear)
    return ear
  }

  #lose(server: Server, ear: Ear): void {
    if (this.#ears.get(server) === ear) this.#ears.delete(server)
    for (const [channel, place] of [...this.#places]) {
      if (place !== ear) continue
      this.#places.delete(channel)
      this.#tryLater(channel)
    }
  }

  #tryLater(channel: string): void {
    if (this.#closed || !this.#watches.has(channel)) return
    this.#missed.add(channel)
    if (this.#retry) return
    this.#retry = systemClock.after(this.#pauseMs, () => void this.#tryAgain())
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs)
  }

  async #tryAgain(): Promise<void> {
    this.#retry = undefined
    await this.#driver.topology.refresh().catch(() => {})
    const channels = [...this.#missed]
    await Promise.all(channels.map((channel) => this.#listenFor(channel)))
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
    for (const [channel, ear] of [...this.#places]) if (this.#isElsewhere(channel, ear)) this.#tryLater(channel)
    if (this.#watches.size > 0) this.#lookLater()
  }

  #isElsewhere(channel: string, ear: Ear): boolean {
    try {
      return this.#driver.topology.serverOf(channel) !== ear.server
    } catch {
      return true
    }
  }

  #wake(channel: string, dueMs: number): void {
    for (const wake of [...(this.#watches.get(channel) ?? [])]) wake(dueMs)
  }
}
