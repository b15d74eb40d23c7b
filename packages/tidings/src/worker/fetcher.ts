import type { Claimer } from './claimer.ts'
import type { Delivery } from './delivery.ts'
import type { StrictOrderHead } from './strict-order.ts'

/** The worker loop, as the fetcher sees it. */
export interface WorkerLoop {
  /** How many messages the loop takes now; 0 to be asked again after the next `poke`. */
  demand(): number
  take(deliveries: Delivery[]): void
  /** Releases messages that were claimed but must not be handled now. */
  giveBack(deliveries: Delivery[]): void
  /** Whether an empty queue ends the work. */
  endsWhenEmpty(): boolean
}

/** Supplies the worker loop: claims as many messages as it demands, and the head of the queue first. */
export class Fetcher {
  readonly #claimer: Claimer
  readonly #head: StrictOrderHead
  readonly #loop: WorkerLoop
  readonly #stop = new AbortController()
  #nap = new AbortController()
  #obsolete = false
  #poked: (() => void) | undefined

  constructor(claimer: Claimer, head: StrictOrderHead, loop: WorkerLoop) {
    this.#claimer = claimer
    this.#head = head
    this.#loop = loop
  }

  /** Runs until it is stopped, or until an empty queue ends the work. @throws CLOSED */
  async run(inOrder: boolean): Promise<void> {
    const { signal } = this.#stop
    try {
      if (inOrder) await this.#head.adopt(signal)
      while (!signal.aborted) {
        if (this.#head.isSet) this.#pass(await this.#head.claim(signal), signal.aborted)
        else if (this.#loop.demand() === 0) await this.#untilPoked()
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

  /** The demand may have changed. */
  poke(): void {
    this.#poked?.()
  }

  /** Ends a sleep on an empty queue. */
  lookAgain(): void {
    this.#nap.abort()
    this.poke()
  }

  /** Gives back the messages of a claim under way. The next claim begins at the head. */
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
      limit: () => Math.max(1, this.#loop.demand()),
      signal,
      waitMs: Number.POSITIVE_INFINITY,
      mayBeEmpty: () => this.#loop.endsWhenEmpty(),
    })
    this.#pass(deliveries, this.#stop.signal.aborted || this.#obsolete)
    return deliveries.length === 0 && !signal.aborted
  }

  #pass(deliveries: Delivery[], tooLate: boolean): void {
    if (deliveries.length === 0) return
    if (tooLate) this.#loop.giveBack(deliveries)
    else this.#loop.take(deliveries)
  }

  async #untilPoked(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#poked = resolve
    })
    this.#poked = undefined
  }
}
