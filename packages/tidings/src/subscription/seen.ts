/** The offsets that were given out, as ranges: mostly one range, and one more after each jump. */
export class Seen {
  readonly #ranges: { from: number; to: number }[] = []

  /** @returns whether the offset was given out before */
  add(offset: number): boolean {
    const found = this.#ranges.find(({ from, to }) => offset >= from && offset <= to + 1)
    if (found === undefined) this.#ranges.push({ from: offset, to: offset })
    else if (offset <= found.to) return true
    else this.#extend(found, offset)
    return false
  }

  #extend(range: { to: number }, offset: number): void {
    range.to = offset
    const next = this.#ranges.findIndex(({ from }) => from === offset + 1)
    if (next >= 0) range.to = this.#ranges.splice(next, 1)[0]!.to
  }
}
