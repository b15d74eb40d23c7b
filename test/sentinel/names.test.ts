import { checkNamePattern } from 'tidings/internal/sentinel/names'
import { expect, test } from 'vitest'
import { refusal } from '../queue/support.ts'

test.each(['', 'Orders', 'a b', 'orders#', 'a?'])('%s is no pattern', async (pattern) => {
  const error = await refusal(() => checkNamePattern(pattern, 'rules[0].queues'), 'PATTERN_INVALID')
  expect(error.message).toMatch(/^rules\[0\]\.queues /)
})
