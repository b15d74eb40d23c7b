import { type ErrorCode, TidingsError } from '../../core/errors.ts'
import { noQueue, noTopic } from '../../port/refusals.ts'
import { connectHint } from './connect-hints.ts'

/** There was no connection: nothing has reached the server. */
export class Unsent extends Error {}

/** The command was sent, and its answer is lost. */
export class Lost extends Error {}

/** Nothing was done, and soon the same may succeed. */
const transient = new Set([
  'LOADING',
  'MASTERDOWN',
  'NOREPLICAS',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'READONLY',
  'BUSY',
  'MOVED',
  'ASK',
])

const codes: Readonly<Record<string, ErrorCode>> = {
  OOM: 'STORAGE_FULL',
  MISCONF: 'STORAGE_FULL',
  NOPERM: 'PERMISSION_DENIED',
  NOINTENT: 'CONNECTION_LOST',
  NOAUTH: 'CONNECTION_FAILED',
  WRONGPASS: 'CONNECTION_FAILED',
}

const hints: Readonly<Record<string, string>> = {
  OOM: 'Raise maxmemory, or let workers empty the queues: reading and settling still work.',
  MISCONF: 'Free space on the disk of the server; until then it takes no writes.',
  NOPERM: 'Grant the user what docs/engines/redis.md lists: ACL SETUSER.',
}

/** Of a reply of the server: the first word of its message. */
export function replyCode(error: unknown): string {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return ''
  // The wording of Redis 7.0 for a command in a script.
  if (error.message.includes("user executing the script can't run")) return 'NOPERM'
  return /^[A-Z]+/.exec(error.message)?.[0] ?? ''
}

export const isTransient = (error: unknown) => transient.has(replyCode(error))

/** Whether the server may be back in a moment: a restart, or a failover. */
export function comesBack(error: unknown): boolean {
  const cause = error instanceof Unsent ? error.cause : error
  if (replyCode(cause)) return isTransient(cause)
  const code = (cause as { code?: unknown } | undefined)?.code
  return code === undefined || ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT'].includes(String(code))
}

/** The node of a Cluster at which an error happened. */
const nodes = new WeakMap<Error, string>()

/** Notes the node of an error. @returns the error */
export function happenedAt(node: string, error: unknown): unknown {
  if (error instanceof Error) nodes.set(error, node)
  return error
}

/**
 * @param target host and port, for the message of an error without a node
 * @param lostAs the code for a connection that broke
 */
export function toTidingsError(error: unknown, target: string, lostAs: ErrorCode): TidingsError {
  if (error instanceof TidingsError) return error
  const where = nodes.get(error as Error) ?? target
  const reply = replyCode(error)
  if (reply === 'MISSING') return missing(error as Error)
  if (reply === 'NOSUBSCRIPTION') return noSubscription(error as Error)
  const why = reasonOf(error)
  const isNew = error instanceof Unsent || (error instanceof Lost && lostAs === 'CONNECTION_FAILED')
  const hint = hints[reply] ?? (isNew ? connectHint(error.cause) : undefined)
  const options = { cause: error, ...(hint ? { hint } : {}) }
  if (error instanceof Unsent || codes[reply] === 'CONNECTION_FAILED')
    return new TidingsError('CONNECTION_FAILED', `cannot connect to Redis at ${where}: ${why}`, options)
  if (error instanceof Lost)
    return new TidingsError(lostAs, `lost the connection to Redis at ${where}: ${why}`, options)
  if (isTransient(error)) return new TidingsError('CONNECTION_LOST', `Redis at ${where} is not ready: ${why}`, options)
  return new TidingsError(codes[reply] ?? 'STORAGE_FAILED', `Redis at ${where}: ${why}`, options)
}

function missing(error: Error): TidingsError {
  const [, kind, name = ''] = /\{tidings:(.):([^}]*)\}/.exec(error.message) ?? []
  return kind === 't' ? noTopic(name) : noQueue(name)
}

export function unsupported(): TidingsError {
  return new TidingsError('UNSUPPORTED', 'Redis has no transactions that an application could share', {
    details: { feature: 'transactions' },
  })
}

function noSubscription(error: Error): TidingsError {
  const [, topic = '', subscription = ''] = /\{tidings:t:([^}]*)\}:meta (.*)$/.exec(error.message) ?? []
  return new TidingsError(
    'SUBSCRIPTION_NOT_FOUND',
    `subscription '${subscription}' of topic '${topic}' does not exist`,
    {
      details: { topic, subscription },
    },
  )
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Unsent || error instanceof Lost ? (error.cause ?? error) : error
  if (cause instanceof AggregateError) return cause.errors.map(reasonOf).join('; ')
  const { code = '', reason } = (cause ?? {}) as { code?: unknown; reason?: unknown }
  // Its message is a line for the developers of OpenSSL.
  if (typeof reason === 'string' && String(code).startsWith('ERR_SSL_')) return reason
  const message = cause instanceof Error ? cause.message : String(cause)
  return message || String((cause as { code?: unknown } | null)?.code ?? 'unknown error')
}
