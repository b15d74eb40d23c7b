import { type ErrorCode, isTidingsError, TidingsError } from 'tidings/internal/core/errors'

const seeLog = 'The log of the server says why.'

/** What clients are told, with another hint where that of the code is for people who have the storage itself. */
const redactions: Partial<Record<ErrorCode, readonly [message: string, hint?: string]>> = {
  CONNECTION_FAILED: ['the server cannot connect to its storage', seeLog],
  CONNECTION_LOST: ['the server lost the connection to its storage'],
  OUTCOME_UNKNOWN: ['the server lost the connection to its storage before the answer came'],
  STORAGE_FULL: ['the storage of the server is full'],
  PERMISSION_DENIED: ['the storage refuses this to the server', seeLog],
  LOCAL_UNAVAILABLE: ['the server cannot start its storage', seeLog],
}

/**
 * The error as clients are told it. Where the storage is and what it said, which its errors have as their cause, is for
 * the log alone; so is all of what nobody foresaw.
 * @returns the error itself where there is nothing to keep back
 */
export function redact(error: unknown): TidingsError {
  if (!isTidingsError(error))
    return new TidingsError('STORAGE_FAILED', 'an unexpected error; see the log', { hint: seeLog })
  const { code, cause, httpStatus, details } = error
  const isOfStorage = httpStatus >= 500 || code === 'PERMISSION_DENIED'
  if (!isOfStorage || (cause === undefined && code !== 'LOCAL_UNAVAILABLE')) return error
  const [message, hint] = redactions[code] ?? ['the storage of the server failed', seeLog]
  // By this clients know that waiting is worth it, or that it was for what they sent.
  const { comesBack, refused } = details
  return new TidingsError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    details: { ...(comesBack === undefined ? {} : { comesBack }), ...(refused === true ? { refused } : {}) },
  })
}
