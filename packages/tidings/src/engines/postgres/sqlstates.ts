import type { ErrorCode } from '../../core/errors.ts'

/** What a failure says of the statement and of its connection. */
export interface Failure {
  /**
   * nothing: the statement did nothing, and may succeed later. unknown: it may have been carried out. final: it did
   * nothing, and would fail again. refused: the same for what is in the data; without it the others may be stored.
   */
  readonly outcome: 'nothing' | 'unknown' | 'final' | 'refused'
  /** Whether the connection is used on. */
  readonly connection: 'keep' | 'drop'
  /** Whether the driver itself tries again for some seconds; where the outcome is unknown, only what may be done twice. */
  readonly retry: boolean
  /** Of the error that the caller gets; null: that of a lost connection, which depends on the call. */
  readonly code: ErrorCode | null
}

type Row = readonly [Failure['outcome'], Failure['connection'], 'retry' | 'tell', ErrorCode | null]

/**
 * By SQLSTATE, by its class (the first two letters), or by the code of Node's socket error. PostgreSQL's documentation,
 * appendix A; TD… are raised by our functions.
 */
export const failures: Readonly<Record<string, Row>> = {
  // The connection.
  '08': ['unknown', 'drop', 'retry', null],
  ECONNREFUSED: ['nothing', 'drop', 'retry', 'CONNECTION_FAILED'],
  ENOENT: ['nothing', 'drop', 'retry', 'CONNECTION_FAILED'],
  ECONNRESET: ['unknown', 'drop', 'retry', null],
  '28': ['final', 'drop', 'tell', 'CONNECTION_FAILED'],
  '3D000': ['final', 'drop', 'tell', 'CONNECTION_FAILED'],

  // The server stops or starts, or is another one than it was.
  '57P01': ['unknown', 'drop', 'retry', null],
  '57P02': ['unknown', 'drop', 'retry', null],
  '57P03': ['nothing', 'drop', 'retry', 'CONNECTION_FAILED'],
  '57P04': ['unknown', 'drop', 'tell', null],
  // A standby, or a primary that became one: a new connection may lead to the new primary.
  '25006': ['nothing', 'drop', 'retry', 'STORAGE_READ_ONLY'],

  // The session was ended because it was idle, or its transaction because it took too long.
  '57P05': ['nothing', 'drop', 'retry', 'STORAGE_BUSY'],
  '25P03': ['nothing', 'drop', 'tell', 'STORAGE_BUSY'],
  '25P04': ['nothing', 'drop', 'tell', 'STORAGE_BUSY'],

  // A pooler that did not look like one gave the session to another client, or emptied it.
  '26000': ['nothing', 'drop', 'retry', 'STORAGE_FAILED'],
  '42P05': ['nothing', 'drop', 'retry', 'STORAGE_FAILED'],

  // Somebody else was in the way.
  '40': ['nothing', 'keep', 'retry', 'STORAGE_BUSY'],
  '40002': ['final', 'keep', 'tell', 'STORAGE_FAILED'],
  '40003': ['unknown', 'drop', 'retry', null],
  '55P03': ['nothing', 'keep', 'tell', 'STORAGE_BUSY'],
  '57014': ['nothing', 'keep', 'tell', 'STORAGE_BUSY'],

  // Functions of a queue were made again while they were looked up ("cache lookup failed"), or rows of the catalog changed.
  XX000: ['nothing', 'keep', 'retry', 'STORAGE_FAILED'],

  // The server lacks something.
  '53': ['nothing', 'keep', 'tell', 'STORAGE_BUSY'],
  '53100': ['nothing', 'keep', 'tell', 'STORAGE_FULL'],
  '53300': ['nothing', 'drop', 'retry', 'CONNECTION_LIMIT'],
  '58': ['nothing', 'keep', 'tell', 'STORAGE_BUSY'],

  // The data, by what the server can hold, or by constraints and triggers of the application.
  '22': ['refused', 'keep', 'tell', 'STORAGE_FAILED'],
  '22P05': ['refused', 'keep', 'tell', 'BODY_UNSUPPORTED_CHAR'],
  '23': ['refused', 'keep', 'tell', 'STORAGE_FAILED'],
  '54': ['refused', 'keep', 'tell', 'STORAGE_FAILED'],
  P0001: ['refused', 'keep', 'tell', 'STORAGE_FAILED'],

  // What was asked for.
  TD404: ['final', 'keep', 'tell', 'QUEUE_NOT_FOUND'],
  TD405: ['final', 'keep', 'tell', 'TOPIC_NOT_FOUND'],
  TD406: ['final', 'keep', 'tell', 'SUBSCRIPTION_NOT_FOUND'],
  TD409: ['final', 'keep', 'tell', 'OPTION_CONFLICT'],
  '42P07': ['final', 'keep', 'tell', 'QUEUE_NAME_CONFLICT'],
  '42501': ['final', 'keep', 'tell', 'PERMISSION_DENIED'],
}

/**
 * In a function of ours, which had just found it: a function of a queue that was made again, or a table that was dropped,
 * whose name is its number from then on and no SQL. The next time the queue is not found.
 */
const goneMeanwhile: ReadonlySet<string> = new Set(['42883', '42601'])
const ofGone: Row = ['nothing', 'keep', 'retry', 'STORAGE_FAILED']
const otherOfServer: Row = ['final', 'keep', 'tell', 'STORAGE_FAILED']
const otherOfSocket: Row = ['unknown', 'drop', 'tell', null]

/** What `pg` says, in its own words, of a connection. */
const failuresOfClient: readonly (readonly [RegExp, Row])[] = [
  [/is not queryable$/, ['nothing', 'drop', 'retry', 'CONNECTION_LOST']],
  [/due to connection timeout$/, ['nothing', 'drop', 'tell', 'CONNECTION_FAILED']],
  [/^Connection terminated/, ['unknown', 'drop', 'retry', null]],
  [/^Query read timeout/, ['unknown', 'drop', 'tell', null]],
]

/** The answer to a statement does not come, though the server is not busy with it, or cannot be asked. */
export class AnswerLost extends Error {
  /** Whether the server could be asked. */
  readonly reachable: boolean

  constructor(reachable: boolean) {
    super(reachable ? 'the server has no such statement any more' : 'the server does not answer')
    this.reachable = reachable
  }
}

export const sqlStateOf = (error: unknown) => String((error as { code?: unknown } | null)?.code ?? '')

/** Whether the server itself said so. Codes of Node are words that begin with E, as no SQLSTATE does. */
export const isOfServer = (error: unknown) => /^[0-9A-DF-Z][0-9A-Z]{4}$/.test(sqlStateOf(error))

export function failureOf(error: unknown): Failure {
  const [outcome, connection, retry, code] = rowOf(error)
  return { outcome, connection, retry: retry === 'retry', code }
}

function rowOf(error: unknown): Row {
  if (error instanceof AnswerLost) return ['unknown', 'drop', error.reachable ? 'retry' : 'tell', null]
  const state = sqlStateOf(error)
  if (goneMeanwhile.has(state) && (error as { where?: unknown }).where !== undefined) return ofGone
  const row = failures[state] ?? failures[state.slice(0, 2)]
  if (row) return row
  if (state.startsWith('E')) return otherOfSocket
  const message = error instanceof Error ? error.message : ''
  return failuresOfClient.find(([words]) => words.test(message))?.[1] ?? otherOfServer
}
