import { TidingsError } from '../core/errors.ts'

/** The calls of an engine while it is open. Closing waits for those under way, and takes no more. */
export class OpenCalls {
  readonly #underWay = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  get isClosed(): boolean {
    return this.#closing !== undefined
  }

  /** @throws CLOSED */
  check(): void {
    if (this.isClosed) throw new TidingsError('CLOSED', 'the connection was closed')
  }

  /** @throws CLOSED */
  async run<T>(call: () => Promise<T>): Promise<T> {
    this.check()
    const running = call()
    this.#underWay.add(running)
    try {
      return await running
    } finally {
      this.#underWay.delete(running)
    }
  }

  /** Twice is fine. @param end gives everything back, once nothing is under way */
  close(end: () => Promise<unknown> | undefined): Promise<void> {
    this.#closing ??= this.#close(end)
    return this.#closing
  }

  async #close(end: () => Promise<unknown> | undefined): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay)
    await end()
  }
}
