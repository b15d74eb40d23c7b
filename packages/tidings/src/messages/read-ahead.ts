/** About how much data one read is to bring, in characters. */
const mostCharacters = 8 * 1024 * 1024
/** How many times as many a read may bring as the one before. */
const growth = 10

/**
 * How many messages to read at a time: as many as were asked for, but fewer where they are large, so that a read neither
 * takes too long nor fills the memory. Learned from what was read.
 */
export class ReadAhead {
  readonly #most: number
  #count: number

  /** @param most how many were asked for; @param first how many while their size is not known */
  constructor(most: number, first = 10) {
    this.#most = most
    this.#count = Math.min(first, most)
  }

  get count(): number {
    return this.#count
  }

  /** @param messages what a read brought, at least one */
  learn(messages: readonly { readonly data: string }[]): void {
    const characters = messages.reduce((sum, { data }) => sum + data.length, 0)
    const fitting = Math.floor((mostCharacters * messages.length) / Math.max(1, characters))
    this.#count = Math.max(1, Math.min(fitting, messages.length * growth, this.#most))
  }

  /** A read failed: perhaps it was too much. */
  shrink(): void {
    this.#count = Math.ceil(this.#count / 2)
  }
}
