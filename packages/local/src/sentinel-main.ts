import { writeSync } from 'node:fs'
import { TidingsError } from 'tidings/internal/core/errors'
import { unavailable } from './failures.ts'
import type { ServerTypeName } from './paths.ts'
import { findPaths } from './paths.ts'
import { LocalSentinel } from './sentinel.ts'

/** The one message of the sentinel's process to its parent. */
export type SentinelReport = { ready: true } | { error: ReturnType<TidingsError['toJSON']> }

const [directory = '', type = '', idleAfterMs] = process.argv.slice(2)

function log(line: string): void {
  try {
    writeSync(2, `${new Date().toISOString()} [${process.pid}] ${line}\n`)
  } catch {
    // A log line that cannot be written (full disk) is no reason to end.
  }
}

/** Tells the parent, if it still runs. */
async function report(content: SentinelReport): Promise<void> {
  if (!process.connected) return
  await new Promise((resolve) => process.send?.(content, resolve))
  if (process.connected) process.disconnect()
}

async function main(): Promise<void> {
  const paths = await findPaths(directory, type as ServerTypeName)
  if (!paths) throw unavailable(`${directory} is gone`)
  const sentinel = new LocalSentinel(paths, { idleAfterMs: Number(idleAfterMs), log })
  const stop = () => void sentinel.stop().catch(fail)
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, stop)
  await sentinel.start()
  await report({ ready: true })
  log(`ends: ${await sentinel.ended}`)
}

async function fail(error: unknown): Promise<void> {
  log(error instanceof Error ? (error.stack ?? error.message) : String(error))
  const known =
    error instanceof TidingsError ? error : unavailable(`the sentinel failed: ${String(error)}`, { cause: error })
  await report({ error: known.toJSON() })
  process.exit(1)
}

main().then(() => process.exit(0), fail)
