import { AsyncLocalStorage } from 'node:async_hooks'
import { TidingsError } from './errors.ts'

/** The services that called the current code. */
const callers = new AsyncLocalStorage<ReadonlySet<Service>>()

/** Whether one of these services called the current code. */
export const isCalledBy = (services: { has(service: Service): boolean }): boolean =>
  [...(callers.getStore() ?? [])].some((service) => services.has(service))

/** Runs code outside of the calling services. */
export const onItsOwn = <T>(call: () => T): T => callers.run(new Set(), call)

/**
 * The one contract for starting and stopping background work: idempotent, safe to call twice or at the same time, and
 * `await using` stops it.
 *
 * A user function that a service calls may stop that service. The service cannot end before the function returns, so such
 * a stop does not wait.
 */
export abstract class Service implements AsyncDisposable {
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new'
  #started: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  readonly #finished: Promise<void>
  /** One for all calls, of which a worker makes one a message. */
  readonly #alone: ReadonlySet<Service> = new Set([this])
  #resolveFinished: () => void = () => {}

  constructor() {
    this.#finished = new Promise((resolve) => {
      this.#resolveFinished = resolve
    })
  }

  /**
   * Resolves when the service has stopped, for any reason.
   * @throws OPTION_CONFLICT in a function that the service calls: both would wait for each other
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

  /** Whether this service called the current code. */
  get isCaller(): boolean {
    return callers.getStore()?.has(this) === true
  }

  /** Calls a user function. */
  protected call<T>(user: () => T): T {
    const outer = callers.getStore()
    return callers.run(outer ? new Set([...outer, this]) : this.#alone, user)
  }

  get state(): 'new' | 'running' | 'stopping' | 'stopped' {
    return this.#state
  }

  /** Starts once; a second call waits for the first. A stopped service stays stopped. */
  start(): Promise<void> {
    if (this.#started === undefined) {
      if (this.#stopped !== undefined) return Promise.resolve()
      this.#state = 'running'
      this.#started = this.onStart()
    }
    return this.#started
  }

  /**
   * Stops once; a second call waits for the first. A service that was never started can be stopped. In a function that the
   * service calls, stop does not wait.
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
