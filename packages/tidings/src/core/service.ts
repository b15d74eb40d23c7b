/**
 * The one contract by which everything that runs in the background starts and stops: idempotent, safe to call twice
 * or at the same time, and `await using` stops it.
 */
export abstract class Service implements AsyncDisposable {
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new'
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined

  get state(): 'new' | 'running' | 'stopping' | 'stopped' {
    return this.#state
  }

  /** Starts once; a second call waits for the first. Does nothing to a service that was stopped: it stays so. */
  start(): Promise<void> {
    if (this.#started === undefined) {
      if (this.#stopped !== undefined) return Promise.resolve()
      this.#state = 'running'
      this.#started = this.onStart()
    }
    return this.#started
  }

  /** Stops once; a second call waits for the first. Stopping what was never started is fine. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopOnce()
    return this.#stopped
  }

  async #stopOnce(): Promise<void> {
    const starting = this.#started
    this.#state = 'stopping'
    try {
      if (starting !== undefined) {
        await starting.catch(() => {})
        await this.onStop()
      }
    } finally {
      this.#state = 'stopped'
    }
  }

  protected abstract onStart(): Promise<void>
  protected abstract onStop(): Promise<void>

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
