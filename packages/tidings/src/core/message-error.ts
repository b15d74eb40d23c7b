import { show } from './errors.ts'
import type { JsonObject } from './json.ts'

/** What is kept of an error with the message that caused it. Long texts are cut: handlers throw what they like. */
export function errorMeta(error: unknown): JsonObject {
  const { message, stack } = describeError(error)
  return { error_message: message, stack_trace: stack }
}

const maxErrorLength = 2_000
const maxStackLength = 8_000

/** The message and stack of whatever was thrown: errors, strings, null. Never throws itself. */
export function describeError(error: unknown): { message: string; stack: string | null } {
  try {
    return describe(error)
  } catch {
    // Getters and proxies can do anything.
    return { message: 'threw something that cannot be described', stack: null }
  }
}

function describe(error: unknown): { message: string; stack: string | null } {
  const isError = error instanceof Error
  const message = isError ? error.message || error.name : typeof error === 'string' ? error : `threw ${show(error)}`
  return {
    message: storable(message, maxErrorLength),
    stack: isError && error.stack ? storable(error.stack, maxStackLength) : null,
  }
}

const storable = (text: string, limit: number) =>
  (text.length > limit ? `${text.slice(0, limit)}…` : text).replaceAll('\u0000', '').toWellFormed()
