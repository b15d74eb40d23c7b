import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { TidingsError } from 'tidings/internal/core/errors'
import { openingFailed, unavailable } from './failures.ts'
import type { ServerPaths } from './paths.ts'
import { cleanEnvironment } from './processes.ts'
import { sentinelProgram } from './sentinel.ts'
import type { SentinelReport } from './sentinel-main.ts'
import { serverTypes } from './server-types.ts'

/** How long a first start may take, on a slow disk. */
const patienceMs = 120_000

/**
 * Starts a sentinel in a process that outlives this one, and waits until the server takes connections.
 * @throws the error that the sentinel reported; TIMEOUT
 */
export async function launchSentinel(paths: ServerPaths, idleAfterMs: number): Promise<void> {
  const program = sentinelPath()
  const log = await open(paths.sentinelLog, 'a', 0o600).catch((error) => {
    throw openingFailed(error, paths.sentinelLog)
  })
  try {
    const child = spawn(process.execPath, [program, paths.directory, paths.type, String(idleAfterMs)], {
      cwd: '/',
      detached: true,
      env: cleanEnvironment(['PATH', 'TZ', 'TMPDIR', 'HOME', 'XDG_CACHE_HOME']),
      stdio: ['ignore', 'ignore', log.fd, 'ipc'],
    })
    const report = await firstReport(child, paths)
    if ('error' in report) {
      const { code, message, hint, details } = report.error
      throw new TidingsError(code, message, { hint, details })
    }
  } finally {
    await log.close()
  }
}

/** The first report of the sentinel. The child does not keep this process alive after that. */
async function firstReport(child: ChildProcess, { type, sentinelLog }: ServerPaths): Promise<SentinelReport> {
  const details = { log: sentinelLog }
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<SentinelReport>((resolve, reject) => {
      child.once('message', (message) => resolve(message as SentinelReport))
      child.once('error', (error) =>
        reject(unavailable(`${process.execPath} cannot be run`, { cause: error, details })),
      )
      child.once('exit', (code, name) =>
        reject(unavailable(`the sentinel ended (${name ?? `code ${code}`}); see ${sentinelLog}`, { details })),
      )
      timer = setTimeout(
        () =>
          reject(
            new TidingsError('TIMEOUT', `the local ${serverTypes[type].title} does not start; see ${sentinelLog}`, {
              details,
            }),
          ),
        patienceMs,
      )
    })
  } finally {
    clearTimeout(timer)
    if (child.connected) child.disconnect()
    child.unref()
  }
}

/** Always the compiled program: Node runs no TypeScript by itself. */
function sentinelPath(): string {
  const inSource = import.meta.url.endsWith('.ts')
  const path = fileURLToPath(new URL(`${inSource ? '../dist/' : './'}${sentinelProgram}.js`, import.meta.url))
  if (existsSync(path)) return path
  throw unavailable(`${path} is missing, which keeps local servers running`, {
    details: { path },
    hint: inSource
      ? 'Run the build first.'
      : 'Keep the package tidings-local out of your bundle (mark it as external).',
  })
}
