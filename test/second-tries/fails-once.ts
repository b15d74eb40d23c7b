import { describe, test } from 'vitest'

let runs = 0
describe('a group', () => {
  test('that fails once', () => {
    if (runs++ === 0) throw new Error('the first line\nand the next')
  })
  test('that passes', () => {})
})
