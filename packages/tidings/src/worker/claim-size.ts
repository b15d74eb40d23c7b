/** What a claim may take until the line is known. */
const firstBytes = 256 * 1024
const leastBytes = 16 * 1024
const mostBytes = 8 * 1024 * 1024
/** How long the messages of a claim may be on their way. */
const wantedMs = 1_000
/** How many times as many bytes the next claim may take, at most. */
const growth = 4

/**
 * How many bytes a claim asks for: as many as come in about a second. Learned from what came; a claim that failed is followed
 * by a smaller one.
 */
export class ClaimSize {
  #bytes = firstBytes

  get bytes(): number {
    return this.#bytes
  }

  /**
   * @param bytes what a claim brought
   * @param tookMs how long it took
   * @param isCut whether it left out something because of its size
   */
  came(bytes: number, tookMs: number, isCut: boolean): void {
    const factor = wantedMs / Math.max(1, tookMs)
    if (factor < 1) this.#set(Math.min(this.#bytes, bytes * factor))
    else if (isCut) this.#set(this.#bytes * Math.min(growth, factor))
  }

  /** Perhaps it was too much. */
  failed(): void {
    this.#set(this.#bytes / 2)
  }

  #set(bytes: number): void {
    this.#bytes = Math.round(Math.min(mostBytes, Math.max(leastBytes, bytes)))
  }
}
