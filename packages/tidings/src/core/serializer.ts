import { show, TidingsError } from './errors.ts'
import { fromJson, type JsonObject, toJson, writeJson } from './json.ts'
import * as option from './options.ts'

/**
 * Turns data into bytes and back, for queues and topics whose data is not JSON: msgpack, protobuf, images. The bytes
 * are stored as base64 text, a third longer, so every storage and every client can hold them.
 */
export interface Serializer<T> {
  serialize(data: T): Uint8Array
  /** An error makes the message a dead letter. */
  deserialize(bytes: Uint8Array): T
}

/**
 * The serializer of data that is bytes already.
 * @example const images = bus.queue('images', { serializer: bytes })
 */
export const bytes: Serializer<Uint8Array> = {
  serialize(data) {
    if (!(data instanceof Uint8Array)) throw option.typeError('data', data, 'a Uint8Array')
    return data
  },
  deserialize: (stored) => stored,
}

export const serializerOption = option.value<
  // biome-ignore lint/suspicious/noExplicitAny: a serializer of any type: the type of the data is the user's
  Serializer<any>,
  Serializer<unknown> | null
>('Turns data into bytes and back: `bytes`, or { serialize, deserialize }. Data without one is JSON.', {
  default: null,
  defaultText: 'none',
  typeText: '{ serialize, deserialize }',
  parse: parseSerializer,
})

function parseSerializer(value: unknown, path: string): Serializer<unknown> {
  const candidate = value as Partial<Serializer<unknown>> | null
  const isComplete = typeof candidate?.serialize === 'function' && typeof candidate.deserialize === 'function'
  if (!isComplete) throw option.typeError(path, value, 'an object with serialize and deserialize')
  return candidate as Serializer<unknown>
}

/** The field of the meta, on the wire, that marks data as encoded bytes. */
const encodingField = 'data_encoding'

/** Stored data: JSON text, and the meta that describes its encoding. */
export interface Packed {
  readonly text: string
  readonly meta: JsonObject
  /** Whether the data is what unpacking gives. */
  readonly isSame: boolean
}

const noMeta: JsonObject = {}

/** @throws BODY_UNSERIALIZABLE, BODY_NOT_JSON, BODY_TOO_LARGE and the like */
export function pack(data: unknown, serializer: Serializer<unknown> | null, maxBytes: number): Packed {
  if (serializer === null) {
    const { text, isSame } = writeJson(data, 'data', maxBytes)
    return { text, isSame, meta: noMeta }
  }
  const base64 = Buffer.from(serialize(data, serializer)).toString('base64')
  return { text: toJson(base64, 'data', maxBytes), meta: { [encodingField]: 'base64' }, isSame: false }
}

function serialize(data: unknown, serializer: Serializer<unknown>): Uint8Array {
  let serialized: Uint8Array
  try {
    serialized = serializer.serialize(data)
  } catch (cause) {
    if (cause instanceof TidingsError) throw cause
    throw new TidingsError('BODY_UNSERIALIZABLE', `data is ${show(data)}, which the serializer refuses`, { cause })
  }
  if (serialized instanceof Uint8Array) return serialized
  throw new TidingsError(
    'BODY_UNSERIALIZABLE',
    `the serializer made ${show(serialized)} of data; it must be a Uint8Array`,
  )
}

/**
 * Decodes the data of a message. JSON of a sender without a serializer is returned as it is.
 * @param what the start of the error's message: "data of message 7 in queue 'orders'"
 * @throws BODY_INVALID if the serializer refuses the bytes
 */
export function unpack(
  { data, meta }: { readonly data: string; readonly meta: JsonObject },
  serializer: Serializer<unknown> | null,
  what: string,
): unknown {
  return decode(data, meta, serializer, (_, cause) => {
    throw new TidingsError('BODY_INVALID', `${what} cannot be read by the serializer`, { cause })
  })
}

/** The same for those who only look. @returns the bytes themselves where the serializer refuses them */
export function unpackOrBytes(
  { data, meta }: { readonly data: string; readonly meta: JsonObject },
  serializer: Serializer<unknown> | null,
): unknown {
  return decode(data, meta, serializer, (refused) => refused)
}

function decode(
  text: string,
  meta: JsonObject,
  serializer: Serializer<unknown> | null,
  refused: (bytes: Uint8Array, cause: unknown) => unknown,
): unknown {
  const stored = fromJson(text)
  if (serializer === null || meta[encodingField] !== 'base64' || typeof stored !== 'string') return stored
  const bytes = new Uint8Array(Buffer.from(stored, 'base64'))
  try {
    return serializer.deserialize(bytes)
  } catch (cause) {
    return refused(bytes, cause)
  }
}
