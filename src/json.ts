import { show, TidingsError } from './errors.ts'

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue }
export type JsonObject = { readonly [key: string]: JsonValue }

/** Nesting that every engine stores; PostgreSQL's parser and JSON.stringify fail at some tens of thousands. */
const maxDepth = 100

/**
 * Writes a value as JSON text that every engine can store and gives back equal.
 *
 * Like JSON.stringify it calls `toJSON` (a Date becomes its ISO text), leaves out `undefined` properties and writes
 * the own enumerable properties of instances. What JSON.stringify would lose or change silently is refused instead:
 * NaN, Infinity, Map, Set, typed arrays, functions, symbols, BigInt, `undefined` in arrays, cycles, NUL characters
 * and lone surrogates.
 * @param field what is written, the start of the path in errors: 'data'
 * @throws BODY_NOT_JSON, BODY_UNSUPPORTED_CHAR, BODY_TOO_DEEP, each with the path of the value
 */
export function toJson(value: unknown, field: string): string {
  return JSON.stringify(toJsonValue(value, field))
}

/** The same without the last step: the value with every `toJSON` applied. */
export function toJsonValue(value: unknown, field: string): JsonValue {
  return check(value, field, []) as JsonValue
}

function notJson(path: string, value: unknown, why = 'cannot be written as JSON'): TidingsError {
  return new TidingsError('BODY_NOT_JSON', `${path} is ${show(value)}, which ${why}`, { details: { path } })
}

const refusedTypes = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error, ArrayBuffer]

/** Returns the value with every `toJSON` applied; copies only where that changes something. */
function check(value: unknown, path: string, ancestors: object[]): unknown {
  switch (typeof value) {
    case 'string':
      checkText(value, path)
      return value
    case 'number':
      if (!Number.isFinite(value)) throw notJson(path, value)
      return value
    case 'boolean':
      return value
    case 'object':
      return value === null ? null : checkObject(value, path, ancestors)
    default:
      throw notJson(path, value)
  }
}

function checkObject(value: object, path: string, ancestors: object[]): unknown {
  if (ancestors.includes(value)) throw notJson(path, value, 'contains itself')
  if (ancestors.length >= maxDepth)
    throw new TidingsError('BODY_TOO_DEEP', `${shorten(path)} is nested deeper than ${maxDepth} levels`, {
      details: { maxDepth },
    })
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    const written: unknown = toJSON.call(value, path)
    // An invalid Date writes null.
    if (value instanceof Date && written === null) throw notJson(path, value, 'is not a valid date')
    return check(written, path, [...ancestors, value])
  }
  if (value instanceof String || value instanceof Number || value instanceof Boolean)
    return check(value.valueOf(), path, ancestors)
  if (ArrayBuffer.isView(value) || refusedTypes.some((type) => value instanceof type)) throw notJson(path, value)

  ancestors.push(value)
  const result = Array.isArray(value)
    ? checkArray(value, path, ancestors)
    : checkProperties(value as Record<string, unknown>, path, ancestors)
  ancestors.pop()
  return result
}

function checkArray(value: unknown[], path: string, ancestors: object[]): unknown[] {
  let copy: unknown[] | undefined
  for (let index = 0; index < value.length; index++) {
    const item = check(value[index], `${path}[${index}]`, ancestors)
    if (item !== value[index]) {
      copy ??= [...value]
      copy[index] = item
    }
  }
  return copy ?? value
}

function checkProperties(value: Record<string, unknown>, path: string, ancestors: object[]): unknown {
  let copy: [string, unknown][] | undefined
  const keys = Object.keys(value)
  for (const [index, key] of keys.entries()) {
    checkText(key, path)
    const before = value[key]
    if (before === undefined) continue
    const after = check(before, isPlainKey(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`, ancestors)
    if (after !== before) {
      copy ??= keys.map((name) => [name, value[name]])
      copy[index] = [key, after]
    }
  }
  // fromEntries defines properties, so a key `__proto__` stays plain data.
  return copy ? Object.fromEntries(copy) : value
}

const isPlainKey = (key: string) => /^[A-Za-z_$][\w$]*$/.test(key)
const shorten = (path: string) => (path.length > 60 ? `${path.slice(0, 57)}...` : path)

function checkText(text: string, path: string): void {
  const bad = text.includes('\u0000')
    ? 'a NUL character (\\u0000)'
    : text.isWellFormed()
      ? undefined
      : 'a lone surrogate (half of a character)'
  if (bad)
    throw new TidingsError('BODY_UNSUPPORTED_CHAR', `${shorten(path)} contains ${bad}, which PostgreSQL cannot store`, {
      details: { path },
    })
}

/**
 * Reads JSON text. An integer beyond 2^53, which another client may have written, becomes a BigInt instead of a
 * silently rounded number.
 */
export function fromJson(text: string): unknown {
  return mayHoldLargeInteger.test(text) ? parseExactly(text) : JSON.parse(text)
}

/** Sixteen digits in a row; digits in strings are let through to the slow path too, which is harmless. */
const mayHoldLargeInteger = /\d{16}/

/** Marks large integers in the text, then revives them. Strings are matched first, so that they are left alone. */
function parseExactly(text: string): unknown {
  const mark = '\u0000int:'
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? JSON.stringify(mark + token) : token,
  )
  return JSON.parse(marked, (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value,
  )
}
