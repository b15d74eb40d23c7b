import { stat } from 'node:fs/promises'
import type { Timer } from 'tidings/internal/core/clock'
import { systemClock } from 'tidings/internal/core/clock'
import { Service } from 'tidings/internal/core/service'

const intervalMs = 2_000

/**
 * Calls back when one of the files has become another. It looks by itself from time to time: what mounts secrets swaps
 * links, which systems do not announce alike.
 */
export class FileWatch extends Service {
  readonly #files: readonly string[]
  readonly #changed: () => void
  #seen = ''
  #timer: Timer | undefined

  constructor(files: readonly string[], changed: () => void) {
    super()
    this.#files = files
    this.#changed = changed
  }

  protected async onStart(): Promise<void> {
    this.#seen = await this.#look()
    this.#plan()
  }

  #plan(): void {
    if (this.state !== 'running' || this.#files.length === 0) return
    this.#timer = systemClock.after(intervalMs, () => void this.#check())
  }

  async #check(): Promise<void> {
    const now = await this.#look()
    if (this.state === 'running' && now !== this.#seen) {
      this.#seen = now
      this.#changed()
    }
    this.#plan()
  }

  async #look(): Promise<string> {
    const stamps = this.#files.map(async (file) => {
      try {
        const { ino, size, mtimeMs } = await stat(file)
        return `${ino} ${size} ${mtimeMs}`
      } catch {
        return 'none'
      }
    })
    return (await Promise.all(stamps)).join('\n')
  }

  protected async onStop(): Promise<void> {
    this.#timer?.cancel()
  }
}
