import type { Claimer } from './claimer.ts'
import type { Delivery } from './delivery.ts'
import type { Head } from './strict-order.ts'

/** Where the messages go. */
export interface Desk {
  /** How many messages it would take now; 0 to be asked again after the next `poke`. */
  appetite(): number
  take(deliveries: Delivery[]): void
  /** For what was claimed but must not be handled now. */
  giveBack(deliveries: Delivery[]): void
  /** Whether an empty queue ends the work. */
  endsWhenEmpty(): boolean
}

/** Keeps the desk supplied: claims as much as it wants, and what is at the head of the queue first. */
export class Fetcher {
  readonly #claimer: Claimer
  readonly #head: Head
  readonly #desk: Desk
  readonly #stop = new AbortController()
  #nap = new AbortController()
  #obsolete = false
  #poked: (() => void) | undefined

  constructor(claimer: Claimer, head: Head, desk: Desk) {
    this.#claimer = claimer
    this.#head = head
    this.#desk = desk
  }

  /** Runs until it is stopped, or the queue is empty and that ends the work. @throws CLOSED */
  async run(inOrder: boolean): Promise<void> {
    const { signal } = this.#stop
    try {
      if (inOrder) await this.#head.adopt(signal)
      while (!signal.aborted) {
        if (this.#head.isSet) this.#pass(await this.#head.claim(signal), signal.aborted)
        else if (this.#desk.appetite() === 0) await this.#untilPoked()
        else if (await this.#fetch()) return
      }
    } finally {
      this.#claimer.close()
    }
  }

  stop(): void {
    this.#stop.abort()
    this.lookAgain()
  }

  /** The desk may have become hungry. */
  poke(): void {
    this.#poked?.()
  }

  /** Ends a sleep on an empty queue. */
  lookAgain(): void {
    this.#nap.abort()
    this.poke()
  }

  /** What a claim under way brings is given back; the next one begins anew, at the head. */
  startOver(): void {
    this.#obsolete = true
    this.lookAgain()
  }

  /** @returns true if there is nothing more to do */
  async #fetch(): Promise<boolean> {
    this.#nap = new AbortController()
    this.#obsolete = false
    const { signal } = this.#nap
    const deliveries = await this.#claimer.claim({
      limit: () => Math.max(1, this.#desk.appetite()),
      signal,
      waitMs: Number.POSITIVE_INFINITY,
      mayBeEmpty: () => this.#desk.endsWhenEmpty(),
    })
    this.#pass(deliveries, this.#stop.signal.aborted || this.#obsolete)
    return deliveries.length === 0 && !signal.aborted
  }

  #pass(deliveries: Delivery[], tooLate: boolean): void {
    if (deliveries.length === 0) return
    if (tooLate) this.#desk.giveBack(deliveries)
    else this.#desk.take(deliveries)
  }

  async #untilPoked(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#poked = resolve
    })
    this.#poked = undefined
  }
}
