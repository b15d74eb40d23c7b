import { newTurns } from '../../core/in-turn.ts'

/** A shorter lease ends by itself before anybody could notice the end of its process. In milliseconds. */
export const shortestHeldMs = 2_000

/** Who this process is for the storage while its listening session lives. */
export interface Holder {
  readonly number: number
  readonly secret: string
  /** From which it has claimed: there its leases are looked for once it is gone. */
  readonly queues: Set<string>
}

/** The life of this process, as the server sees it. How leases are tied to it stands in sql/functions/holders.sql. */
export class Life {
  readonly #sessions = new Map<object, Holder>()
  readonly #oneByOne = newTurns()
  #last: Holder | null = null

  /** Null while no session listens to 'life'. */
  get holder(): Holder | null {
    return [...this.#sessions.values()].at(-1) ?? null
  }

  /** The number that leases of this process have, in force or not; null if it never had one. */
  get number(): number | null {
    return this.#last?.number ?? null
  }

  /** @param enter tells the server, which gives the same number again where it can */
  begin(
    session: object,
    enter: (before: Holder | null) => Promise<{ readonly number: number; readonly secret: string }>,
  ): Promise<void> {
    return this.#oneByOne(async () => {
      const { number, secret } = await enter(this.#last)
      const isSame = this.#last?.number === number
      this.#last = { number, secret, queues: isSame ? this.#last!.queues : new Set() }
      this.#sessions.set(session, this.#last)
    })
  }

  /** @returns who it was, if it is the last session that ends; null otherwise */
  end(session: object): Holder | null {
    const holder = this.#sessions.get(session) ?? null
    this.#sessions.delete(session)
    return this.#sessions.size === 0 ? holder : null
  }
}
