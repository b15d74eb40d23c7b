import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { atExit } from './directories.ts'

const program = fileURLToPath(new URL('../../packages/cli/dist/main.js', import.meta.url))

/** A `tidings serve` in a process of its own. */
export interface TestHttpServer {
  readonly url: string
  readonly process: ChildProcess
  /** Ends it by a signal and waits for its end; twice is fine. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/**
 * Starts the built program on a free port of 127.0.0.1.
 * @param storage the URL of what it serves
 * @param args further ones of the command
 */
export async function startHttpServer(storage: string, ...args: string[]): Promise<TestHttpServer> {
  const arrangement = [
    'serve',
    '--json',
    '--url',
    storage,
    ...(args.includes('--port') ? [] : ['--port', '0']),
    ...args,
  ]
  const child = spawn(process.execPath, [program, ...arrangement], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LOG_LEVEL: 'warn' },
  })
  // Where a test ended before it could stop it.
  const forget = atExit(() => void child.kill('SIGKILL'))
  const log: string[] = []
  child.stderr.on('data', (chunk: Buffer) => log.push(String(chunk)))
  const ended = once(child, 'exit').finally(forget)
  const [line] = await Promise.race([
    once(createInterface(child.stdout), 'line') as Promise<[string]>,
    ended.then(() => {
      throw new Error(`tidings serve ended at once\n${log.join('')}`)
    }),
  ])
  child.stdout.resume()
  return {
    url: (JSON.parse(line) as { url: string }).url,
    process: child,
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      await ended
    },
  }
}
