const width = 24

/** A progress bar on standard error, on a terminal only. */
export class Progress {
  readonly #totalBytes: number | null
  readonly #shown: boolean
  #bytes = 0
  #drawnAt = 0

  /** @param totalBytes null if unknown */
  constructor(totalBytes: number | null, shown: boolean) {
    this.#totalBytes = totalBytes
    this.#shown = shown && Boolean(process.stderr.isTTY)
  }

  read(bytes: number): void {
    this.#bytes += bytes
  }

  draw(messages: number): void {
    const now = Date.now()
    if (!this.#shown || now - this.#drawnAt < 100) return
    this.#drawnAt = now
    process.stderr.write(`\r\u001b[K${this.#bar()}${messages.toLocaleString('en-US')} messages`)
  }

  clear(): void {
    if (this.#shown) process.stderr.write('\r\u001b[K')
  }

  #bar(): string {
    if (!this.#totalBytes) return ''
    const share = Math.min(1, this.#bytes / this.#totalBytes)
    const filled = Math.round(share * width)
    return `[${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${String(Math.round(share * 100)).padStart(3)} %  `
  }
}
