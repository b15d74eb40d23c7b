import { TidingsError } from '../core/errors.ts'

/** The calls of an engine while it is open. Closing waits for those under way, and takes no more. */
export class OpenCalls {
  #underWay = 0
  #ended: (() => void) | undefined
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
    this.#underWay++
    try {
      return await call()
    } finally {
      if (--this.#underWay === 0) this.#ended?.()
    }
  }

  /** Twice is fine. @param end gives everything back, once nothing is under way */
  close(end: () => Promise<unknown> | undefined): Promise<void> {
    this.#closing ??= this.#close(end)
    return this.#closing
  }

  async #close(end: () => Promise<unknown> | undefined): Promise<void> {
    if (this.#underWay > 0)
      await new Promise<void>((resolve) => {
        this.#ended = resolve
      })
    await end()
  }
}
