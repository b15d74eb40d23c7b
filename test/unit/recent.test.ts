import { Recent } from 'tidings/internal/core/recent'
import { expect, test } from 'vitest'

test('the names that were used last are known, and no more than so many', () => {
  const made: string[] = []
  const recent = new Recent((name) => {
    made.push(name)
    return { name }
  }, 2)
  const first = recent.get('a')
  recent.get('b')
  expect(recent.get('a')).toBe(first)
  recent.get('c')
  expect([...recent.values()].map(({ name }) => name)).toEqual(['a', 'c'])
  recent.forget('a')
  expect(recent.get('a')).not.toBe(first)
  expect(made).toEqual(['a', 'b', 'c', 'a'])
})
