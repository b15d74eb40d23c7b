import { isTidingsError } from '../../core/errors.ts'
import type { Interest, Listener, Listening } from '../../port/listening.ts'
import { type ProcessInfo, thisProcess } from '../../port/processes.ts'

/** Who is to be told of new messages, and of what. */
export class Listeners {
  readonly #all = new Map<Listener, Set<Interest>>()
  /** Processes that are gone, until somebody is there who gives back what they had. */
  readonly #gone = new Set<Listener>()
  readonly #giveBack: (holder: object) => void
  readonly #now: () => number
  /** Those that are looked after. */
  readonly #lives = new Map<object, ProcessInfo & { readonly queues: string[] }>()
  #begun = 0

  constructor(giveBack: (holder: object) => void, now: () => number) {
    this.#giveBack = giveBack
    this.#now = now
  }

  /** The process to which leases belong now: the one that came last. */
  get holder(): object | undefined {
    return [...this.#all].findLast(([, interests]) => interests.has('life'))?.[0]
  }

  /** @param check throws why something cannot be listened to */
  add(listener: Listener, check: (interest: Interest) => void): Listening {
    const interests = new Set<Interest>()
    // A listener of its own, so that the same one can be added twice.
    const own = { ...listener }
    this.#all.set(own, interests)
    const giveBackOfGone = () => this.#giveBackOfGone()
    const live = () => this.#live(own)
    const liveNoMore = () => this.#lives.delete(own)
    return {
      async listen(asked) {
        const refused = new Map<Interest, unknown>()
        for (const interest of asked)
          try {
            check(interest)
            interests.add(interest)
            if (interest === 'life') live()
          } catch (error) {
            if (isTidingsError(error, 'CLOSED')) throw error
            refused.set(interest, error)
          }
        giveBackOfGone()
        return refused
      },
      unlisten(unwanted) {
        for (const interest of unwanted) interests.delete(interest)
        if (unwanted.includes('life')) liveNoMore()
      },
      close: async () => {
        if (this.#all.delete(own) && interests.has('life')) this.#gone.add(own)
        liveNoMore()
        giveBackOfGone()
      },
    }
  }

  #live(holder: object): void {
    if (this.#lives.has(holder)) return
    this.#lives.set(holder, { ...thisProcess, id: String(++this.#begun), since: this.#now(), queues: [] })
  }

  get processes(): ProcessInfo[] {
    return [...this.#lives.values()].map((one) => ({ ...one, queues: one.queues.toSorted() }))
  }

  /** It claims from the queue what is held. */
  claims(holder: object, queue: string): void {
    const { queues } = this.#lives.get(holder)!
    if (!queues.includes(queue)) queues.push(queue)
  }

  #giveBackOfGone(): void {
    if (this.holder === undefined) return
    for (const holder of this.#gone) this.#giveBack(holder)
    this.#gone.clear()
  }

  /** Tells of it after the operation at hand, so that it is found done. */
  wake(interest: Interest, dueMs: number): void {
    this.#tell(interest, (listener) => listener.woken(interest, dueMs))
  }

  changed(interest: Interest): void {
    this.#tell(interest, (listener) => {
      listener.changed?.(interest)
      listener.woken(interest, 0)
    })
  }

  #tell(interest: Interest, tell: (listener: Listener) => void): void {
    for (const [listener, interests] of this.#all)
      queueMicrotask(() => {
        if (interests.has(interest) && this.#all.has(listener)) tell(listener)
      })
  }

  /** It is gone. One of the same name is another. */
  forget(interest: Interest): void {
    for (const interests of this.#all.values()) interests.delete(interest)
  }

  clear(): void {
    this.#all.clear()
    this.#lives.clear()
  }
}
