import { isTidingsError } from '../../core/errors.ts'
import type { Interest, Listener, Listening } from '../../port/listening.ts'

/** Who is to be told of new messages, and of what. */
export class Listeners {
  readonly #all = new Map<Listener, Set<Interest>>()

  /** @param check throws why something cannot be listened to */
  add(listener: Listener, check: (interest: Interest) => void): Listening {
    const interests = new Set<Interest>()
    // A listener of its own, so that the same one can be added twice.
    const own = { ...listener }
    this.#all.set(own, interests)
    return {
      async listen(asked) {
        const refused = new Map<Interest, unknown>()
        for (const interest of asked)
          try {
            check(interest)
            interests.add(interest)
          } catch (error) {
            if (isTidingsError(error, 'CLOSED')) throw error
            refused.set(interest, error)
          }
        return refused
      },
      unlisten(unwanted) {
        for (const interest of unwanted) interests.delete(interest)
      },
      close: async () => void this.#all.delete(own),
    }
  }

  /** Tells of it after the operation at hand, so that it is found done. */
  wake(interest: Interest, dueMs: number): void {
    for (const [listener, interests] of this.#all)
      queueMicrotask(() => {
        if (interests.has(interest) && this.#all.has(listener)) listener.woken(interest, dueMs)
      })
  }

  /** It is gone. One of the same name is another. */
  forget(interest: Interest): void {
    for (const interests of this.#all.values()) interests.delete(interest)
  }

  clear(): void {
    this.#all.clear()
  }
}
