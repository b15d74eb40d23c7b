import { systemClock, type Timer } from 'tidings/internal/core/clock'
import { type Duration, toMilliseconds } from 'tidings/internal/core/duration'
import type { Worker } from 'tidings/internal/worker/worker'
import { whenOutputCloses } from './output.ts'

const signals = ['SIGINT', 'SIGTERM'] as const

/** Whatever ends the work: signals, the time, an output that nobody reads, a failure. */
export class StopOrders {
  readonly #deadline: Duration | undefined
  readonly #say: (text: string) => void
  #workers: readonly Worker[] = []
  #timer: Timer | undefined
  #signals = 0
  #failure: { readonly error: unknown } | undefined

  constructor(deadline: Duration | undefined, say: (text: string) => void) {
    this.#deadline = deadline
    this.#say = say
  }

  apply(workers: readonly Worker[], maxRuntime: Duration | undefined): void {
    this.#workers = workers
    for (const signal of signals) process.on(signal, this.#onSignal)
    process.on('uncaughtException', this.#onUncaught)
    whenOutputCloses(() => this.#stop(this.#deadline))
    if (maxRuntime !== undefined)
      this.#timer = systemClock.after(toMilliseconds(maxRuntime, '--max-runtime'), () => this.#stop(this.#deadline))
    if (this.#failure) this.#stop(this.#deadline)
  }

  /** Stops everything; the error is what `end` throws. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#stop(this.#deadline)
  }

  /** @throws what the work failed of */
  end(): void {
    this.#timer?.cancel()
    for (const signal of signals) process.off(signal, this.#onSignal)
    process.off('uncaughtException', this.#onUncaught)
    if (this.#failure) throw this.#failure.error
  }

  /** The first asks, the second does not wait for handlers, the third does not wait at all. */
  readonly #onSignal = (): void => {
    this.#signals++
    if (this.#signals > 2) process.exit(1)
    if (this.#signals === 1) this.#say('stopping; once more stops without waiting for the handlers')
    this.#stop(this.#signals === 1 ? this.#deadline : 0)
  }

  /** A handler left a promise or an event without care. What it broke is not known, so the others finish and that is it. */
  readonly #onUncaught = (error: unknown): void => this.fail(error)

  #stop(deadline: Duration | undefined): void {
    for (const worker of this.#workers) void worker.stop({ deadline })
  }
}
