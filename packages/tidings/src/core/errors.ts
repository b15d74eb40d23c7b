/**
 * Every error that Tidings raises, in one table. `code` is the stable name that programs test for; the CLI takes its
 * exit code from here and the HTTP server its status.
 */

/** The properties of every error with one code. */
interface ErrorRow {
  /** What the user can do about it; shown after the message. */
  readonly hint: string
  /** Whether the same call may succeed later without any change. */
  readonly retryable: boolean
  readonly httpStatus: number
  /** 1: the call failed; 2: the call was wrong. */
  readonly exitCode: 1 | 2
}

const usage = (hint: string, httpStatus = 400): ErrorRow => ({ hint, retryable: false, httpStatus, exitCode: 2 })
const failure = (hint: string, httpStatus: number, retryable = false): ErrorRow => ({
  hint,
  retryable,
  httpStatus,
  exitCode: 1,
})

export const errorTable = {
  // The call is malformed.
  TYPE: usage('Check the type of this value against the reference.'),
  OPTION_UNKNOWN: usage('Remove the option or correct its name.'),
  OPTION_CONFLICT: usage('Use only one of the two.'),
  RANGE: usage('Use a value inside the range.'),
  DURATION: usage("Write a duration as '250ms', '5s', '2m', '1h', '7d', or as a number of milliseconds."),
  URL_INVALID: usage(
    "Use 'postgres://user@host/database', 'redis://host:6379', 'https://host:8080', 'memory:', 'local:./directory', 'redis+local:./directory', or leave it out for the local PostgreSQL.",
  ),
  URL_NOT_ALLOWED: usage('Use an http or https URL with a public address, or allow private ones.'),
  CONFIG_INVALID: usage('Correct the configuration and try again.'),
  USAGE: usage('Run the command with --help to see how it is used.'),
  QUEUE_NAME_INVALID: usage(
    "Use 1 to 47 bytes of a-z, 0-9, '_', '-' and '.', starting with a letter, a digit or '_', without '--'.",
  ),
  TOPIC_NAME_INVALID: usage(
    "Use 1 to 47 bytes of a-z, 0-9, '_', '-' and '.', starting with a letter, a digit or '_', without '--'.",
  ),
  SUBSCRIPTION_NAME_INVALID: usage(
    "Use 1 to 47 bytes of a-z, 0-9, '_', '-' and '.', starting with a letter, a digit or '_', without '--'.",
  ),
  SCHEDULE_NAME_INVALID: usage(
    "Use 1 to 47 bytes of a-z, 0-9, '_', '-' and '.', starting with a letter, a digit or '_', without '--'.",
  ),
  CRON_INVALID: usage(
    "Write minute, hour, day, month and weekday, with seconds before them if they matter; or '@daily' and the like.",
  ),
  TIMEZONE_UNKNOWN: usage("Use a name of the IANA database: 'Europe/Berlin', 'UTC'."),
  SCHEDULE_NEVER: usage('Change its times so that at least one lies ahead. Nothing was stored.'),
  BODY_NOT_JSON: usage('Send plain JSON: strings, finite numbers, booleans, null, arrays and plain objects.'),
  BODY_UNSERIALIZABLE: usage('Send data that the serializer of the queue or topic takes.'),
  BODY_UNSUPPORTED_CHAR: usage('Remove the character, or encode the text (base64, for example).'),
  BODY_TOO_DEEP: usage('Flatten the value, or send it as a string.'),
  BODY_TOO_LARGE: usage('Store the large part elsewhere and send a reference to it.', 413),
  BODY_INVALID: usage('Send data that the schema of the queue or topic accepts.', 422),
  HEADERS_INVALID: usage('Pass headers as a plain object with JSON values.'),
  BATCH_SIZE: usage('Split the batch.'),
  KEY_INVALID: usage(
    "Use 1 to 255 letters, digits, '_' and '-', in segments with single dots between them: 'Orders.Paid'.",
  ),
  PATTERN_INVALID: usage("Write it like a routing key; a whole segment may be '*' (any one) or '#' (any number)."),
  MESSAGE_ID_INVALID: usage('Pass the id as it was returned by send or read.'),
  DEDUP_ID_INVALID: usage('Use a non-empty string of at most 255 bytes.'),
  LEASE_RANGE: usage('Use a lease between 100ms and 9999999s.'),
  LIMIT_RANGE: usage('Use a limit inside the range.'),
  DELAY_RANGE: usage('Use a delay or a time between now and ten years from now.'),
  DEAD_LETTER_INVALID: usage('Name another queue as the dead-letter queue, or false for none.'),
  TRANSACTION_REQUIRED: usage('Pass your open transaction as `{ tx }`. Nothing was stored.'),
  VERSIONS_INVALID: usage('Give every version a handler, or an upcaster that leads to a version with one.'),
  UNSUPPORTED: usage('Use an engine that supports it.', 501),
  ROUTE_NOT_FOUND: usage('See /docs or /openapi.json for what there is.', 404),
  METHOD_NOT_ALLOWED: usage('Use a method that the header Allow names.', 405),
  CONTENT_TYPE: usage('Send the body as JSON, with `Content-Type: application/json` and no encoding.', 415),
  HANDLERS_INVALID: usage(
    'Put one module a queue into the folder, named like the queue, that exports handle(message, context).',
  ),

  // The call does not fit the state of the storage.
  QUEUE_NOT_FOUND: failure('Create the queue first, or correct its name.', 404),
  TOPIC_NOT_FOUND: failure('Create the topic first, or correct its name.', 404),
  SUBSCRIPTION_NOT_FOUND: failure('Subscribe first, or correct the name.', 404),
  SCHEDULE_NOT_FOUND: failure('List the schedules, or correct the name.', 404),
  SCHEDULE_OWNED: failure('Change it where it is declared, choose another name, or remove it first.', 409),
  CORRELATION_NOT_FOUND: failure('Send with this correlation id and `track`, or correct the id.', 404),
  MESSAGE_NOT_FOUND: failure("It was settled, its lease is another reader's, or it never was in this queue.", 404),
  QUEUE_NAME_CONFLICT: failure('Choose another name: something else in the storage has this one.', 409),
  NO_ROUTE: failure('Bind a queue or topic to a pattern that matches the routing key. Nothing was stored.', 404),
  DUPLICATE: failure('The first message stands; nothing was stored for this one.', 409),
  QUEUE_FULL: failure('Try again when readers have made room, or raise maxLength. Nothing was stored.', 429, true),
  DURABILITY_UNAVAILABLE: failure(
    'Set the storage up as the message says, or send without it. Nothing was stored.',
    501,
  ),
  EXPIRED: failure('Handle messages sooner, or send with a longer ttl. Redriving sends it without one.', 410),
  VERSION_UNKNOWN: failure('Add a handler or an upcaster for this version, then redrive.', 422),
  CANCELLED: failure('Stop working on the message. What succeeds all the same has succeeded.', 409),
  LEASE_LOST: failure('Another reader may have the message now: stop working on it. A longer lease avoids this.', 409),
  CLOSED: failure('Connect again.', 409),
  STOPPED: failure('The message is delivered again. Allow more time with `stop({ deadline })`.', 503, true),

  // Requests to the server.
  REQUEST_INVALID: failure('Send a request that HTTP/1.1 allows, with a path in valid percent-encoding.', 400),
  UNAUTHORIZED: failure('Send a valid token: `Authorization: Bearer …`. `tidings token create` makes one.', 401),
  FORBIDDEN: failure('Use a token with this right.', 403),
  ORIGIN_REFUSED: failure('Add the origin to `serve.origins` of the server, if its pages may use it.', 403),
  REQUEST_TIMEOUT: failure('Send the whole request in one go.', 408, true),
  URL_TOO_LONG: failure('Send what is long in the body.', 414),
  HOST_UNKNOWN: failure('Add the name to `serve.hosts` of the server, if it is one of its own.', 421),
  TOO_MANY_STREAMS: failure('Try again when others have ended, or raise --max-event-streams of the server.', 429, true),
  RATE_LIMITED: failure('Try again after the seconds that the header Retry-After names.', 429, true),
  REQUEST_HEADERS_TOO_LARGE: failure('Send fewer or shorter headers.', 431),
  LISTEN_FAILED: failure('Choose another address with --host or --port.', 500),

  // The storage and the environment.
  CONNECTION_FAILED: failure('Check that the server runs, and the host, port, user and password.', 503, true),
  CONNECTION_LOST: failure('Try again; work resumes when the server is back.', 503, true),
  CONNECTION_LIMIT: failure(
    'Lower `pool.max` of the processes, or allow this role and the server more connections. Nothing was stored.',
    503,
    true,
  ),
  OUTCOME_UNKNOWN: failure(
    'The connection broke before the answer came, so it may have been stored or not. Send with a dedup id to make repeating safe.',
    503,
    true,
  ),
  STORAGE_FULL: failure('Free space on the server. Reading and settling still work.', 507, true),
  STORAGE_READ_ONLY: failure(
    'Connect to the primary. After a failover work resumes by itself. Nothing was stored.',
    503,
    true,
  ),
  STORAGE_BUSY: failure(
    'Try again: the storage ended the statement before it was done. Nothing was stored.',
    503,
    true,
  ),
  PERMISSION_DENIED: failure('Grant the role what `tidings doctor` lists.', 403),
  SCHEMA_NEWER: failure(
    'Update this program, or restore the backup from before the database was migrated: its tables have changed.',
    500,
  ),
  SCHEMA_MISSING: failure('Run once as a role that may create schemas; it installs what is needed.', 500),
  STORAGE_FAILED: failure('See the cause.', 500),
  LOCAL_UNAVAILABLE: failure('Use a server of your own: set DATABASE_URL or REDIS_URL, or pass --url.', 503),
  HANDLER_FAILED: failure('See the cause in the handler.', 500),
  TIMEOUT: failure('Try again, or allow more time.', 504, true),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof errorTable

/** Facts about an error for programs; never a secret. */
export type ErrorDetails = Readonly<Record<string, unknown>>

/** The one error class of Tidings. `message` names the field, the value and the rule; `hint` the way out. */
export class TidingsError extends Error {
  override readonly name = 'TidingsError'
  readonly code: ErrorCode
  readonly hint: string
  readonly retryable: boolean
  readonly httpStatus: number
  readonly exitCode: 1 | 2
  readonly details: ErrorDetails

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: ErrorDetails; hint?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const row = errorTable[code]
    this.code = code
    this.hint = options.hint ?? row.hint
    this.retryable = row.retryable
    this.httpStatus = row.httpStatus
    this.exitCode = row.exitCode
    this.details = options.details ?? {}
  }

  /** The same error, with a location at the start of its message: 'entry 3 of the batch'. */
  within(location: string): TidingsError {
    const { cause, details, hint } = this
    return new TidingsError(this.code, `${location}: ${this.message}`, { cause, details, hint })
  }

  toJSON(): { code: ErrorCode; message: string; hint: string; details: ErrorDetails } {
    return { code: this.code, message: this.message, hint: this.hint, details: this.details }
  }
}

/**
 * True for an error of Tidings, and of the code if one is passed.
 * @example if (isTidingsError(error, 'DUPLICATE')) console.log(error.details.firstId)
 */
export function isTidingsError(error: unknown, code?: ErrorCode): error is TidingsError {
  return error instanceof TidingsError && (code === undefined || error.code === code)
}

/** A value for an error message: at most 60 characters, strings quoted. Never throws. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : describe(value)
  return text.length > 60 ? `${text.slice(0, 57).toWellFormed()}...` : text
}

function describe(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `${value}n`
  if (Object.is(value, -0)) return '-0'
  if (typeof value !== 'object' || value === null) return String(value)
  try {
    if (Array.isArray(value)) return `an array of ${value.length}`
    const name = Object.getPrototypeOf(value)?.constructor?.name
    return name && name !== 'Object' ? `an instance of ${String(name)}` : 'an object'
  } catch {
    // A getter or a proxy threw.
    return 'an object'
  }
}

/** The candidate nearest to `word` by edit distance, if it is near enough to be a typing error. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word.slice(0, 64), candidate.slice(0, 64))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** How many letters to add, remove, replace or swap with their neighbour. */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? before[j - 2]! + 1 : Number.POSITIVE_INFINITY
      next.push(Math.min(replaced, swapped, row[j]! + 1, next[j - 1]! + 1))
    }
    before = row
    row = next
  }
  return row[b.length]!
}
