import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { TidingsError } from 'tidings/internal/core/errors'
import { hasCode } from './processes.ts'

/** Turns the failure of a file operation into a TidingsError that names the path. */
export function openingFailed(error: unknown, path: string): TidingsError {
  if (error instanceof TidingsError) return error
  const details = { path }
  const reason = error instanceof Error ? error.message : String(error)
  if (hasCode(error, 'ENOSPC', 'EDQUOT')) return diskFull(path, error)
  if (hasCode(error, 'EROFS')) {
    return unavailable(`${path} is on a read-only file system`, { cause: error, details, hint: elsewhere })
  }
  if (hasCode(error, 'EACCES', 'EPERM')) {
    const nearest = nearestVisible(path)
    const owner = statSync(nearest).uid
    const us = process.getuid?.()
    const why = owner === us ? '' : `: ${nearest} belongs to user ${owner}`
    return unavailable(`${path} is closed to this process, which runs as user ${us}${why} (${reason})`, {
      cause: error,
      details: { path, owner, user: us },
      hint: `Run every program that shares a local server as the same user. ${elsewhere}`,
    })
  }
  return unavailable(`${path} cannot be used: ${reason}`, { cause: error, details })
}

/** Turns the output of a server (or `initdb`) that gave up into a TidingsError. */
export function startFailed(
  output: string,
  { dataDirectory, log }: { dataDirectory: string; log: string },
  { title = 'PostgreSQL', reason = reasonIn(output) } = {},
): TidingsError {
  if (/No space left on device|Disk quota exceeded/.test(output)) return diskFull(dataDirectory)
  const details = { dataDirectory, log, reason }
  if (/could not look up effective user ID/.test(output)) {
    return unavailable(`PostgreSQL cannot be set up in ${dataDirectory}: ${reason}`, {
      details,
      hint: 'Give the user that runs this program an entry in /etc/passwd, or use a PostgreSQL server of your own.',
    })
  }
  return unavailable(`${title} does not start in ${dataDirectory}: ${reason}; its log is ${log}`, { details })
}

export function unavailable(
  message: string,
  options: { cause?: unknown; details?: Readonly<Record<string, unknown>>; hint?: string } = {},
): TidingsError {
  return new TidingsError('LOCAL_UNAVAILABLE', message, options)
}

const elsewhere = 'Choose another directory, or use a server of your own (DATABASE_URL, REDIS_URL).'

function diskFull(path: string, cause?: unknown): TidingsError {
  return new TidingsError('STORAGE_FULL', `no space is left for ${path}`, {
    cause,
    details: { path },
    hint: 'Free space on that disk and try again.',
  })
}

/** The path, or the nearest directory above that this process may stat. */
function nearestVisible(path: string): string {
  if (path === dirname(path)) return path
  try {
    statSync(path)
    return path
  } catch {
    return nearestVisible(dirname(path))
  }
}

/** The line of the output with the reason. */
function reasonIn(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '')
  const line = lines.find((text) => /FATAL|PANIC|error:|ERROR/.test(text)) ?? lines.at(-1) ?? 'it wrote nothing'
  return line.replace(/^.*?(FATAL|PANIC|ERROR|error):\s*/, '').trim()
}
