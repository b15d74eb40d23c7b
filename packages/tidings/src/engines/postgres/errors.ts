import type { ClientConfig } from 'pg'
import { type ErrorCode, TidingsError } from '../../core/errors.ts'

/** SQLSTATE → what it means to the user. PostgreSQL's documentation, appendix A; TD… are raised by our functions. */
const codes: Readonly<Record<string, ErrorCode>> = {
  TD404: 'QUEUE_NOT_FOUND',
  TD405: 'TOPIC_NOT_FOUND',
  TD406: 'SUBSCRIPTION_NOT_FOUND',
  '42P07': 'QUEUE_NAME_CONFLICT',
  '42501': 'PERMISSION_DENIED',
  '53100': 'STORAGE_FULL',
  '28000': 'CONNECTION_FAILED',
  '28P01': 'CONNECTION_FAILED',
  '3D000': 'CONNECTION_FAILED',
  '53300': 'CONNECTION_FAILED',
}

/** The server is starting, stopping or recovering: it will be back. */
const comesBack = new Set(['57P01', '57P02', '57P03', 'ECONNREFUSED', 'ECONNRESET', 'ENOENT', '53300'])

/** Deadlock and serialization failure: nothing was done, and the same again may succeed. */
const rolledBack = new Set(['40P01', '40001'])

const codeOf = (error: unknown) => String((error as { code?: unknown } | null)?.code ?? '')

/** Whether the connection is unusable after this error. */
export function isConnectionError(error: unknown): boolean {
  const code = codeOf(error)
  if (/^(08|57P0)/.test(code) || /^E[A-Z]+$/.test(code)) return true
  return (
    error instanceof Error && /^(Connection terminated|Query read timeout|Client has encountered)/.test(error.message)
  )
}

/**
 * @param where host and port, for the message
 * @param lostAs the code for a connection that broke
 */
export function toTidingsError(error: unknown, where: string, lostAs: ErrorCode): TidingsError {
  if (error instanceof TidingsError) return error
  const code = codeOf(error)
  const why = reasonOf(error)
  const details = { sqlState: code, comesBack: comesBack.has(code), rolledBack: rolledBack.has(code) }
  const known = codes[code]
  if (known?.endsWith('_NOT_FOUND')) return notFound(known, why)
  if (known === 'CONNECTION_FAILED' || (lostAs === 'CONNECTION_FAILED' && known === undefined))
    return new TidingsError('CONNECTION_FAILED', `cannot connect to PostgreSQL at ${where}: ${why}`, {
      cause: error,
      details,
    })
  if (known) return new TidingsError(known, `PostgreSQL at ${where}: ${why}`, { cause: error, details })
  if (isConnectionError(error))
    return new TidingsError(lostAs, `lost the connection to PostgreSQL at ${where}: ${why}`, { cause: error, details })
  return new TidingsError('STORAGE_FAILED', `PostgreSQL at ${where}: ${why}`, { cause: error, details })
}

/** @param why what our functions raise: names what is missing, be it one thing or a part of another */
function notFound(code: ErrorCode, why: string): TidingsError {
  const named = [...why.matchAll(/(queue|topic|subscription) "([^"]*)"/g)].map(
    ([, what, name]) => [what, name] as const,
  )
  const text = named.map(([what, name]) => `${what} '${name}'`).join(' of ')
  return new TidingsError(code, `${text} does not exist`, { details: Object.fromEntries(named) })
}

function reasonOf(error: unknown): string {
  // Node tries several addresses and reports all of them at once.
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ')
  const message = error instanceof Error ? error.message : String(error)
  return message || codeOf(error) || 'unknown error'
}

export function describeTarget(config: ClientConfig | undefined): string {
  if (!config) return 'an unknown address'
  return config.host?.startsWith('/') ? config.host : `${config.host ?? 'localhost'}:${config.port ?? 5432}`
}
