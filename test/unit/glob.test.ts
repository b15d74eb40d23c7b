import { matchesGlob } from 'tidings/internal/core/glob'
import { expect, test } from 'vitest'

test.each<[string, string, boolean]>([
  ['orders', 'orders', true],
  ['*', 'orders', true],
  ['orders*', 'orders', true],
  ['orders*', 'orders_eu', true],
  ['*_eu', 'orders_eu', true],
  ['o*s*u', 'orders_eu', true],
  ['a*a', 'aa', true],
  ['a**b', 'ab', true],
  ['*.*', 'a.b', true],
  ['orders', 'orders_eu', false],
  ['order', 'orders', false],
  ['orders*', 'order', false],
  ['*_eu', 'orders_us', false],
  ['a*a', 'a', false],
  ['ab*ba', 'aba', false],
  ['a*b*c', 'acb', false],
  ['a*bc*c', 'abc', false],
  ['*.*', 'ab', false],
  ['*_dlq', 'orders_dlq', true],
  ['a*b*c', 'a.b.c', true],
  ['a*b*c', 'ac', false],
  ['**', '', true],
  ['a*bc*bc', 'abc', false],
  [`${'*a'.repeat(50)}b`, 'a'.repeat(100), false],
])('the glob %s for %s', (glob, name, expected) => expect(matchesGlob(glob, name)).toBe(expected))

test('a glob of many parts takes no longer than a name has letters', () => {
  const startedAt = performance.now()
  expect(matchesGlob(`${'a*'.repeat(20)}b`, 'a'.repeat(47))).toBe(false)
  expect(performance.now() - startedAt).toBeLessThan(5_000)
})
