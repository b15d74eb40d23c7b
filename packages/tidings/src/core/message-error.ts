import { types } from 'node:util'
import { isTidingsError, show } from './errors.ts'
import type { JsonObject } from './json.ts'

/** The error in the meta of its message. Long texts are cut, because handlers may throw anything. */
export function errorMeta(error: unknown): JsonObject {
  const { message, stack } = describeError(error)
  return { error_message: message, stack_trace: stack }
}

const maxErrorLength = 2_000
const maxStackLength = 8_000

/** The message and stack of any thrown value: errors, strings, null. Never throws itself. */
export function describeError(error: unknown): { message: string; stack: string | null } {
  try {
    return describe(error)
  } catch {
    // A getter or a proxy threw.
    return { message: 'threw something that cannot be described', stack: null }
  }
}

/**
 * What was thrown, for a log: under `err`, as pino calls it. Errors of others come without fields of their own, which hold
 * requests with their secrets, and long texts are cut.
 */
export function loggable(error: unknown): Error {
  if (isTidingsError(error)) return error
  const { message, stack } = describeError(error)
  const prototype: object = types.isNativeError(error) ? Object.getPrototypeOf(error) : Error.prototype
  return Object.create(prototype, {
    message: { value: message },
    stack: { value: stack ?? message },
  })
}

/** Reads the members: errors of other realms and of some libraries are no instances of Error. */
function describe(error: unknown): { message: string; stack: string | null } {
  if (typeof error === 'string') return { message: storable(error, maxErrorLength), stack: null }
  const { message, name, stack } = (error ?? {}) as { message?: unknown; name?: unknown; stack?: unknown }
  const text = [message, types.isNativeError(error) ? name : undefined].find((one) => typeof one === 'string' && one)
  return {
    message: storable((text as string | undefined) ?? `threw ${show(error)}`, maxErrorLength),
    stack: typeof stack === 'string' && stack ? storable(stack, maxStackLength) : null,
  }
}

const storable = (text: string, limit: number) =>
  (text.length > limit ? `${text.slice(0, limit)}…` : text).replaceAll('\u0000', '').toWellFormed()

/** The same meta with every character outside ASCII written as its code. */
export const inAscii = (meta: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(meta).map(([name, value]) => [name, typeof value === 'string' ? escaped(value) : value]),
  )

const escaped = (text: string) =>
  text.replace(/[\u{80}-\u{10ffff}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
