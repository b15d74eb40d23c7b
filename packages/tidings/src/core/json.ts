import { randomUUID } from 'node:crypto'
import { types } from 'node:util'
import { show, TidingsError } from './errors.ts'
import { isLargeInteger, JsonParser, mayHoldLargeInteger, shorten, step } from './json-parser.ts'

export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue }
export type JsonObject = { readonly [key: string]: JsonValue }

/** The deepest nesting that every engine stores. PostgreSQL's parser and JSON.stringify fail at tens of thousands. */
export const maxJsonDepth = 100
/** The limit for meta and for headers. */
const maxBytesBeside = 1_048_576

/** A prefix that no string has by chance or by intent. */
const mark = `${randomUUID()}:`
const markedInteger = new RegExp(`"${mark}(-?\\d+)"`, 'g')

/**
 * Writes a value as JSON text that every engine can store and gives back equal.
 *
 * Like JSON.stringify it calls `toJSON` (a Date becomes its ISO text), leaves out `undefined` properties and writes
 * the own enumerable properties of instances. What JSON.stringify would lose or change silently is refused instead:
 * NaN, Infinity, −0, functions, symbols and properties named by one, `undefined` in arrays, cycles, NUL characters and
 * lone surrogates; objects of any realm that hold more than properties: Map, Set, Headers, Blob, typed
 * arrays, instances that have private fields only. A BigInt is written only if it comes back as one.
 * @param field the name of the value, the start of the path in errors: 'data'
 * @throws BODY_NOT_JSON, BODY_UNSUPPORTED_CHAR, BODY_TOO_DEEP, each with the path of the value; BODY_TOO_LARGE
 */
export function toJson(value: unknown, field: string, maxBytes?: number): string {
  return writeJson(value, field, maxBytes).text
}

/** The same; `isSame`: the value is what reading the text gives, though perhaps another time something else. */
export function writeJson(
  value: unknown,
  field: string,
  maxBytes = Number.POSITIVE_INFINITY,
): { readonly text: string; readonly isSame: boolean } {
  const walk = new Walk(field, maxBytes, true)
  const written = JSON.stringify(check(value, walk))
  const text = checkSize(walk.hasBigInts ? written.replaceAll(markedInteger, '$1') : written, field, maxBytes)
  return { text, isSame: walk.isPlain && !mayHoldLargeInteger.test(text) }
}

/** JSON text as it is. @throws BODY_TOO_LARGE */
export function checkSize(text: string, field: string, maxBytes: number): string {
  const bytes = Buffer.byteLength(text)
  if (bytes > maxBytes) throw tooLarge(field, `${bytes}`, maxBytes)
  return text
}

/** The same as a value: a copy that shares nothing with the original. */
export function toJsonValue(value: unknown, field: string): JsonValue {
  return copy(check(value, new Walk(field, maxBytesBeside, false))) as JsonValue
}

function copy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copy)
  const entries = Object.entries(value).filter(([, each]) => each !== undefined)
  return Object.fromEntries(entries.map(([key, each]) => [key, copy(each)]))
}

/** The state of a walk through a value. */
class Walk {
  readonly field: string
  readonly maxBytes: number
  /** The bytes left by a count that never overestimates, so that an endless value is noticed before it is written. */
  leftBytes: number
  readonly ancestors: object[] = []
  /** The keys and indexes that lead from the field to the value. */
  readonly steps: (string | number)[] = []
  readonly takesBigInts: boolean
  hasBigInts = false
  /** Whether there are only plain objects, arrays and scalars so far. */
  isPlain = true

  constructor(field: string, maxBytes: number, takesBigInts: boolean) {
    this.field = field
    this.maxBytes = maxBytes
    this.leftBytes = maxBytes
    this.takesBigInts = takesBigInts
  }
}

const pathOf = ({ field, steps }: Walk): string =>
  steps.reduce<string>((path, each) => path + (typeof each === 'number' ? `[${each}]` : step(each)), field)

function spend(walk: Walk, bytes: number): void {
  walk.leftBytes -= bytes
  if (walk.leftBytes < 0) throw tooLarge(walk.field, `more than ${walk.maxBytes}`, walk.maxBytes)
}

function tooLarge(field: string, size: string, maxBytes: number): TidingsError {
  return new TidingsError('BODY_TOO_LARGE', `${field} is ${size} bytes of JSON; at most ${maxBytes}`, {
    details: { field, maxBytes },
  })
}

function notJson(walk: Walk, value: unknown, why = 'cannot be written as JSON', cause?: unknown): TidingsError {
  const path = pathOf(walk)
  return new TidingsError('BODY_NOT_JSON', `${shorten(path)} is ${show(value)}, which ${why}`, {
    cause,
    details: { path },
  })
}

/** Returns the value with every `toJSON` applied; copies only where that changes something. */
function check(value: unknown, walk: Walk): unknown {
  switch (typeof value) {
    case 'string':
      spend(walk, value.length)
      if (!isText(value)) checkText(value, pathOf(walk))
      return value
    case 'number':
      spend(walk, 1)
      if (Object.is(value, -0)) throw notJson(walk, value, 'PostgreSQL stores as 0')
      if (!Number.isFinite(value)) throw notJson(walk, value)
      return value
    case 'boolean':
      spend(walk, 1)
      return value
    case 'object':
      spend(walk, 1)
      return value === null ? null : checkObject(value, walk)
    case 'bigint':
      return checkBigInt(value, walk)
    default:
      throw notJson(walk, value)
  }
}

function checkObject(value: object, walk: Walk): unknown {
  const { ancestors } = walk
  if (ancestors.includes(value)) throw notJson(walk, value, 'contains itself')
  if (ancestors.length >= maxJsonDepth) {
    const path = pathOf(walk)
    throw new TidingsError('BODY_TOO_DEEP', `${shorten(path)} is nested deeper than ${maxJsonDepth} levels`, {
      details: { path, maxDepth: maxJsonDepth },
    })
  }
  ancestors.push(value)
  const depth = walk.steps.length
  try {
    return checkContents(value, walk)
  } catch (error) {
    if (error instanceof TidingsError) throw error
    walk.steps.length = depth
    // The user's getter, toJSON or proxy threw.
    throw notJson(walk, value, 'threw an error when it was read', error)
  } finally {
    ancestors.pop()
  }
}

/** Refuses a BigInt that a number can hold: it would come back as a number. */
function checkBigInt(value: bigint, walk: Walk): string {
  const token = String(value)
  spend(walk, token.length)
  if (!walk.takesBigInts) throw notJson(walk, value)
  if (!isLargeInteger(token)) throw notJson(walk, value, 'would come back as a number')
  walk.hasBigInts = true
  walk.isPlain = false
  return mark + token
}

function checkContents(value: object, walk: Walk): unknown {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== (Array.isArray(value) ? Array.prototype : Object.prototype)) walk.isPlain = false
  if (ArrayBuffer.isView(value)) throw notJson(walk, value)
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    walk.isPlain = false
    const written: unknown = toJSON.call(value, pathOf(walk))
    // An invalid Date writes null.
    if (types.isDate(value) && written === null) throw notJson(walk, value, 'is not a valid date')
    return check(written, walk)
  }
  if (types.isBoxedPrimitive(value) && !types.isBigIntObject(value)) {
    walk.isPlain = false
    return check(value.valueOf(), walk)
  }
  const lost = whatIsLost(value)
  if (lost) throw notJson(walk, value, lost)
  return Array.isArray(value) ? checkArray(value, walk) : checkProperties(value, walk)
}

/** Why the object holds more than its own enumerable properties; null if it does not. */
function whatIsLost(value: object): string | null {
  const symbols = Object.getOwnPropertySymbols(value)
  if (symbols.length > 0 && symbols.some((symbol) => isEnumerable.call(value, symbol)))
    return 'has properties named by symbols'
  if (Array.isArray(value)) return Object.keys(value).length > value.length ? 'has properties beside its items' : null
  if (types.isArgumentsObject(value)) return 'is the arguments of a function'
  if (isRoot(Object.getPrototypeOf(value))) return null
  return Object.keys(value).length === 0 || isBuiltIn(value) ? 'holds something else than properties' : null
}

const isEnumerable = Object.prototype.propertyIsEnumerable

/** Whether the prototype is null, or that of plain objects in any realm. */
const isRoot = (prototype: object | null) => prototype === null || Object.getPrototypeOf(prototype) === null

/**
 * Whether a built-in class or its subclass made the object: it has internal slots or private fields. Classes of the
 * platform (Headers, URLSearchParams) are known by their tag.
 */
function isBuiltIn(value: object): boolean {
  for (let prototype = Object.getPrototypeOf(value); !isRoot(prototype); prototype = Object.getPrototypeOf(prototype)) {
    if (Object.hasOwn(prototype, Symbol.toStringTag)) return true
    const made: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value
    if (typeof made === 'function' && Function.prototype.toString.call(made).endsWith('{ [native code] }')) return true
  }
  return false
}

function checkArray(value: unknown[], walk: Walk): unknown[] {
  let copy: unknown[] | undefined
  for (let index = 0; index < value.length; index++) {
    walk.steps.push(index)
    const item = check(value[index], walk)
    walk.steps.pop()
    if (item !== value[index]) {
      copy ??= [...value]
      copy[index] = item
    }
  }
  return copy ?? value
}

function checkProperties(value: object, walk: Walk): unknown {
  const properties = value as Record<string, unknown>
  let copy: [string, unknown][] | undefined
  const keys = Object.keys(properties)
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index]!
    if (!isText(key)) checkText(key, pathOf(walk))
    const before = properties[key]
    if (before === undefined) {
      walk.isPlain = false
      continue
    }
    spend(walk, key.length)
    walk.steps.push(key)
    const after = check(before, walk)
    walk.steps.pop()
    if (after !== before) {
      copy ??= keys.map((name) => [name, properties[name]])
      copy[index] = [key, after]
    }
  }
  // fromEntries defines properties, so a key `__proto__` stays plain data.
  return copy ? Object.fromEntries(copy) : value
}

const isText = (text: string) => text.isWellFormed() && !text.includes('\u0000')

/** @throws BODY_UNSUPPORTED_CHAR for a character that not every engine can store */
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

/** The limits of PostgreSQL, for data that other clients stored. */
const stored = { maxDepth: Number.POSITIVE_INFINITY, maxDigits: 131_072, strict: false }
/** The longest integer that Python reads. */
const maxDigits = 4_300

/** JSON text as it is stored. An integer that a number cannot hold becomes a BigInt instead of being rounded silently. */
export function fromJson(text: string): unknown {
  if (!mayHoldLargeInteger.test(text)) return JSON.parse(text)
  return new JsonParser(text, 'data', 'data', stored).parse()
}

/**
 * Reads JSON from a sender. Text that would change on the way to a reader is refused: repeated keys, fractions with more
 * digits than a number holds.
 * @param what the name of the text in errors: 'the body'
 * @param root the start of paths in errors
 * @throws BODY_NOT_JSON, BODY_TOO_DEEP, each with the path
 */
export function parseJson(text: string, what: string, root = what, maxDepth = maxJsonDepth): unknown {
  return new JsonParser(text, what, root, { maxDepth, maxDigits, strict: true }).parse()
}

/**
 * Checks JSON text that is stored as it is, so that no digit is lost.
 * @throws BODY_NOT_JSON and the like, BODY_TOO_LARGE
 */
export function checkJson(text: string, field: string, maxBytes: number): void {
  checkSize(text, field, maxBytes)
  const rules = { maxDepth: maxJsonDepth, maxDigits, strict: false }
  toJson(new JsonParser(text, field, field, rules).parse(), field)
}

/**
 * Decodes UTF-8, without the byte order mark.
 * @throws BODY_NOT_JSON
 */
export function decodeText(bytes: Uint8Array, field: string): string {
  const refused = (what: string) =>
    new TidingsError('BODY_NOT_JSON', `${field} is ${what}, not UTF-8`, {
      details: { path: field },
      hint: 'Save or send it as UTF-8.',
    })
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) throw refused('UTF-16')
  // Without its mark, UTF-16 of ASCII is UTF-8 with a NUL in every pair. NUL bytes stand in no text.
  if (bytes.includes(0)) throw refused('UTF-16 or binary')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw refused('in another encoding')
  }
}
