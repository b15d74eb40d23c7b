import { systemClock, type Timer } from 'tidings/internal/core/clock'
import { type Duration, toMilliseconds } from 'tidings/internal/core/duration'
import type { Worker } from 'tidings/internal/worker/worker'
import { whenOutputCloses } from './output.ts'

const signals = ['SIGINT', 'SIGTERM'] as const

/** Stops the workers on a signal, at the end of the time, when the output is closed, or on a failure. */
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

  /** Stops all workers; `end` throws the error. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.#stop(this.#deadline)
  }

  /** @throws the error of `fail` */
  end(): void {
    this.#timer?.cancel()
    for (const signal of signals) process.off(signal, this.#onSignal)
    process.off('uncaughtException', this.#onUncaught)
    if (this.#failure) throw this.#failure.error
  }

  /** The first signal stops, the second does not wait for handlers, the third exits at once. */
  readonly #onSignal = (): void => {
    this.#signals++
    if (this.#signals > 2) process.exit(1)
    if (this.#signals === 1) this.#say('stopping; once more stops without waiting for the handlers')
    this.#stop(this.#signals === 1 ? this.#deadline : 0)
  }

  /** An uncaught error of a handler. Its damage is unknown, so the other handlers finish and the process ends. */
  readonly #onUncaught = (error: unknown): void => this.fail(error)

  #stop(deadline: Duration | undefined): void {
    for (const worker of this.#workers) void worker.stop({ deadline })
  }
}
