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
  /** Why nothing will come any more, where the script has failed; a signal is what a test wants. */
  #failure: Error | undefined
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
    this.ended = new Promise((resolve) =>
      this.#child.on('close', (code) => {
        if (code) this.#failure = new Error(`${script} ended with code ${code}; it has said why`)
        this.#look()
        resolve()
      }),
    )
    atEnd(() => this.kill())
  }

  #look(): void {
    this.#looking = undefined
    for (const check of this.#waiting) check()
  }

  /** Waits until the lines are so. Rejects once the script has failed. */
  until(isSo: (lines: readonly Line[]) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = () => {
        const isOver = isSo(this.lines)
        if (!isOver && !this.#failure) return
        this.#waiting.delete(check)
        if (isOver) resolve()
        else reject(this.#failure)
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
