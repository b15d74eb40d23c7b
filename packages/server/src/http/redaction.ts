import { TidingsError } from 'tidings/internal/core/errors'
import { type JsonObject, toJson, toJsonValue } from 'tidings/internal/core/json'
import type { StoredMessage } from 'tidings/internal/port/engine'

/** What of a message may have to be kept from those who look at it. */
export interface ShownMessage {
  /** The name of its queue or topic. */
  readonly from: string
  readonly data: unknown
  readonly headers: JsonObject
  /** By the names of the wire: `correlation_id`. */
  readonly meta: JsonObject
}

/** What it returns is shown instead; a field that it leaves out is shown as it is. Where it throws, nothing is shown. */
export type Redact = (message: ShownMessage) => Redaction

/** What is shown of a message. */
export interface Redaction {
  readonly data?: unknown
  readonly headers?: object
  readonly meta?: object
}

/** A message as it may be shown. */
export type Redacted = <M extends Pick<StoredMessage, 'data' | 'meta' | 'headers'>>(from: string, message: M) => M

/** Shows everything. */
export const unredacted: Redacted = (_, message) => message

/** The same for messages in the form of the storage. */
export function redactedBy(redact: Redact): Redacted {
  return (from, message) => {
    const { headers, meta } = message
    const shown = callOf(redact, { from, data: JSON.parse(message.data), headers, meta })
    return {
      ...message,
      ...('data' in shown ? { data: toJson(shown.data ?? null, 'redact') } : {}),
      ...('headers' in shown ? { headers: toObject(shown.headers) } : {}),
      ...('meta' in shown ? { meta: toObject(shown.meta) } : {}),
    }
  }
}

function callOf(redact: Redact, message: ShownMessage): object & Redaction {
  // It may change what it was given, which belongs to the storage.
  const shown = redact(structuredClone(message))
  if (typeof shown === 'object' && shown !== null && !(shown instanceof Promise)) return shown
  throw new TidingsError('CONFIG_INVALID', '`redact` of the dashboard did not return an object', {
    hint: 'Return what is to be shown instead: `({ data }) => ({ data: mask(data) })`.',
  })
}

const toObject = (value: object | undefined) => toJsonValue(value ?? {}, 'redact') as JsonObject
