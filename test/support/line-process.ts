import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

/** A process of a test's own that tells what happens, one JSON document a line; it ends with the test. */
export class LineProcess<Line> {
  readonly lines: Line[] = []
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  #seen: () => void = () => {}

  /**
   * @param script a `.mjs` file in `test/`, which may import the built code
   * @param atEnd that of a test which runs beside others
   */
  constructor(script: string, args: readonly string[], atEnd: typeof onTestFinished = onTestFinished) {
    const file = fileURLToPath(new URL(`../${script}`, import.meta.url))
    this.#child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    createInterface(this.#child.stdout!).on('line', (line) => {
      this.lines.push(JSON.parse(line))
      this.#seen()
    })
    this.ended = new Promise((resolve) => this.#child.on('close', () => resolve()))
    atEnd(() => this.kill())
  }

  /** Waits until the lines are so. */
  async until(isSo: (lines: readonly Line[]) => boolean): Promise<void> {
    while (!isSo(this.lines))
      await new Promise<void>((resolve) => {
        this.#seen = resolve
      })
  }

  /** Waits for a line that fits. */
  untilLine(fits: (line: Line) => boolean): Promise<void> {
    return this.until((lines) => lines.some(fits))
  }

  /** @returns once it has ended and everything that it told is here */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal)
    await this.ended
  }
}
