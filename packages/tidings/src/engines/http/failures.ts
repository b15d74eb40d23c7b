import { type ErrorCode, TidingsError } from '../../core/errors.ts'
import { tlsHint } from '../../core/tls.ts'
import type { Transaction } from '../../port/types.ts'
import { fromWireError } from '../../protocol/messages.ts'

const codeOf = (error: unknown) => String((error as { code?: unknown } | null)?.code ?? '')

/** The server, or what stands before it, is starting or stopping: it will be back. */
const comesBack = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

/** The request was never sent. */
export function cannotConnect(cause: unknown, where: string): TidingsError {
  const code = codeOf(cause)
  const isPlain = /^(ERR_SSL_|EPROTO)/.test(code)
  const hint = tlsHint(cause) ?? (isPlain ? 'Check the URL: a server without TLS is http://…' : undefined)
  return new TidingsError('CONNECTION_FAILED', `cannot connect to the server at ${where}: ${reasonOf(cause)}`, {
    cause,
    details: { comesBack: comesBack.has(code) },
    ...(hint === undefined ? {} : { hint }),
  })
}

/** The request was sent, and no answer came. */
export function lostAnswer(cause: unknown, where: string, code: ErrorCode): TidingsError {
  return new TidingsError(code, `lost the connection to the server at ${where}: ${reasonOf(cause)}`, { cause })
}

const tokenHint =
  'Pass a valid token as { token }, or to the command line in TIDINGS_TOKEN or TIDINGS_TOKEN_FILE; `tidings token create` makes one.'

/**
 * What an answer with an error means.
 * @param lostAs the code where it is not known what became of the request
 */
export function refused(status: number, body: unknown, where: string, lostAs: ErrorCode): TidingsError {
  const error = fromWireError(body)
  // It is the server's engine that was closed, not this one.
  if (error?.code === 'CLOSED') return new TidingsError('CONNECTION_LOST', `the server at ${where} is stopping`)
  if (error?.code === 'UNAUTHORIZED') return new TidingsError('UNAUTHORIZED', error.message, { hint: tokenHint })
  if (error !== null) return error
  if (status >= 500) return new TidingsError(lostAs, `the server at ${where} answered ${status}`)
  return new TidingsError('STORAGE_FAILED', `what answers at ${where} is no server of Tidings: status ${status}`, {
    hint: 'Check the URL: `tidings serve` prints the one that it listens on.',
  })
}

function reasonOf(error: unknown): string {
  // Node tries several addresses and reports all of them at once.
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join('; ')
  return error instanceof Error ? error.message || codeOf(error) : String(error)
}

export function unsupported(): TidingsError {
  return new TidingsError('UNSUPPORTED', 'transactions do not reach over HTTP', {
    details: { feature: 'transactions' },
  })
}

export function refuseTransaction(transaction: Transaction | null): void {
  if (transaction !== null) throw unsupported()
}
