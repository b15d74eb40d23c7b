import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll } from 'vitest'
import { sharedServer } from '../support/shared-servers.ts'

const main = fileURLToPath(new URL('../../packages/cli/dist/main.js', import.meta.url))

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

export const tidings = (args: readonly string[], setting?: RunSetting): Promise<Ended> =>
  new Tidings(args, setting).ended

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

/** A database of this test file's own. @returns its URL */
export async function ownDatabase(): Promise<string> {
  const server = await sharedServer('postgres18')
  const name = `cli_${process.pid}_${Date.now()}`
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(`create database ${name}`)
  } finally {
    await client.end()
  }
  return server.replace(/[^/]+$/, name)
}
