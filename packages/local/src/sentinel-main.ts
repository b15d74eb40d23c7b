import { writeSync } from 'node:fs'
import { TidingsError } from 'tidings/internal/core/errors'
import { unavailable } from './failures.ts'
import type { KindName } from './paths.ts'
import { findPlace } from './paths.ts'
import { LocalSentinel } from './sentinel.ts'

/** What the sentinel's process tells the one that started it, once. */
export type SentinelReport = { ready: true } | { error: ReturnType<TidingsError['toJSON']> }

const [directory = '', kind = '', idleAfterMs] = process.argv.slice(2)

function log(line: string): void {
  try {
    writeSync(2, `${new Date().toISOString()} [${process.pid}] ${line}\n`)
  } catch {
    // The disk is full, for example. What cannot be said is no reason to end.
  }
}

/** Whoever started us may be gone by now; nothing depends on being heard. */
async function report(content: SentinelReport): Promise<void> {
  if (!process.connected) return
  await new Promise((resolve) => process.send?.(content, resolve))
  if (process.connected) process.disconnect()
}

async function main(): Promise<void> {
  const place = await findPlace(directory, kind as KindName)
  if (!place) throw unavailable(`${directory} is gone`)
  const sentinel = new LocalSentinel(place, { idleAfterMs: Number(idleAfterMs), log })
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
