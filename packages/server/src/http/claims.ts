/** A request for messages under way. */
export interface Claiming {
  /** Whether nobody takes its answer any more: the client asks for it anew, or has given it up. */
  readonly isLost: boolean
  end(): void
}

/** The numbered requests under way, so that it is known of each at its end whether somebody takes the answer. */
export class Claims {
  readonly #underWay = new Map<string, { isLost: boolean }>()

  /** @param number null: it has none, and is never lost */
  begin(holder: string, number: number | null): Claiming {
    const own = { isLost: false }
    const key = keyOf(holder, number)
    if (number !== null) this.#underWay.set(key, own)
    return Object.assign(own, {
      end: () => {
        if (this.#underWay.get(key) === own) this.#underWay.delete(key)
      },
    })
  }

  lost(holder: string, number: number): void {
    const claiming = this.#underWay.get(keyOf(holder, number))
    if (claiming) claiming.isLost = true
  }
}

const keyOf = (holder: string, number: number | null) => `${holder}/${number}`
