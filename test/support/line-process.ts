import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

/** A process of a test's own that tells what happens, one JSON document a line; it ends with the test. */
export class LineProcess<Line> {
  readonly lines: Line[] = []
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #waiting = new Set<() => void>()
  #looking: NodeJS.Timeout | undefined

  /**
   * @param script a `.mjs` file in `test/`, which may import the built code
   * @param atEnd that of a test which runs beside others
   */
  constructor(script: string, args: readonly string[], atEnd: typeof onTestFinished = onTestFinished) {
    const file = fileURLToPath(new URL(`../${script}`, import.meta.url))
    this.#child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    createInterface(this.#child.stdout!).on('line', (line) => {
      this.lines.push(JSON.parse(line))
      // Many lines, one look: it may go through all of them.
      this.#looking ??= setTimeout(() => this.#look(), 5)
    })
    this.ended = new Promise((resolve) => this.#child.on('close', () => resolve()))
    atEnd(() => this.kill())
  }

  #look(): void {
    this.#looking = undefined
    for (const check of this.#waiting) check()
  }

  /** Waits until the lines are so. */
  until(isSo: (lines: readonly Line[]) => boolean): Promise<void> {
    return new Promise((resolve) => {
      const check = () => {
        if (!isSo(this.lines)) return
        this.#waiting.delete(check)
        resolve()
      }
      this.#waiting.add(check)
      check()
    })
  }

  /** Waits for a line that fits. */
  untilLine(fits: (line: Line) => boolean): Promise<void> {
    return this.until((lines) => lines.some(fits))
  }

  /** SIGSTOP, SIGCONT and what the script waits for. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** @returns once it has ended and everything that it told is here */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.signal(signal)
    await this.ended
  }
}
