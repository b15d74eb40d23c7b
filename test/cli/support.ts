import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import { migratedDatabase } from '../postgres/support.ts'
import { sharedServer } from '../support/shared-servers.ts'

const main = fileURLToPath(new URL('../../packages/cli/dist/main.js', import.meta.url))
const program = fileURLToPath(new URL('../../packages/cli/dist/run.js', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunSetting {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string | Buffer
}

const running = new Set<Tidings>()

/** A running `tidings`, with nothing in its environment that would tell it of a storage. */
export class Tidings {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  #stdout = ''
  #stderr = ''
  #seen: () => void = () => {}

  /** Ends those that a failed test has left. */
  static endAll(): void {
    for (const { child } of running) child.kill('SIGKILL')
  }

  constructor(args: readonly string[], { cwd, env, input }: RunSetting = {}) {
    const { PATH = '', HOME = '' } = process.env
    this.child = spawn(process.execPath, [main, ...args], { cwd: cwd ?? folder, env: { PATH, HOME, ...env } })
    this.child.stdout?.on('data', (chunk) => this.#add({ stdout: String(chunk) }))
    this.child.stderr?.on('data', (chunk) => this.#add({ stderr: String(chunk) }))
    // It may have ended before it read its input.
    this.child.stdin?.on('error', () => {})
    this.child.stdin?.end(input)
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code) => {
        running.delete(this)
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr })
      })
    })
    running.add(this)
  }

  /** Waits until the pattern stands in what was printed. */
  async until(pattern: RegExp): Promise<void> {
    let over = false
    const end = this.ended.then(() => {
      over = true
      this.#seen()
    })
    while (!pattern.test(this.#stdout + this.#stderr)) {
      if (over) throw new Error(`ended without ${pattern}:\n${this.#stdout}${this.#stderr}`)
      await Promise.race([end, new Promise<void>((resolve) => (this.#seen = resolve))])
    }
  }

  #add({ stdout = '', stderr = '' }): void {
    this.#stdout += stdout
    this.#stderr += stderr
    this.#seen()
  }
}

/** Runs a command in a process of its own, to its end. */
export const spawned = (args: readonly string[], setting?: RunSetting): Promise<Ended> =>
  new Tidings(args, setting).ended

let last: Promise<unknown> = Promise.resolve()

/** Runs a command in this process, to its end: the same to the command, and a tenth of the time. One after the other. */
export function tidings(args: readonly string[], setting?: RunSetting): Promise<Ended> {
  const ended = last.then(() => runHere(args, setting))
  last = ended.catch(() => {})
  return ended
}

async function runHere(args: readonly string[], { cwd = folder, env, input = '' }: RunSetting = {}): Promise<Ended> {
  const { run }: typeof import('tidings-cli/internal/run') = await import(program)
  const before = { cwd: process.cwd(), env: { ...process.env } }
  const { PATH = '', HOME = '' } = before.env
  const stdin = Object.getOwnPropertyDescriptor(process, 'stdin')!
  const [stdout, stderr] = [new Capture(process.stdout), new Capture(process.stderr)]
  try {
    process.chdir(cwd)
    setEnvironment({ PATH, HOME, ...env })
    Object.defineProperty(process, 'stdin', { configurable: true, value: Readable.from([Buffer.from(input)]) })
    const code = await run(args)
    return { code, stdout: stdout.text, stderr: stderr.text }
  } finally {
    for (const capture of [stdout, stderr]) capture.end()
    Object.defineProperty(process, 'stdin', stdin)
    setEnvironment(before.env)
    process.chdir(before.cwd)
    process.exitCode = undefined
  }
}

/** In place: the system knows no other environment than this object. */
function setEnvironment(wanted: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (!(name in wanted)) delete process.env[name]
  Object.assign(process.env, wanted)
}

/** What is written to a stream instead of it. */
class Capture {
  text = ''
  readonly #stream: NodeJS.WriteStream
  readonly #write: NodeJS.WriteStream['write']

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#write = stream.write
    stream.write = (chunk: Uint8Array | string, ...more: unknown[]): boolean => {
      this.text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
      const written = more.at(-1)
      if (typeof written === 'function') written()
      return true
    }
  }

  end(): void {
    this.#stream.write = this.#write
  }
}

/** A folder of this test file's own, which is where its commands run. */
export const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tidings-cli-')))
// Otherwise the local server of a test that root runs could not reach its data here, and would keep them elsewhere.
chmodSync(folder, 0o755)
afterAll(() => {
  Tidings.endAll()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** Writes a file below the folder. @returns its path */
export function write(path: string, text: string): string {
  const full = join(folder, path)
  mkdirSync(dirname(full), { recursive: true })
  writeFileSync(full, text)
  return full
}

/**
 * A database of this test file; a test that is tried again gets another, since its first try has left something there.
 * @param fill puts in what all tests need
 */
export function useDatabase(use: (url: string) => void, fill: () => Promise<unknown> = async () => {}): void {
  let url: string
  const useAnother = async () => {
    const own = await ownDatabase()
    use(own)
    await fill()
    return own
  }
  beforeAll(async () => {
    url = await useAnother()
  })
  beforeEach(async ({ task }) => {
    if ((task.result?.retryCount ?? 0) > 0) await useAnother()
  })
  afterEach(() => use(url))
}

/** A database of this test file's own, with the schema in it. @returns its URL */
export async function ownDatabase(): Promise<string> {
  return (await migratedDatabase(await sharedServer('postgres18'))).url
}
