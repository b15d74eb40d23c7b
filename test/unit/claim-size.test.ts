import { ClaimSize } from 'tidings/internal/worker/claim-size'
import { describe, expect, test } from 'vitest'

const kb = 1024
const mb = 1024 * kb

/** Claims over a line until it settles. @returns the largest number of milliseconds of a claim after the first ones */
function over(bytesPerSecond: number, messageBytes: number): { size: ClaimSize; longestMs: number } {
  const size = new ClaimSize()
  let longestMs = 0
  for (let round = 0; round < 30; round++) {
    const count = Math.max(1, Math.floor(size.bytes / messageBytes))
    const tookMs = (count * messageBytes * 1_000) / bytesPerSecond
    if (round > 3) longestMs = Math.max(longestMs, tookMs)
    size.came(count * messageBytes, tookMs, true)
  }
  return { size, longestMs }
}

describe('the size of a claim', () => {
  test('starts modest', () => {
    expect(new ClaimSize().bytes).toBe(256 * kb)
  })

  test.each([
    [150_000, 100_000],
    [2_000_000, 100_000],
    [8_000_000, 100_000],
  ])('over %i bytes a second, messages of %i: about a second', (speed, messageBytes) => {
    const { longestMs } = over(speed, messageBytes)
    expect(longestMs).toBeLessThanOrEqual(1_500)
    expect(longestMs).toBeGreaterThan(300)
  })

  test('over a fast line it grows to 8 MB, and no further', () => {
    expect(over(1_000_000_000, 100_000).size.bytes).toBe(8 * mb)
  })

  test('one message that is too large for a second goes alone', () => {
    const { size } = over(100_000, 1_000_000)
    expect(size.bytes).toBeLessThan(1_000_000)
  })

  test('small claims that come slowly, from a busy server, do not matter for long', () => {
    const size = new ClaimSize()
    size.came(200, 3_000, false)
    expect(size.bytes).toBe(16 * kb)
    for (let round = 0; round < 3; round++) size.came(16 * kb, 10, true)
    expect(size.bytes).toBe(mb)
  })

  test('small claims that come at once change nothing', () => {
    const size = new ClaimSize()
    for (let round = 0; round < 10; round++) size.came(200, 5, false)
    expect(size.bytes).toBe(256 * kb)
  })

  test('is halved by a failure, down to 16 kB', () => {
    const size = new ClaimSize()
    size.failed()
    expect(size.bytes).toBe(128 * kb)
    for (let failure = 0; failure < 20; failure++) size.failed()
    expect(size.bytes).toBe(16 * kb)
  })
})
