import type { ClientConfig } from 'pg'
import { type ErrorCode, TidingsError } from '../../core/errors.ts'
import { byUrl, tlsHint } from '../../core/tls.ts'
import { keepsAll } from '../../port/refusals.ts'
import { failureOf, sqlStateOf } from './sqlstates.ts'

/**
 * @param where host and port, for the message
 * @param lostAs the code for a connection that broke; CONNECTION_FAILED for one that was not there yet
 */
export function toTidingsError(error: unknown, where: string, lostAs: ErrorCode): TidingsError {
  if (error instanceof TidingsError) return error
  const failure = failureOf(error)
  const code = failure.code ?? lostAs
  const why = reasonOf(error)
  const refused = failure.outcome === 'refused'
  const details = { sqlState: sqlStateOf(error), comesBack: failure.retry, ...(refused ? { refused } : {}) }
  const options = { cause: error, details }
  if (code.endsWith('_NOT_FOUND')) return notFound(code, why)
  if (code === 'OPTION_CONFLICT') return keepsAll(/"(.*)"/.exec(why)?.[1] ?? '')
  if (code === 'CONNECTION_FAILED' || (lostAs === 'CONNECTION_FAILED' && code === 'STORAGE_FAILED')) {
    const hint = connectHint(error)
    return new TidingsError('CONNECTION_FAILED', `cannot connect to PostgreSQL at ${where}: ${why}`, {
      ...options,
      ...(hint === undefined ? {} : { hint }),
    })
  }
  if (failure.code === null)
    return new TidingsError(code, `lost the connection to PostgreSQL at ${where}: ${why}`, options)
  if (code === 'BODY_UNSUPPORTED_CHAR') return new TidingsError(code, `PostgreSQL cannot store this: ${why}`, options)
  const hint = code === 'PERMISSION_DENIED' ? (error as { hint?: string }).hint : undefined
  return new TidingsError(code, `PostgreSQL at ${where}: ${why}`, { ...options, ...(hint ? { hint } : {}) })
}

/** What `pg` says where the server has no TLS stands in no code. */
const connectHint = (error: unknown): string | undefined =>
  (error as Error | null)?.message === 'The server does not support SSL connections'
    ? 'The server has no TLS there: write ?sslmode=disable in the URL, or the address where it has.'
    : tlsHint(error, byUrl)

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
  return message || sqlStateOf(error) || 'unknown error'
}

export function describeTarget(config: ClientConfig | undefined): string {
  if (!config) return 'an unknown address'
  return config.host?.startsWith('/') ? config.host : `${config.host ?? 'localhost'}:${config.port ?? 5432}`
}
