import { type Clock, type Moment, momentOf, passedBetween, sleep, type Timer } from '../core/clock.ts'
import type { Wakeups, Watch } from '../port/wakeups.ts'

/** How often it is seen whether the event loop goes on. */
const tickMs = 500
/** A timer that comes so much too late is told of. */
const lateMs = 1_000
/** How long to wait for the storage, which may have no connection that lasts… */
const patienceMs = 1_000
/** …and where it had one that broke: as long as calls wait for it. */
const backMs = 5_000

/** Who holds leases. */
export interface LifeMember {
  /** The event loop was blocked for so many milliseconds, or the process was stopped. `doubted` follows. */
  blocked(milliseconds: number): void
  /** What is held may be somebody else's by now: it must be renewed before any of it is begun. */
  doubted(): void
}

/**
 * The life of this process, as the storage sees it. While anybody holds leases, the storage looks after the process, and
 * those who hold them are told when it may have taken the process for gone: after the connection broke, and after a time
 * in which nothing could run here.
 */
export class Life {
  readonly #wakeups: Pick<Wakeups, 'subscribe'>
  readonly #clock: Clock
  readonly #members = new Set<LifeMember>()
  #epoch = 0
  #watch: Promise<Watch | null> | undefined
  #isAway = false
  #wasInForce = false
  #isBack: () => void = () => {}
  #inForce: Promise<void> = Promise.resolve()
  #lastTick: Moment
  #timer: Timer | undefined

  constructor({ wakeups, clock }: { wakeups: Pick<Wakeups, 'subscribe'>; clock: Clock }) {
    this.#wakeups = wakeups
    this.#clock = clock
    this.#lastTick = momentOf(clock)
  }

  /** Grows with every doubt: what was leased or renewed in an earlier one may be lost. */
  get epoch(): number {
    return this.#epoch
  }

  /**
   * @returns what ends it
   * @param member is told from now on; the storage looks after the process once `inForce` resolves, if it can
   */
  join(member: LifeMember): () => void {
    this.#members.add(member)
    if (this.#members.size === 1) this.#begin()
    return () => {
      if (this.#members.delete(member) && this.#members.size === 0) this.#end()
    }
  }

  /** Whether the storage cannot see that this process lives. */
  get isAway(): boolean {
    return this.#isAway
  }

  /** Resolves when the storage looks after this process, or cannot do so soon, or the signal is aborted. */
  async inForce(signal?: AbortSignal): Promise<void> {
    const over = new AbortController()
    const end = () => over.abort()
    signal?.addEventListener('abort', end, { once: true })
    await Promise.race([this.#inForce, sleep(this.#clock, backMs, over.signal)])
    signal?.removeEventListener('abort', end)
    end()
  }

  /** Looks at the clocks: what runs first after a block, before any timer, has to know of it. */
  look(): void {
    if (this.#timer === undefined) return
    const now = momentOf(this.#clock)
    const blockedMs = passedBetween(this.#lastTick, now) - tickMs
    if (blockedMs < lateMs) return
    this.#lastTick = now
    for (const member of this.#members) member.blocked(blockedMs)
    this.#doubt()
  }

  #begin(): void {
    this.#tick()
    this.#wasInForce = false
    // Where nobody can look after the process, leases end with their time.
    this.#watch = this.#wakeups
      .subscribe({
        interests: ['life'],
        woken: () => this.#found(),
        interrupted: () => this.#lost(),
      })
      .catch(() => null)
    void this.#watch.then((watch) => {
      if (watch !== null && !this.#isAway) this.#wasInForce = true
    })
    this.#inForce = this.#soon(this.#watch, patienceMs)
  }

  #end(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    void this.#watch?.then((watch) => watch?.close())
    this.#watch = undefined
    this.#isAway = false
  }

  #tick(): void {
    this.look()
    this.#lastTick = momentOf(this.#clock)
    this.#timer = this.#clock.after(tickMs, () => this.#tick())
  }

  #lost(): void {
    if (this.#isAway) return
    this.#isAway = true
    const back = new Promise<void>((resolve) => {
      this.#isBack = resolve
    })
    this.#inForce = this.#soon(back, this.#wasInForce ? backMs : patienceMs)
    this.#doubt()
  }

  #found(): void {
    this.#isAway = false
    this.#wasInForce = true
    this.#isBack()
    this.#doubt()
  }

  async #soon(arrival: Promise<unknown>, patienceMs: number): Promise<void> {
    const over = new AbortController()
    await Promise.race([arrival, sleep(this.#clock, patienceMs, over.signal)])
    over.abort()
  }

  #doubt(): void {
    this.#epoch++
    for (const member of this.#members) member.doubted()
  }
}
