import type { Claimer, Demand } from './claimer.ts'
import type { Delivery } from './delivery.ts'
import type { StrictOrderHead } from './strict-order.ts'

/** The worker loop, as the fetcher sees it. */
export interface WorkerLoop {
  /** Whether nothing is claimed, until the next `poke`. */
  isPaused(): boolean
  /** How many messages the loop takes now; a limit of 0 to be asked again after the next `poke`. */
  demand(): Demand
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
        if (this.#loop.isPaused()) await this.#untilPoked()
        else if (this.#head.isSet) await this.#fetchHead(signal)
        else if (this.#loop.demand().limit === 0) await this.#untilPoked()
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
      demand: () => {
        const { limit, ahead } = this.#loop.demand()
        return limit > 0 ? { limit, ahead } : { limit: 1, ahead: 1 }
      },
      signal,
      waitMs: Number.POSITIVE_INFINITY,
      mayBeEmpty: () => this.#loop.endsWhenEmpty(),
    })
    this.#pass(deliveries, this.#stop.signal.aborted || this.#obsolete)
    return deliveries.length === 0 && !signal.aborted && this.#loop.endsWhenEmpty()
  }

  /** What a pause has overtaken stays the head. */
  async #fetchHead(signal: AbortSignal): Promise<void> {
    const deliveries = await this.#head.claim(signal)
    const isPaused = this.#loop.isPaused()
    const ids = deliveries.map(({ message }) => message.id)
    if (isPaused) this.#head.set(ids, 0)
    this.#pass(deliveries, signal.aborted || isPaused)
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
