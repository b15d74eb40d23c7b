import { describe, expect, test } from 'vitest'
import { checkNamePattern, fits } from '../../src/sentinel/names.ts'
import { refusal } from '../queue/support.ts'

describe('a name fits', () => {
  test.each([
    ['orders', 'orders'],
    ['*', 'orders'],
    ['orders*', 'orders'],
    ['orders*', 'orders_eu'],
    ['*_eu', 'orders_eu'],
    ['o*s*u', 'orders_eu'],
    ['a*a', 'aa'],
    ['a**b', 'ab'],
    ['*.*', 'a.b'],
  ])('%s %s', (pattern, name) => expect(fits(pattern, name)).toBe(true))
})

describe('a name does not fit', () => {
  test.each([
    ['orders', 'orders_eu'],
    ['order', 'orders'],
    ['orders*', 'order'],
    ['*_eu', 'orders_us'],
    ['a*a', 'a'],
    ['ab*ba', 'aba'],
    ['a*b*c', 'acb'],
    ['a*bc*c', 'abc'],
    ['*.*', 'ab'],
  ])('%s %s', (pattern, name) => expect(fits(pattern, name)).toBe(false))
})

test('a pattern of many parts takes no longer than a name has letters', () => {
  const startedAt = performance.now()
  expect(fits(`${'a*'.repeat(20)}b`, 'a'.repeat(47))).toBe(false)
  expect(performance.now() - startedAt).toBeLessThan(5_000)
})

test.each(['', 'Orders', 'a b', 'orders#', 'a?'])('%s is no pattern', async (pattern) => {
  const error = await refusal(() => checkNamePattern(pattern, 'rules[0].queues'), 'PATTERN_INVALID')
  expect(error.message).toMatch(/^rules\[0\]\.queues /)
})
