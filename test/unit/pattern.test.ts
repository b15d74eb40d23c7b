import assert from 'node:assert/strict'
import fc from 'fast-check'
import { isTidingsError } from 'tidings/internal/core/errors'
import { checkPattern, checkRoutingKey, covers, matches } from 'tidings/internal/core/pattern'
import { PatternIndex } from 'tidings/internal/core/pattern-index'
import { describe, test } from 'vitest'
import { keys, naiveMatches, patterns } from './pattern-support.ts'

/** The code and position of the refusal, or 'fine'. */
function verdict(check: () => unknown): string {
  try {
    check()
    return 'fine'
  } catch (error) {
    assert(isTidingsError(error), String(error))
    const { position } = error.details
    if (position !== undefined) assert.match(error.message, new RegExp(`at position ${position}$`))
    return position === undefined ? error.code : `${error.code} ${position}`
  }
}

describe('patterns are refused with the position', () => {
  const rows: [pattern: unknown, verdict: string][] = [
    // 31
    ['', 'PATTERN_INVALID 1'],
    ['.a', 'PATTERN_INVALID 1'],
    ['a.', 'PATTERN_INVALID 3'],
    ['a..b', 'PATTERN_INVALID 3'],
    ['.', 'PATTERN_INVALID 1'],
    // 32
    ['a.**', 'PATTERN_INVALID 3'],
    ['##', 'PATTERN_INVALID 1'],
    ['*#', 'PATTERN_INVALID 1'],
    ['#*', 'PATTERN_INVALID 1'],
    // 33
    ['a#', 'PATTERN_INVALID 2'],
    ['#a#a#a#a#a#a#a#b', 'PATTERN_INVALID 1'],
    ['a.b*.c', 'PATTERN_INVALID 4'],
    // others
    ['a b', 'PATTERN_INVALID 2'],
    ['a.\u0000', 'PATTERN_INVALID 3'],
    ['a.é', 'PATTERN_INVALID 3'],
    ['a.(b|c)+', 'PATTERN_INVALID 3'],
    ['a'.repeat(256), 'PATTERN_INVALID 256'],
    ['é'.repeat(200), 'PATTERN_INVALID 1'],
    [null, 'TYPE'],
    [7, 'TYPE'],
    [['a'], 'TYPE'],
    ['#', 'fine'],
    ['*', 'fine'],
    ['a.*.#.B-_9', 'fine'],
    ['#.#', 'fine'],
    ['a'.repeat(255), 'fine'],
  ]
  test.each(rows)('%j', (pattern, expected) => {
    assert.equal(
      verdict(() => checkPattern(pattern)),
      expected,
    )
  })
})

describe('routing keys are refused with the position', () => {
  const rows: [key: unknown, verdict: string][] = [
    // 35
    ['a.*', 'KEY_INVALID 3'],
    ['#', 'KEY_INVALID 1'],
    ['a b', 'KEY_INVALID 2'],
    ['a.ü', 'KEY_INVALID 3'],
    ['a'.repeat(256), 'KEY_INVALID 256'],
    ['🚀', 'KEY_INVALID 1'],
    ['\ud800', 'KEY_INVALID 1'],
    ['', 'KEY_INVALID 1'],
    ['.a', 'KEY_INVALID 1'],
    ['a.', 'KEY_INVALID 3'],
    ['a..b', 'KEY_INVALID 3'],
    ['a\n', 'KEY_INVALID 2'],
    [undefined, 'TYPE'],
    [{}, 'TYPE'],
    ['Orders.Events.Paid', 'fine'],
    ['a_b-c.9', 'fine'],
    ['__proto__', 'fine'],
    ['a'.repeat(255), 'fine'],
  ]
  test.each(rows)('%j', (key, expected) => {
    assert.equal(
      verdict(() => checkRoutingKey(key)),
      expected,
    )
  })
})

describe('matching', () => {
  // 34
  const rows: [pattern: string, key: string, matches: boolean][] = [
    ['logs.#', 'logs', true],
    ['logs.#', 'logs.a.b', true],
    ['logs.#', 'logsa', false],
    ['a.#.b', 'a.b', true],
    ['a.#.b', 'a.x.y.b', true],
    ['a.#.b', 'a', false],
    ['#', 'a', true],
    ['#', 'a.b.c', true],
    ['*', 'a', true],
    ['*', 'a.b', false],
    ['a.*', 'a', false],
    ['a.*.b', 'a.b', false],
    ['a.*.b', 'a.x.y.b', false],
    ['*.*', 'a', false],
    ['#.*', 'a', true],
    ['*.#', 'a', true],
    ['#.*.#.*.#', 'a', false],
    ['#.a.#.a.#', 'a', false],
    ['#.a.#.a.#', 'a.a', true],
    ['#.b.#.a', 'a.b.b.a.a', true],
    ['#.a.b', 'a.a.b', true],
    ['#.a.*.c', 'a.a.b.c', true],
    ['Orders.*', 'orders.x', false],
    ['a-b', 'aXb', false],
  ]
  test.each(rows)('%s and %s: %s', (pattern, key, expected) => {
    assert.equal(matches(pattern, key), expected)
    assert.equal(naiveMatches(pattern, key), expected)
  })

  test('agrees with the definition', () => {
    fc.assert(
      fc.property(patterns, keys, (pattern, key) => {
        assert.equal(matches(pattern, key), naiveMatches(pattern, key))
      }),
      { numRuns: 20_000 },
    )
  })

  test('what passes the checks can be matched', () => {
    fc.assert(
      fc.property(patterns, keys, (pattern, key) => {
        assert.equal(checkPattern(pattern), pattern)
        assert.equal(checkRoutingKey(key), key)
        assert.equal(matches(key, key), true)
        assert.equal(matches('#', key), true)
      }),
    )
  })

  test('the worst pattern and the longest key take well under a millisecond', () => {
    const key = 'a.'.repeat(127) + 'a'
    const worst = [
      '#.a.'.repeat(63) + 'b',
      '#.' + 'a.'.repeat(60) + '#.' + '*.'.repeat(60) + 'b',
      '#.'.repeat(127) + 'b',
    ]
    for (const pattern of worst) {
      assert(pattern.length <= 255 && key.length === 255)
      let fastest = Number.POSITIVE_INFINITY
      for (let round = 0; round < 200; round++) {
        const start = performance.now()
        assert.equal(matches(pattern, key), false)
        fastest = Math.min(fastest, performance.now() - start)
      }
      assert(fastest < 1, `${fastest} ms`)
    }
  })
})

describe('a pattern that covers another', () => {
  const rows: [pattern: string, other: string, covers: boolean][] = [
    ['#', '#', true],
    ['#', 'a.*.#.b', true],
    ['Orders.#', 'Orders.#', true],
    ['Orders.#', 'Orders.*.Paid', true],
    ['Orders.#', 'Orders', true],
    ['Orders.#', '#', false],
    ['Orders.#', '*.Paid', false],
    ['Orders.*', 'Orders.#', false],
    ['Orders.*', 'Orders.*', true],
    ['Orders.*', 'Orders', false],
    ['Orders.*.#', 'Orders.#.*', true],
    ['*', '#', false],
    ['*.#', '#.a', true],
    ['#.Paid', 'Orders.#', false],
    ['#.Paid', '#.Orders.Paid', true],
    ['a.#.b', 'a.*.#.*.b', true],
    ['a.#.b', 'a.#.c.#', false],
  ]
  test.each(rows)('%s and %s: %s', (pattern, other, expected) => assert.equal(covers(pattern, other), expected))

  /** All texts of up to so many segments. */
  const all = (segments: readonly string[], length: number): string[] => {
    const shorter = length === 1 ? [] : all(segments, length - 1)
    return [...segments, ...shorter.flatMap((rest) => segments.map((first) => `${first}.${rest}`))]
  }

  test('matches every key that the other matches', () => {
    const short = all(['a', 'b', '*', '#'], 3)
    // One word more than the patterns have stands for all others.
    const words = all(['a', 'b', 'c'], 5)
    const matched = new Map(short.map((one) => [one, words.filter((key) => naiveMatches(one, key))]))
    for (const pattern of short) {
      const own = new Set(matched.get(pattern))
      for (const other of short)
        if (covers(pattern, other)) {
          const missed = matched.get(other)!.filter((key) => !own.has(key))
          assert.deepEqual(missed, [], `${pattern} and ${other}`)
        }
    }
  })

  test('does so however long they are, covers itself, and of keys those that it matches', () => {
    fc.assert(
      fc.property(patterns, patterns, keys, (pattern, other, key) => {
        if (covers(pattern, other) && matches(other, key)) assert.equal(matches(pattern, key), true)
        assert.equal(covers(pattern, pattern), true)
        assert.equal(covers(pattern, key), matches(pattern, key))
      }),
      { numRuns: 20_000 },
    )
  })
})

describe('an index of patterns', () => {
  const segment = fc.constantFrom('a', 'b', 'c')
  const keys = fc.array(segment, { minLength: 1, maxLength: 5 }).map((all) => all.join('.'))
  const patterns = fc.array(fc.oneof(segment, fc.constantFrom('*', '#')), { minLength: 1, maxLength: 5 })

  test('finds what matches, and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(
          patterns.map((all) => all.join('.')),
          { maxLength: 30 },
        ),
        keys,
        (all, key) => {
          const index = new PatternIndex(all.map((pattern, position) => [pattern, position] as const))
          const expected = all.flatMap((pattern, position) => (matches(pattern, key) ? [position] : []))
          assert.deepEqual(
            [...index.find(key)].sort((a, b) => a - b),
            expected,
          )
        },
      ),
      { numRuns: 3_000 },
    )
  })

  test('looks at what a key leads to, not at every pattern; many # cost no more than the pairs of segments', () => {
    const many = Array.from({ length: 20_000 }, (_, index) => [`orders.${index}.#`, index] as const)
    const index = new PatternIndex([...many, [`${'#.a.'.repeat(20)}#.b`, -1] as const])
    const start = performance.now()
    for (let at = 0; at < 10_000; at++) assert.equal(index.find(`orders.${at}.paid`).size, 1)
    assert.equal(index.find('a.'.repeat(60).slice(0, -1)).size, 0)
    // Every key with every pattern would be 200 million matches.
    assert(performance.now() - start < 10_000)
  })
})
