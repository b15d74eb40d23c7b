import fc from 'fast-check'
import { ReadAhead } from 'tidings/internal/messages/read-ahead'
import { describe, expect, test } from 'vitest'

const ofSizes = (sizes: readonly number[]) => sizes.map((length) => ({ data: { length } as string }))
const megabyte = 1024 * 1024

/** What a reader reads of messages that all have one size. */
function counts(most: number, size: number, reads: number): number[] {
  const ahead = new ReadAhead(most)
  return Array.from({ length: reads }, () => {
    const { count } = ahead
    ahead.learn(ofSizes(Array.from({ length: count }, () => size)))
    return count
  })
}

describe('how many messages are read at a time', () => {
  test('small ones: soon as many as were asked for', () => {
    expect(counts(1_000, 100, 4)).toEqual([10, 100, 1_000, 1_000])
    expect(counts(3, 100, 2)).toEqual([3, 3])
  })

  test('large messages: as many as fit into 8 MB, and at least one', () => {
    expect(counts(100, megabyte, 3)).toEqual([10, 8, 8])
    expect(counts(100, 20 * megabyte, 3)).toEqual([10, 1, 1])
  })

  test('fewer after a failure, and then more again', () => {
    const ahead = new ReadAhead(100)
    for (let failures = 0; failures < 5; failures++) ahead.shrink()
    expect(ahead.count).toBe(1)
    ahead.learn(ofSizes([100]))
    expect(ahead.count).toBe(10)
  })

  test('is never more than the limit, nor less than one', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 50 * megabyte }), { minLength: 1, maxLength: 50 })
    const most = fc.integer({ min: 1, max: 1_000 })
    fc.assert(
      fc.property(most, fc.array(fc.option(sizes)), (asked, reads) => {
        const ahead = new ReadAhead(asked)
        for (const read of reads) {
          if (read === null) ahead.shrink()
          else ahead.learn(ofSizes(read))
          expect(ahead.count).toBeGreaterThanOrEqual(1)
          expect(ahead.count).toBeLessThanOrEqual(asked)
        }
      }),
    )
  })
})
