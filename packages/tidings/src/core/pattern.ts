import { type ErrorCode, show, TidingsError } from './errors.ts'
import { typeError } from './options.ts'

/** The limit of routing keys and patterns; all their characters are ASCII. */
const maxBytes = 255

/**
 * A routing key: segments of letters, digits, '_' and '-', with single dots between them.
 * @returns the key
 * @throws TYPE, KEY_INVALID with the position, counted from 1
 */
export function checkRoutingKey(value: unknown, field = 'routing key'): string {
  if (typeof value !== 'string') throw typeError(field, value, 'a string')
  check(value, field, 'KEY_INVALID', (segment, at) => whyNoSegment(segment, at, /[^A-Za-z0-9_-]/))
  return value
}

/**
 * A pattern for routing keys. The segment '*' stands for exactly one segment, '#' for any number of segments, also none.
 * @returns the pattern
 * @throws TYPE, PATTERN_INVALID with the position, counted from 1
 */
export function checkPattern(value: unknown, field = 'pattern'): string {
  if (typeof value !== 'string') throw typeError(field, value, 'a string')
  check(value, field, 'PATTERN_INVALID', (segment, at) => {
    if (segment === '*' || segment === '#') return undefined
    const fault = whyNoSegment(segment, at, /[^A-Za-z0-9_*#-]/)
    const wildcard = segment.search(/[*#]/)
    if (fault || wildcard < 0) return fault
    return {
      at: at + wildcard,
      why: `has '${segment[wildcard]}' beside other characters; a wildcard is a whole segment`,
    }
  })
  return value
}

interface Fault {
  /** Counted from 0. */
  readonly at: number
  readonly why: string
}

function check(
  text: string,
  field: string,
  code: ErrorCode,
  whyInvalid: (segment: string, at: number) => Fault | undefined,
): void {
  const fault = whyTooLong(text) ?? firstFault(text, whyInvalid)
  if (!fault) return
  const position = fault.at + 1
  throw new TidingsError(code, `${field} ${show(text)} ${fault.why}, at position ${position}`, {
    details: { field, position },
  })
}

const whyTooLong = (text: string): Fault | undefined =>
  text.length > maxBytes ? { at: maxBytes, why: `has ${text.length} characters; at most ${maxBytes}` } : undefined

function firstFault(text: string, whyInvalid: (segment: string, at: number) => Fault | undefined): Fault | undefined {
  if (text === '') return { at: 0, why: 'is empty' }
  let at = 0
  for (const segment of text.split('.')) {
    const fault = segment === '' ? { at, why: 'has an empty segment' } : whyInvalid(segment, at)
    if (fault) return fault
    at += segment.length + 1
  }
  return undefined
}

function whyNoSegment(segment: string, at: number, foreign: RegExp): Fault | undefined {
  const index = segment.search(foreign)
  if (index < 0) return undefined
  return { at: at + index, why: `has ${show(String.fromCodePoint(segment.codePointAt(index)!))}` }
}

/**
 * Whether a pattern matches a routing key, both checked before. `tidings.matches` in PostgreSQL does the same.
 * Only the last '#' is ever widened: segments between two '#' are matched as early as possible, and a later match would
 * leave less to the segments after them. So the work is at most that of all pairs of segments.
 */
export function matches(pattern: string, key: string): boolean {
  const rule = pattern.split('.')
  const segments = key.split('.')
  let inRule = 0
  let inKey = 0
  let lastHash = -1
  let afterHash = 0
  while (inKey < segments.length) {
    if (rule[inRule] === '#') {
      lastHash = inRule++
      afterHash = inKey
    } else if (rule[inRule] === '*' || rule[inRule] === segments[inKey]) {
      inRule++
      inKey++
    } else if (lastHash >= 0) {
      inRule = lastHash + 1
      inKey = ++afterHash
    } else return false
  }
  while (rule[inRule] === '#') inRule++
  return inRule === rule.length
}

/**
 * Whether a pattern matches every routing key that the other, a key or a pattern, matches; both checked before. A true
 * answer is certain. A false one may be wrong where only several readings of the other together would prove it. The work
 * is that of all pairs of segments.
 */
export function covers(pattern: string, other: string): boolean {
  const rule = pattern.split('.')
  const asked = other.split('.')
  // For each segment of the other: whether the rest of the rule, empty at first, covers the rest of the other from there.
  let covered = [...asked.map(() => false), true]
  for (const segment of rule.reverse()) {
    const rest = covered
    covered = [...rest]
    for (let at = asked.length; at >= 0; at--) covered[at] = coversFrom(segment, asked[at], rest, covered, at)
  }
  return covered[0]!
}

/** @param otherSegment the segment of the other at `at`; undefined at its end */
function coversFrom(
  segment: string,
  otherSegment: string | undefined,
  rest: readonly boolean[],
  covered: readonly boolean[],
  at: number,
): boolean {
  if (segment === '#') return rest[at]! || (otherSegment !== undefined && covered[at + 1]!)
  // The other's '#' stands for no segment, or for one and then any number.
  if (otherSegment === '#') return segment === '*' && covered[at + 1]! && rest[at]!
  return otherSegment !== undefined && (segment === '*' || segment === otherSegment) && rest[at + 1]!
}
