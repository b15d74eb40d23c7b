import assert from 'node:assert/strict'
import { Seen } from 'tidings/internal/subscription/seen'
import { test } from 'vitest'

/** Which of the offsets were there before. */
const before = (seen: Seen, ...offsets: number[]) => offsets.filter((offset) => seen.add(offset))

test('offsets are remembered over jumps, forward and back', () => {
  const seen = new Seen()
  assert.deepEqual(before(seen, 1, 2, 3), [])
  assert.deepEqual(before(seen, 100, 101), [], 'passed over')
  assert.deepEqual(before(seen, 2, 3, 4, 5), [2, 3])
  assert.deepEqual(before(seen, 99, 100, 101, 102), [100, 101])
  for (let offset = 6; offset < 99; offset++) assert.equal(seen.add(offset), false)
  assert.deepEqual(before(seen, 1, 50, 98, 99, 102, 103), [1, 50, 98, 99, 102])
})
