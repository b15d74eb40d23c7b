import { randomUUID } from 'node:crypto'
import { show, TidingsError } from './errors.ts'

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue }
export type JsonObject = { readonly [key: string]: JsonValue }

/** Nesting that every engine stores; PostgreSQL's parser and JSON.stringify fail at some tens of thousands. */
const maxDepth = 100
/** For what goes beside the data: meta and headers. */
const maxBytesBeside = 1_048_576

/**
 * Writes a value as JSON text that every engine can store and gives back equal.
 *
 * Like JSON.stringify it calls `toJSON` (a Date becomes its ISO text), leaves out `undefined` properties and writes
 * the own enumerable properties of instances. What JSON.stringify would lose or change silently is refused instead:
 * NaN, Infinity, Map, Set, typed arrays, functions, symbols, BigInt, `undefined` in arrays, cycles, NUL characters
 * and lone surrogates.
 * @param field what is written, the start of the path in errors: 'data'
 * @throws BODY_NOT_JSON, BODY_UNSUPPORTED_CHAR, BODY_TOO_DEEP, each with the path of the value; BODY_TOO_LARGE
 */
export function toJson(value: unknown, field: string, maxBytes = Number.POSITIVE_INFINITY): string {
  return checkSize(JSON.stringify(check(value, field, startWalk(field, maxBytes))), field, maxBytes)
}

/** The same for a value from `fromJson`, whose BigInts are written as the integers that they were. */
export function toJsonExactly(value: unknown, field: string, maxBytes = Number.POSITIVE_INFINITY): string {
  const walk = { ...startWalk(field, maxBytes), exact: true }
  return checkSize(JSON.stringify(check(value, field, walk)).replaceAll(markedInteger, '$1'), field, maxBytes)
}

/** JSON text as it is. @throws BODY_TOO_LARGE */
export function checkSize(text: string, field: string, maxBytes: number): string {
  const bytes = Buffer.byteLength(text)
  if (bytes > maxBytes) throw tooLarge(field, `${bytes}`, maxBytes)
  return text
}

/** The same as a value: a copy that shares nothing with the original. */
export function toJsonValue(value: unknown, field: string): JsonValue {
  return copy(check(value, field, startWalk(field, maxBytesBeside))) as JsonValue
}

function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copy)
  const entries = Object.entries(value).filter(([, each]) => each !== undefined)
  return Object.fromEntries(entries.map(([key, each]) => [key, copy(each)]))
}

/** The way through a value. */
interface Walk {
  readonly field: string
  readonly maxBytes: number
  /** What is left by a count that is never too high, so that a value without end is noticed before it is written. */
  leftBytes: number
  readonly ancestors: object[]
  /** Takes a BigInt for an integer. */
  readonly exact: boolean
}

function startWalk(field: string, maxBytes: number): Walk {
  return { field, maxBytes, leftBytes: maxBytes, ancestors: [], exact: false }
}

function spend(walk: Walk, bytes: number): void {
  walk.leftBytes -= bytes
  if (walk.leftBytes < 0) throw tooLarge(walk.field, `more than ${walk.maxBytes}`, walk.maxBytes)
}

function tooLarge(field: string, size: string, maxBytes: number): TidingsError {
  return new TidingsError('BODY_TOO_LARGE', `${field} is ${size} bytes of JSON; at most ${maxBytes}`, {
    details: { field, maxBytes },
  })
}

function notJson(path: string, value: unknown, why = 'cannot be written as JSON', cause?: unknown): TidingsError {
  return new TidingsError('BODY_NOT_JSON', `${shorten(path)} is ${show(value)}, which ${why}`, {
    cause,
    details: { path },
  })
}

const refusedTypes = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error, ArrayBuffer, BigInt, Symbol]

/** Returns the value with every `toJSON` applied; copies only where that changes something. */
function check(value: unknown, path: string, walk: Walk): unknown {
  switch (typeof value) {
    case 'string':
      spend(walk, value.length)
      checkText(value, path)
      return value
    case 'number':
      spend(walk, 1)
      if (!Number.isFinite(value)) throw notJson(path, value)
      return value
    case 'boolean':
      spend(walk, 1)
      return value
    case 'object':
      spend(walk, 1)
      return value === null ? null : checkObject(value, path, walk)
    case 'bigint':
      if (!walk.exact) throw notJson(path, value)
      spend(walk, 1)
      return mark + value
    default:
      throw notJson(path, value)
  }
}

function checkObject(value: object, path: string, walk: Walk): unknown {
  const { ancestors } = walk
  if (ancestors.includes(value)) throw notJson(path, value, 'contains itself')
  if (ancestors.length >= maxDepth)
    throw new TidingsError('BODY_TOO_DEEP', `${shorten(path)} is nested deeper than ${maxDepth} levels`, {
      details: { path, maxDepth },
    })
  ancestors.push(value)
  try {
    return checkContents(value, path, walk)
  } catch (error) {
    if (error instanceof TidingsError) throw error
    // A getter, a toJSON or a proxy of the user's.
    throw notJson(path, value, 'threw an error when it was read', error)
  } finally {
    ancestors.pop()
  }
}

function checkContents(value: object, path: string, walk: Walk): unknown {
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    const written: unknown = toJSON.call(value, path)
    // An invalid Date writes null.
    if (value instanceof Date && written === null) throw notJson(path, value, 'is not a valid date')
    return check(written, path, walk)
  }
  if (value instanceof String || value instanceof Number || value instanceof Boolean)
    return check(value.valueOf(), path, walk)
  if (ArrayBuffer.isView(value) || refusedTypes.some((type) => value instanceof type)) throw notJson(path, value)
  return Array.isArray(value) ? checkArray(value, path, walk) : checkProperties(value, path, walk)
}

function checkArray(value: unknown[], path: string, walk: Walk): unknown[] {
  let copy: unknown[] | undefined
  for (let index = 0; index < value.length; index++) {
    const item = check(value[index], `${path}[${index}]`, walk)
    if (item !== value[index]) {
      copy ??= [...value]
      copy[index] = item
    }
  }
  return copy ?? value
}

function checkProperties(value: object, path: string, walk: Walk): unknown {
  const properties = value as Record<string, unknown>
  let copy: [string, unknown][] | undefined
  const keys = Object.keys(properties)
  for (const [index, key] of keys.entries()) {
    checkText(key, path)
    const before = properties[key]
    if (before === undefined) continue
    spend(walk, key.length)
    const after = check(before, isPlainKey(key) ? `${path}.${key}` : `${path}[${show(key)}]`, walk)
    if (after !== before) {
      copy ??= keys.map((name) => [name, properties[name]])
      copy[index] = [key, after]
    }
  }
  // fromEntries defines properties, so a key `__proto__` stays plain data.
  return copy ? Object.fromEntries(copy) : value
}

const isPlainKey = (key: string) => /^[A-Za-z_$][\w$]{0,59}$/.test(key)
const shorten = (path: string) => (path.length > 60 ? `${path.slice(0, 57)}...` : path)

/** @throws BODY_UNSUPPORTED_CHAR for what not every engine can store */
export function checkText(text: string, path: string): void {
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
 * Reads JSON text. An integer that a number cannot hold, which another client may have written, becomes a BigInt
 * instead of being rounded silently.
 */
export function fromJson(text: string): unknown {
  return mayHoldLargeInteger.test(text) ? parseExactly(text) : JSON.parse(text)
}

/** Sixteen digits in a row; digits in strings are let through to the slow path too, which is harmless. */
const mayHoldLargeInteger = /\d{16}/

/** What no string begins with by chance or by intent. */
const mark = `${randomUUID()}:`
const markedInteger = new RegExp(`"${mark}(-?\\d+)"`, 'g')

function parseExactly(text: string): unknown {
  return JSON.parse(markLargeIntegers(text), (_key, value: unknown) =>
    typeof value === 'string' && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value,
  )
}

/** Turns large integers into marked strings. Steps over strings by hand: a pattern would run out of stack on long ones. */
function markLargeIntegers(text: string): string {
  const parts: string[] = []
  let copied = 0
  const next = /"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
  for (let token = next.exec(text); token !== null; token = next.exec(text)) {
    if (token[0] === '"') next.lastIndex = endOfString(text, token.index)
    else if (isLargeInteger(token[0])) {
      parts.push(text.slice(copied, token.index), JSON.stringify(mark + token[0]))
      copied = next.lastIndex
    }
  }
  return parts.join('') + text.slice(copied)
}

/** Whether it has other digits than the number that it would be read as. */
function isLargeInteger(token: string): boolean {
  if (!/^-?\d{16,}$/.test(token)) return false
  const [digits = ''] = Number(token).toExponential().split('e')
  return digits.replace('.', '') !== token.replace(/0+$/, '')
}

/** The first quote that an even number of backslashes precede. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let escapes = end
    while (text[escapes - 1] === '\\') escapes--
    if ((end - escapes) % 2 === 0) return end + 1
  }
  return text.length
}
