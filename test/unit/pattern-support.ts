import fc from 'fast-check'

/** The definition, as it is said: '*' is one segment, '#' any number. Exponential, for short ones only. */
export function naiveMatches(pattern: string, key: string): boolean {
  const match = (rule: string[], segments: string[]): boolean => {
    const [first, ...rest] = rule
    if (first === undefined) return segments.length === 0
    if (first === '#') return match(rest, segments) || (segments.length > 0 && match(rule, segments.slice(1)))
    return segments.length > 0 && (first === '*' || first === segments[0]) && match(rest, segments.slice(1))
  }
  return match(pattern.split('.'), key.split('.'))
}

/** Of few words, so that many pairs match. */
const word = fc.constantFrom('a', 'b', 'A', 'aa', '_-9')
const joined = (segment: fc.Arbitrary<string>) =>
  fc.array(segment, { minLength: 1, maxLength: 7 }).map((segments) => segments.join('.'))

export const keys = joined(word)
export const patterns = joined(
  fc.oneof({ weight: 2, arbitrary: fc.constantFrom('*', '#') }, { weight: 3, arbitrary: word }),
)
