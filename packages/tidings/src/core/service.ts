import { AsyncLocalStorage } from 'node:async_hooks'
import { TidingsError } from './errors.ts'

/** The services that called the code that runs now. */
const callers = new AsyncLocalStorage<ReadonlySet<Service>>()

/** Whether the code that runs now was called by one of these. */
export const isCalledBy = (services: { has(service: Service): boolean }): boolean =>
  [...(callers.getStore() ?? [])].some((service) => services.has(service))

/** Runs code on behalf of no service, whoever asked for it. */
export const onItsOwn = <T>(call: () => T): T => callers.run(new Set(), call)

/**
 * The one contract by which everything that runs in the background starts and stops: idempotent, safe to call twice
 * or at the same time, and `await using` stops it.
 *
 * A function of the user's that a service calls may stop it: the service cannot end before that function, so nobody waits.
 */
export abstract class Service implements AsyncDisposable {
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new'
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  readonly #finished: Promise<void>
  #resolveFinished: () => void = () => {}

  constructor() {
    this.#finished = new Promise((resolve) => {
      this.#resolveFinished = resolve
    })
  }

  /**
   * Resolves when it has stopped, for whatever reason.
   * @throws OPTION_CONFLICT in a function that it calls, and would wait for
   */
  get finished(): Promise<void> {
    if (!this.isCaller) return this.#finished
    const refused = Promise.reject(
      new TidingsError('OPTION_CONFLICT', 'a handler waits for the end of what calls it', {
        hint: 'Wait outside of the handler. To end it, call stop() in the handler.',
      }),
    )
    refused.catch(() => {})
    return refused
  }

  /** Whether the code that runs now was called by this service. */
  get isCaller(): boolean {
    return callers.getStore()?.has(this) === true
  }

  /** Calls a function of the user's. */
  protected call<T>(user: () => T): T {
    return callers.run(new Set([...(callers.getStore() ?? []), this]), user)
  }

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

  /**
   * Stops once; a second call waits for the first. Stopping what was never started is fine. In a function that the service
   * calls it only begins to stop.
   */
  stop(): Promise<void> {
    this.#stopped ??= onItsOwn(() => this.#stopOnce())
    return this.isCaller ? Promise.resolve() : this.#stopped
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
      this.#resolveFinished()
    }
  }

  protected abstract onStart(): Promise<void>
  protected abstract onStop(): Promise<void>

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
